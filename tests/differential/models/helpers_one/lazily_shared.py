WORD = "lazily of one"

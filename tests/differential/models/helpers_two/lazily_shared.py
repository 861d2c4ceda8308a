WORD = "lazily of two"

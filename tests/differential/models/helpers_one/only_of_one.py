WORD = "only of one"

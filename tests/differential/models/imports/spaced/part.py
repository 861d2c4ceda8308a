WORD = "spaced"

WORD = "part of two"

WORD = "part of one"

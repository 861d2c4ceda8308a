WORD = "name of two"
calls = 0

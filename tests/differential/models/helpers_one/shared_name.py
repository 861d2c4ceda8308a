WORD = "name of one"
calls = 0

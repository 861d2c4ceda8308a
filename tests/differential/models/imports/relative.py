WORD = "relative of imports"

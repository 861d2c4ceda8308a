ascii = "not the standard one"

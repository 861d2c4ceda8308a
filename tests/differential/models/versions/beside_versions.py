WORD = "of all versions"

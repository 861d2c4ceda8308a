WORD = "helper of version 1"

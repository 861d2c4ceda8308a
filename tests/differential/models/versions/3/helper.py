WORD = "helper of version 3"

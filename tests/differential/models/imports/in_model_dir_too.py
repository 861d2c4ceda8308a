WORD = "beside the version"

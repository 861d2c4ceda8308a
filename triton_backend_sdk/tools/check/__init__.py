"""What is wrong with a model repository, said before a server is started on it."""

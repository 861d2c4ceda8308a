"""A Triton backend that looks products up in a SQLite database."""

"""A Triton backend that embeds texts of any length, in batches of so many tokens."""

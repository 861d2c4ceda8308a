"""Streams that end in every way a stream can end: what the soak test loads."""

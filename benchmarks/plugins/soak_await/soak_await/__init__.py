"""Coroutines that wait and call another model: what the soak test loads."""

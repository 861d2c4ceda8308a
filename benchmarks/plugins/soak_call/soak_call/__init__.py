"""Calls to another model, answered and failing: what the soak test loads."""

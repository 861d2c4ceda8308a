"""Identity that goes every way a request can go: what the soak test loads."""

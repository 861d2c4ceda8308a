"""Identity, as a user of the SDK writes it: what the benchmark measures."""

"""The Triton backend stateful_accumulator; its hooks are in plugin.py."""

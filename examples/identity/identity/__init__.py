"""The Triton backend identity; its hooks are in plugin.py."""

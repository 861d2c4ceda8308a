"""The Triton backend mybackend; its hooks are in plugin.py."""

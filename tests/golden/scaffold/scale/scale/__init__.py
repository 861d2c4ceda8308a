"""The Triton backend scale; its hooks are in plugin.py."""

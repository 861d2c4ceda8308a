"""The Triton backend declared; its hooks are in plugin.py."""

"""The Triton backend add_sub; its hooks are in plugin.py."""

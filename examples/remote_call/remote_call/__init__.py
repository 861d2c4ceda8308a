"""The Triton backend remote_call; its hooks are in plugin.py."""

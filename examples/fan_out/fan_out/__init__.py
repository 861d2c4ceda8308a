"""The Triton backend fan_out; its hooks are in plugin.py."""

"""The Triton backend wrapped_model; its hooks are in plugin.py."""

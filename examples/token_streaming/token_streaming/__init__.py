"""The Triton backend text_normalize; its hooks are in plugin.py."""

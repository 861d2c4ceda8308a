"""The Triton backend traced_pipeline; its hooks are in plugin.py."""

"""The Triton backend image_preprocess; its hooks are in plugin.py."""

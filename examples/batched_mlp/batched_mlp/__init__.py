"""The Triton backend batched_mlp; its hooks are in plugin.py."""

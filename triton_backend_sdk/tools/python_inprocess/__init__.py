"""The backend that ``tbsdk build --compat`` emits: it serves model directories with a model.py."""

def fails():
    inner()


def inner():
    raise RuntimeError("from the helper")

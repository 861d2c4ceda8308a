class TritonPythonModel:
    def __init__(self):
        raise KeyError("in the constructor")

class PythonModel:
    pass

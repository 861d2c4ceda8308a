class TritonPythonModel:
    def execute(self, requests):
        raise BaseException("base")

import shared_name
from probes import Probes
from shared_package import part


class TritonPythonModel(Probes):
    def words(self):
        return shared_name.WORD, part.WORD

    def lazy(self):
        import lazily_shared

        return lazily_shared.WORD

    def counted(self):
        shared_name.calls += 1
        return shared_name.calls

    def counted_again(self):
        import shared_name as again

        again.calls += 1
        return again.calls

    def missing(self):
        import only_of_one

        return only_of_one.WORD

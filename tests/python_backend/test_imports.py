"""Files beside model.py, in a server: each instance has its own, and a reload sees what has changed."""

import numpy as np
import pytest

from triton_backend_sdk import TritonError

COUNTING = """
import counter

class TritonPythonModel:
    def execute(self, requests):
        from counter import add
        answers = []
        for request in requests:
            value = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", value + add())]))
        return answers
"""
COUNTER = """
count = 0

def add():
    global count
    count += STEP
    return count
"""
IN = np.zeros(1, np.float32)


def out(served):
    return float(served.infer({"IN": IN})["OUT"][0])


def test_two_models_with_equal_helpers(serve_model):
    first = serve_model(COUNTING, helpers={"counter.py": COUNTER.replace("STEP", "1")})
    second = serve_model(COUNTING, helpers={"../counter.py": COUNTER.replace("STEP", "10")}, beside=first)
    assert [out(first), out(second), out(first), out(second)] == [1, 10, 2, 20]


def test_each_instance_counts_for_itself(serve_model):
    source = """
        import counter

        class TritonPythonModel:
            def initialize(self, args):
                counter.add()

            def execute(self, requests):
                count = np.full(1, counter.count, np.float32)
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", count)]) for _ in requests]
        """
    served = serve_model(source, helpers={"counter.py": COUNTER.replace("STEP", "1")}, instances=3)
    assert {out(served) for _ in range(6)} == {1}


def test_a_reload_imports_the_files_of_now(serve_model):
    served = serve_model(COUNTING, helpers={"counter.py": COUNTER.replace("STEP", "1")})
    assert out(served) == 1
    path = served.repository / served.name / "1" / "counter.py"
    path.write_text(COUNTER.replace("STEP", "5"))
    served.core.load(served.name)
    assert out(served) == 5


def test_a_missing_helper_is_named_to_who_loads(serve_model):
    served = serve_model("import nowhere_to_be_found\n", load=False)
    with pytest.raises(TritonError) as caught:
        served.core.load(served.name)
    assert "ModuleNotFoundError: No module named 'nowhere_to_be_found'" in str(caught.value)
    assert "model.py(3): <module>" in str(caught.value)


def test_an_error_below_a_lazy_import(serve_model):
    source = """
        class TritonPythonModel:
            def execute(self, requests):
                import broken
        """
    served = serve_model(source, helpers={"broken.py": "raise ValueError('no such luck')"})
    with pytest.raises(TritonError) as caught:
        served.infer({"IN": IN})
    told = str(caught.value)
    assert "ValueError: no such luck\n\nAt:\n" in told
    frames = [line.rpartition("/")[2].strip() for line in told.split("At:\n")[1].splitlines()]
    assert (frames[0], frames[-1]) == ("broken.py(1): <module>", "model.py(6): execute")
    assert all(frame.startswith("<frozen importlib") for frame in frames[1:-1]), "as in the stock backend"

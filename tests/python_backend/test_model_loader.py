"""load_model, unload_model and is_model_ready."""

from __future__ import annotations

import numpy as np
import pytest

from tests.python_backend.bls_models import DOUBLES, acting, seen, told

ONES = {"IN": np.ones(2, np.float32)}


@pytest.fixture
def loads(serve_model):
    """Serve a model whose ``act`` loads others; ``called`` is in the repository. Gives what was told."""
    told.clear()
    seen.clear()

    def make(act, **config):
        called = serve_model(DOUBLES, name="called", load=False)
        caller = serve_model(
            acting(act), name="caller", beside=called, parameters={"target": "called"}, **config
        )
        caller.infer(ONES)
        assert caller.core.wait_released(10)
        return list(told)

    return make


RAISED = """
        def raised(function, *arguments, **more):
            try:
                function(*arguments, **more)
            except Exception as problem:
                return [type(problem).__name__, str(problem)]
"""


def test_a_model_is_loaded_called_and_unloaded(loads):
    assert loads(
        """
        def act(self, request, target):
            told.append(pb_utils.is_model_ready(target))
            pb_utils.load_model(model_name=target)
            told.append([pb_utils.is_model_ready(target), pb_utils.is_model_ready(target, "1"),
                         pb_utils.is_model_ready(model_name=target, model_version="2")])
            told.append(out(asked(target, [1]).exec())[0])
            told.append(pb_utils.unload_model(target))
            told.append(pb_utils.unload_model(model_name="caller2", unload_dependents=True))
            told.append(asked(target, [1]).exec().has_error())
            return [0]
        """
    ) == [False, [True, True, False], 2, None, None, True]


#: A model.py that comes with its loading.
FORTY_TWO = """
import numpy as np
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.float32([42]))]) for _ in requests]
"""


def test_a_config_and_files_stand_in_for_those_of_the_repository(loads):
    assert loads(
        f"""
        def act(self, request, target):
            pb_utils.load_model(target)
            config = json.dumps({{**self.config, "name": "made", "parameters": {{}}}})
            pb_utils.load_model(model_name="made", config=config, files={{"file:1/model.py": {FORTY_TWO.encode()!r}}})
            told.append(out(asked("made", [1]).exec()).tolist())
            changed = {{**self.config, "name": target, "max_batch_size": 8}}
            pb_utils.load_model(target, json.dumps(changed))
            told.append(out(asked(target, [[1]]).exec()).tolist())
            return [0]
        """
    ) == [[42], [[2]]]


@pytest.mark.parametrize(
    ("call", "name", "text"),
    [
        ("pb_utils.load_model, 'nobody'", "TritonModelException",
         "Failed to load model: Failed to process the request for model 'caller_0_0', message: failed to load 'nobody',"),
        ("pb_utils.load_model, target, '{no json'", "TritonModelException",
         "Failed to load model: Failed to process the request for model 'caller_0_0', message: failed to load 'called',"),
        ("pb_utils.load_model, target, '', {'file:1/model.py': b''}", "TritonModelException",
         "Failed to load model: Failed to process the request for model 'caller_0_0', message: "),
        ("pb_utils.load_model, target, '', []", "TritonModelException",
         "failed to load model 'called', files should be a dictionary of file paths and file contents"),
        ("pb_utils.load_model, target, '{}', {'1/model.py': b''}", "TritonModelException", "begin with 'file:'"),
        ("pb_utils.load_model, target, '{}', {'file:1/model.py': 5}", "TypeError", "must be bytes"),
        ("pb_utils.load_model, target, None", "TypeError", "config must be given"),
        ("pb_utils.load_model, None", "TypeError", "model_name must be given"),
        ("pb_utils.unload_model, 5", "TypeError", "model_name must be str"),
        ("pb_utils.unload_model, target, 'yes'", "TypeError", "unload_dependents must be a bool"),
        ("pb_utils.unload_model, target, None", "TypeError", "unload_dependents must be a bool"),
        ("pb_utils.is_model_ready, target, 'x'", "TritonModelException",
         "Failed to check model readiness: Failed to process the request for model 'caller_0_0', message: failed to get "
         "model version from specified version string 'x' (details: stol), version should be an integral value > 0"),
        ("pb_utils.is_model_ready, target, '-1'", "TritonModelException",
         "failed to get model version from specified version string '-1', version should be an integral value > 0"),
        ("pb_utils.is_model_ready, target, '9' * 30", "TritonModelException", "(details: stol)"),
        ("pb_utils.is_model_ready, target, 1", "TypeError", "model_version must be str"),
    ],
)  # fmt: skip
def test_what_goes_wrong(loads, call, name, text):
    ((raised, message),) = loads(
        f"""{RAISED}
        def act(self, request, target):
            told.append(raised({call}))
            return [0]
        """
    )
    assert raised == name
    assert text in message


def test_a_model_does_not_load_itself_in_its_own_hooks(serve_model):
    told.clear()
    model = serve_model(
        """
        from tests.python_backend.bls_models import told
        class TritonPythonModel:
            def initialize(self, args):
                self.name = args["model_name"]
                self.both()
            def finalize(self):
                self.both()
            def both(self):
                for function in pb_utils.load_model, pb_utils.unload_model:
                    try:
                        function(self.name)
                    except pb_utils.TritonModelException as problem:
                        told.append(str(problem))
            def execute(self, requests):
                return [pb_utils.InferenceResponse(r.inputs()) for r in requests]
        """,
        name="itself",
    )
    model.core.unload("itself")
    assert model.core.wait_released(5)
    assert len(told) == 4
    assert all("'itself' cannot load or unload 'itself'" in text for text in told)


def test_a_model_loads_another_in_initialize_and_unloads_it_in_finalize(serve_model):
    called = serve_model(DOUBLES, name="called", load=False)
    model = serve_model(
        """
        class TritonPythonModel:
            def initialize(self, args):
                pb_utils.load_model("called")
            def finalize(self):
                pb_utils.unload_model("called")
            def execute(self, requests):
                return [pb_utils.InferenceRequest(inputs=r.inputs(), model_name="called",
                                                  requested_output_names=["OUT"]).exec() for r in requests]
        """,
        beside=called,
    )
    assert model.infer(ONES)["OUT"].tolist() == [2, 2]
    model.core.unload(model.name)
    assert model.core.wait_released(5)
    assert not model.core.is_ready("called")

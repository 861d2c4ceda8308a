"""model.server: loading, unloading and looking at models, from a plugin."""

import json
import time

import pytest

from triton_backend_sdk.errors import TritonError, UnavailableError
from triton_backend_sdk.testing.core_live import let_threads_rest

#: Runs the function ``act`` of a test, which gets the server and its own model's name; what it returns is OUT.
ACT = """
@hookimpl
def execute(instance, requests):
    return [Response({"OUT": np.array(act(instance.model.server, instance.model.name), np.float32)}) for _ in requests]
"""
ECHO = "@hookimpl\ndef execute(requests):\n return [Response({'OUT': r['IN']}) for r in requests]"
ONE = {"IN": [1.0]}


@pytest.fixture
def act(serve):
    """Run a function inside a plugin's execute."""
    import numpy as np

    def run(function, beside=None):
        actor = serve(ACT, beside=beside)
        actor.module.act = function
        return actor.infer({"IN": np.ones(1, np.float32)})["OUT"].tolist()

    return run


def test_models_are_described(serve, act):
    target = serve(ECHO)

    def look(server, own):
        name = target.name
        config, metadata = server.model_config(name), server.metadata(name)
        assert (config["name"], config["backend"]) == (name, name)
        assert (metadata["name"], metadata["inputs"][0]["name"]) == (name, "IN")
        assert server.metadata()["name"] == "tbsdk-test"
        assert server.statistics(name)["inference_count"] == 0
        server.infer(name, {"IN": __import__("numpy").ones(1, "float32")})
        assert {entry["name"]: entry["state"] for entry in server.index()}[own] == "READY"
        assert {entry["name"] for entry in server.index(ready=True)} == {name, own}
        assert all((server.is_live(), server.is_ready(), server.is_ready(name), server.is_ready(own, 1)))
        assert not server.is_decoupled(name)
        assert not server.is_ready("nobody")
        for wrong in (server.model_config, server.metadata, server.statistics, server.is_decoupled):
            with pytest.raises(TritonError, match="nobody"):
                wrong("nobody")
        return [1]

    assert act(look, target) == [1]
    deadline = time.monotonic() + 10
    while target.core.statistics(target.name)["inference_count"] != 1:  # counted after the answer
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_execute_loads_and_unloads_models(serve, act):
    target = serve(ECHO, load=False)

    def manage(server, own):
        name = target.name
        with pytest.raises(TritonError, match="nobody"):
            server.load("nobody")
        server.load(name)
        assert server.is_ready(name)
        config = server.model_config(name)
        config["max_batch_size"] = 7
        server.load(name, config)
        assert server.model_config(name)["max_batch_size"] == 7
        server.load(name, json.dumps({**config, "max_batch_size": 6}))
        assert server.model_config(name)["max_batch_size"] == 6
        with pytest.raises(TritonError, match="poll"):
            server.load(name, "{no json")
        server.load(
            "other",
            {"backend": name, "input": config["input"], "output": config["output"]},
            {"1/weights.txt": b"3"},
        )
        assert server.is_ready("other")
        let_threads_rest()
        server.unload("other", dependents=True)
        let_threads_rest()
        server.unload(name)
        assert not [entry for entry in server.index(ready=True) if entry["name"] == name]
        return [2]

    assert act(manage, target) == [2]


def test_a_model_reloads_itself_from_execute_but_not_from_a_hook(serve):
    model = serve(
        """
        errors = []
        @hookimpl
        def initialize(instance):
            for change in (instance.model.server.load, instance.model.server.unload):
                try:
                    change(instance.model.name)
                except UnavailableError as error:
                    errors.append(str(error))
        @hookimpl
        def execute(instance, requests):
            instance.model.server.load(instance.model.name, instance.model.server.model_config(instance.model.name))
            return [Response({"OUT": r["IN"]}) for r in requests]
        """
    )
    import numpy as np

    assert len(model.module.errors) == 2
    assert "Triton would wait for that hook to end" in model.module.errors[0]
    assert model.infer({"IN": np.ones(1, np.float32)})["OUT"].tolist() == [1]


def test_metrics_are_text(serve):
    import numpy as np

    actor = serve(ACT, core_options={"metrics": True})
    texts = []
    actor.module.act = lambda server, own: [texts.append(server.metrics_text()) or 4]
    assert actor.infer({"IN": np.ones(1, np.float32)})["OUT"].tolist() == [4]
    assert "# TYPE nv_inference_count counter" in texts[0]


def test_there_is_no_server_without_a_server():
    from pathlib import Path

    from triton_backend_sdk.model import Backend, Model

    model = Model("m", 1, Path(), {}, Backend("b", {}, Path()))
    with pytest.raises(UnavailableError, match="'m' runs in no server"):
        model.server.is_live()

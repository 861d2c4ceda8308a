"""Hooks of modules and classes, shared state, wrappers, configs, logging, reloads, several backends."""

import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import FP32, write_model, write_project
from triton_backend_sdk.errors import TritonError
from triton_backend_sdk.tools.build import build_backend

ONE = {"IN": np.ones(2, np.float32)}


def test_module_hooks_run_in_their_order_with_the_arguments_they_ask_for(serve):
    served = serve(
        """
        calls = []
        @hookimpl
        def model_initialize(model): calls.append(("model_initialize", model.name)); model.state.shared = 5
        @hookimpl
        def initialize(instance): calls.append(("initialize", instance.name, instance.model.state.shared))
        @hookimpl
        def execute(instance, requests):
            calls.append(("execute", instance.name, len(requests)))
            return [Response({"OUT": r["IN"]}) for r in requests]
        @hookimpl
        def finalize(): calls.append(("finalize",))
        @hookimpl
        def model_finalize(model): calls.append(("model_finalize", model.state.shared))
        """
    )
    served.infer(ONE)
    calls, name = served.module.calls, served.name
    served.core.unload(name)
    instance = f"{name}_0_0"
    assert calls == [
        ("model_initialize", name), ("initialize", instance, 5), ("execute", instance, 1), ("finalize",), ("model_finalize", 5),
    ]  # fmt: skip


def test_a_class_gets_one_object_per_instance_and_shares_the_models_state(serve):
    served = serve(
        """
        objects = []
        class Plugin:
            @staticmethod
            @hookimpl
            def model_initialize(model): model.state.weights = object()
            @hookimpl
            def initialize(self, instance):
                self.weights = instance.model.state.weights
                objects.append(self)
            @hookimpl
            def execute(self, requests):
                return [Response({"OUT": r["IN"]}) for r in requests]
        """,
        extra="instance_group { kind: KIND_CPU count: 3 }",
    )
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]
    objects = served.module.objects
    assert len(set(map(id, objects))) == 3
    assert len({id(o.weights) for o in objects}) == 1


@pytest.mark.parametrize("arguments", ["requests", "instance, requests", "requests, instance", ""])
def test_execute_may_take_its_arguments_in_any_selection(serve, arguments):
    body = (
        "[Response({'OUT': r['IN']}) for r in requests]"
        if "requests" in arguments
        else "[InvalidArgError('none')]"
    )
    served = serve(f"@hookimpl\ndef execute({arguments}):\n    return {body}\n")
    if arguments:
        assert served.infer(ONE)["OUT"].tolist() == [1, 1]
    else:
        with pytest.raises(ValueError, match="none"):
            served.infer(ONE)


def test_model_and_instance_tell_where_and_what_they_are(serve):
    served = serve(
        """
        seen = {}
        @hookimpl
        def initialize(instance):
            m = instance.model
            seen.update(instance=(instance.name, instance.kind.name, instance.device_id), model=(m.name, m.version, m.max_batch_size),
                directory=m.directory, version_directory=m.version_directory, backend=(m.backend.name, m.backend.config.get("answer")),
                artifacts=m.backend.directory, config=m.config["name"], outputs=[(s.name, s.dtype, s.dims) for s in m.outputs],
                threads=m.parameters.get_int("threads"), rate=m.parameters.get_float("rate", 0.5), on=m.parameters.get_bool("on"),
                text=m.parameters.get_str("missing", "default"), every=dict(m.parameters))
            for call in (lambda: m.parameters.get_int("on"), lambda: m.parameters["nope"]):
                try: call()
                except TritonError as error: seen.setdefault("errors", []).append(str(error))
        @hookimpl
        def execute(requests): ...
        """,
        batch=4,
        parameters={"threads": "4", "on": "yes"},
    )
    seen, name = served.module.seen, served.name
    assert seen.pop("errors") == [
        f"parameter 'on' of model '{name}' is 'yes'; it must be an integer",
        f"model '{name}' needs the parameter 'nope' in its config.pbtxt; it has on, threads",
    ]
    assert seen == {
        "instance": (f"{name}_0_0", "CPU", 0), "model": (name, 1, 4), "directory": served.repository / name,
        "version_directory": served.repository / name / "1", "backend": (name, None), "artifacts": served.backends / name,
        "config": name, "outputs": [("OUT", "FP32", (-1,))], "threads": 4, "rate": 0.5, "on": True, "text": "default",
        "every": {"threads": "4", "on": "yes"},
    }  # fmt: skip


def test_backend_config_reaches_the_plugin(serve):
    from triton_backend_sdk.testing.core import TritonCore

    served = serve(
        """
        @hookimpl
        def execute(instance, requests):
            return [Response({"OUT": np.array([float(instance.model.backend.config["answer"])], np.float32)})]
        """,
        load=False,
    )
    served.core.close()
    served.core = TritonCore(
        served.repository, served.backends, backend_config={served.name: {"answer": "42"}}
    )
    served.core.load(served.name)
    assert served.infer(ONE)["OUT"].tolist() == [42]


def test_logging_goes_to_tritons_log_at_the_matching_level(serve):
    served = serve(
        """
        @hookimpl
        def execute(instance, requests):
            for level in ("info", "warning", "error", "critical"):
                getattr(instance.logger, level)("said with %s %%s", level)
            return [Response({"OUT": r["IN"]}) for r in requests]
        """
    )
    served.infer(ONE)
    letters = {
        line.split("said with ")[1].split()[0]: line[0]
        for line in served.log.splitlines()
        if "said with" in line
    }
    assert letters == {"info": "I", "warning": "W", "error": "E", "critical": "E"}
    assert "plugin.py:" in served.log


def test_slow_log_is_off_by_default_and_names_slow_batches_when_on(serve):
    source = """
        import time
        @hookimpl
        def execute(requests):
            time.sleep(0.02)
            return [Response({"OUT": r["IN"]}) for r in requests]
        """
    quiet, loud = serve(source), serve(source, parameters={"slow_execute_ms": "10"})
    quiet.infer(ONE)
    loud.infer(ONE, request_id="r-7")
    log = loud.log + quiet.log
    assert f"{quiet.name}_0_0: execute of" not in log
    assert f"{loud.name}_0_0: execute of 1 request(s) ['r-7'] took 2" in log


def test_slow_log_speaks_of_failures_too_and_not_of_fast_ones(serve):
    served = serve(
        "@hookimpl\ndef execute(requests): raise ValueError('x')", parameters={"slow_execute_ms": "0.000001"}
    )
    with pytest.raises(ValueError, match="x"):
        served.infer(ONE)
    assert "took" in served.log
    fast = serve(
        "@hookimpl\ndef execute(requests): return [Response({'OUT': r['IN']}) for r in requests]",
        parameters={"slow_execute_ms": "5000"},
    )
    fast.infer(ONE)
    assert f"{fast.name}_0_0: execute of" not in fast.log


def test_a_wrapper_of_another_installed_package_surrounds_execute(serve, tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "wrapping-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrapping\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[triton_backend_sdk]\nwrapping = wrapping\n")
    (site / "wrapping.py").write_text(
        textwrap.dedent(
            """
            from triton_backend_sdk import hookimpl
            seen = []
            @hookimpl(wrapper=True)
            def execute(instance, requests):
                seen.append(("before", instance.name, len(requests)))
                result = yield
                seen.append(("after", len(result)))
                return result
            """
        )
    )
    monkeypatch.syspath_prepend(site)
    served = serve("@hookimpl\ndef execute(requests): return [Response({'OUT': r['IN']}) for r in requests]")
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]
    import wrapping

    assert wrapping.seen == [("before", f"{served.name}_0_0", 1), ("after", 1)]


def test_reload_picks_up_changed_code_and_helpers(serve):
    served = serve(
        """
        from . import helper
        @hookimpl
        def execute(requests): return [Response({"OUT": r["IN"].numpy() * np.float32(helper.FACTOR)}) for r in requests]
        """,
        load=False,
    )
    helper = served.project.package / "helper.py"
    for factor in (2, 30, 400):
        helper.write_text(f"FACTOR = {factor}\n")
        served.core.load(served.name)
        assert served.infer(ONE)["OUT"].tolist() == [factor, factor]
        served.core.unload(served.name)


def test_a_rebuilt_copy_is_picked_up_as_well(serve):
    source = "import numpy as np\nfrom triton_backend_sdk import *\n@hookimpl\ndef execute(requests): return [Response({'OUT': np.full(1, %d, np.float32)})]\n"
    served = serve("", load=False, link=False)
    for value in (1, 22):
        (served.project.package / "plugin.py").write_text(source % value)
        build_backend(served.project, served.backends)
        served.core.load(served.name)
        assert served.infer(ONE)["OUT"].tolist() == [value]
        served.core.unload(
            served.name
        )  # a load of a loaded model reloads it only if its repository has changed


def test_two_backends_with_equal_module_names_inside_do_not_see_each_other(serve, tmp_path):
    served = serve("", load=False)
    for name, value in (("alpha_backend", 1), ("beta_backend", 2)):
        project = write_project(
            tmp_path / "projects",
            name,
            f"""
            import numpy as np
            from triton_backend_sdk import *
            from . import helpers
            from {name}.helpers import VALUE
            @hookimpl
            def execute(requests):
                return [Response({{"OUT": np.array([VALUE, helpers.VALUE], np.float32)}})]
            """,
        )
        (project.package / "helpers.py").write_text(f"VALUE = {value}\n")
        build_backend(project, served.backends)
        write_model(served.repository, name, name, *FP32)
        served.core.load(name)
    for name, value in (("alpha_backend", 1), ("beta_backend", 2)):
        assert served.core.infer(name, ONE, timeout=10)["OUT"].tolist() == [value, value]


def test_models_versions_and_instances_side_by_side(serve):
    served = serve(
        """
        @hookimpl
        def execute(instance, requests):
            m = instance.model
            return [Response({"OUT": np.array([m.version, len(m.name)], np.float32)}) for r in requests]
        """,
        extra="version_policy { all {} } instance_group { kind: KIND_CPU count: 2 }",
        load=False,
    )
    (served.repository / served.name / "3").mkdir()
    write_model(served.repository, "second_model", served.name, *FP32)
    served.core.load(served.name)
    served.core.load("second_model")
    results = [served.core.infer(served.name, ONE, version=v, timeout=10)["OUT"].tolist()[0] for v in (1, 3)]
    assert results == [1, 3]
    assert served.core.infer("second_model", ONE, timeout=10)["OUT"].tolist() == [1, 12]


def test_instances_execute_at_the_same_time_when_python_lets_go_of_the_gil(serve):
    served = serve(
        """
        import threading
        both = threading.Barrier(2, timeout=10)
        @hookimpl
        def execute(requests):
            both.wait()
            return [Response({"OUT": r["IN"]}) for r in requests]
        """,
        extra="instance_group { kind: KIND_CPU count: 2 }",
    )
    futures = [served.send(ONE), served.send(ONE)]
    assert [f.result(15)["OUT"].tolist() for f in futures] == [[1, 1], [1, 1]]


def test_many_clients_at_once(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return [Response({"OUT": r["IN"].numpy() + np.float32(1)}) for r in requests]
        """,
        batch=16,
        extra="dynamic_batching { max_queue_delay_microseconds: 100 } instance_group { kind: KIND_CPU count: 3 }",
    )
    problems = []

    def client(number):
        for i in range(50):
            got = served.infer({"IN": np.full((1, 3), number * 1000 + i, np.float32)})["OUT"]
            if got.tolist() != [[number * 1000 + i + 1] * 3]:
                problems.append(got)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert problems == []


def test_statistics_and_batches_are_reported(serve):
    served = serve(
        "@hookimpl\ndef execute(requests): return [Response({'OUT': r['IN']}) for r in requests]",
        batch=8,
        extra="dynamic_batching { preferred_batch_size: [4] max_queue_delay_microseconds: 2000000 }",
    )
    futures = [served.send({"IN": np.ones((2, 1), np.float32)}) for _ in range(2)]
    [future.result(10) for future in futures]
    assert served.core.wait_released(5)
    stats = served.core.statistics(served.name)
    assert stats["inference_count"] == 4
    assert stats["execution_count"] == 1
    assert stats["batch_stats"][0]["batch_size"] == 4
    assert stats["batch_stats"][0]["compute_infer"]["ns"] > 0


def test_config_of_a_test_file_is_not_written_beside_the_model(serve):
    served = serve("@hookimpl\ndef execute(requests): return [Response({'OUT': r['IN']}) for r in requests]")
    served.infer(ONE)
    assert not list(Path(served.repository).rglob("__pycache__"))


BATCHED = {
    "batch": 8,
    "extra": "dynamic_batching { preferred_batch_size: [6] max_queue_delay_microseconds: 300000 }",
}


def rows(n, start=0, width=2):
    return np.arange(start, start + n * width, dtype=np.float32).reshape(n, width)


@pytest.mark.parametrize(
    "plugin",
    [
        "@hookimpl\n@batched\ndef execute(inputs):\n    calls.append(inputs['IN'].shape); return {'OUT': inputs['IN'] * 2}",
        "@hookimpl\n@batched\ndef execute(instance, inputs):\n    assert instance.name; calls.append(inputs['IN'].shape); return {'OUT': inputs['IN'] * 2}",
        "class P:\n  @hookimpl\n  @batched\n  def execute(self, inputs):\n    calls.append(inputs['IN'].shape); return {'OUT': inputs['IN'] * 2}",
        "class P:\n  @hookimpl\n  @batched\n  def execute(self, instance, inputs):\n    assert instance.name; calls.append(inputs['IN'].shape); return {'OUT': inputs['IN'] * 2}",
    ],
)
def test_batched_gives_one_array_and_splits_the_result(serve, plugin):
    served = serve(f"calls = []\n{plugin}", **BATCHED)
    futures = [served.send({"IN": rows(n, 10 * n)}) for n in (1, 2, 3)]
    for n, future in zip((1, 2, 3), futures, strict=True):
        assert future.result(10)["OUT"].tolist() == (rows(n, 10 * n) * 2).tolist()
    assert served.module.calls == [(6, 2)]


def test_batched_does_not_copy_a_single_request_and_splits_into_views(serve):
    served = serve(
        """
        seen, results = [], []
        @hookimpl
        @batched
        def execute(inputs):
            seen.append(inputs["IN"].ctypes.data)
            return {"OUT": inputs["IN"]}
        """,
        **BATCHED,
    )
    array = rows(2)
    served.infer({"IN": array})
    assert served.module.seen == [array.ctypes.data]


def test_batched_calls_apart_for_other_shapes(serve):
    served = serve(
        "shapes = []\n@hookimpl\n@batched\ndef execute(inputs):\n    shapes.append(inputs['IN'].shape); return {'OUT': inputs['IN']}",
        {"IN": ("FP32", [-1], "allow_ragged_batch: true")},
        **BATCHED,
    )
    futures = [served.send({"IN": rows(2, width=width)}) for width in (2, 3, 2)]
    assert [f.result(10)["OUT"].shape for f in futures] == [(2, 2), (2, 3), (2, 2)]
    assert sorted(served.module.shapes) in ([(2, 3), (4, 2)], [(2, 2), (2, 2), (2, 3)])


def test_batched_says_when_rows_are_lost(serve):
    served = serve("@hookimpl\n@batched\ndef execute(inputs): return {'OUT': inputs['IN'][:1]}", **BATCHED)
    futures = [served.send({"IN": rows(3)}) for _ in range(2)]
    assert {str(f.exception(10)) for f in futures} == {"output 'OUT' has 1 rows for 6 rows of input"}


@pytest.mark.parametrize("kind", ["staticmethod", "classmethod"])
@pytest.mark.parametrize("above", [True, False])
def test_hookimpl_may_stand_above_or_below_staticmethod(serve, kind, above):
    marks = f"@hookimpl\n            @{kind}" if above else f"@{kind}\n            @hookimpl"
    first = "cls, " if kind == "classmethod" else ""
    served = serve(f"""
        class Plugin:
            {marks}
            def model_initialize({first}model):
                model.state.factor = 3
            @hookimpl
            def execute(self, instance, requests):
                return [Response({{"OUT": r["IN"].numpy() * instance.model.state.factor}}) for r in requests]
    """)
    assert served.infer({"IN": np.float32([2])})["OUT"] == 6


def test_backend_hooks_run_once_for_all_models(serve):
    served = serve(
        """
        log = []
        class Plugin:
            @staticmethod
            @hookimpl
            def backend_initialize(backend):
                backend.state.numbers = iter(range(100))
                log.append("backend")
            @staticmethod
            @hookimpl
            def model_initialize(model):
                model.state.number = next(model.backend.state.numbers)
                log.append(model.name)
            @hookimpl
            def execute(self, instance, requests):
                return [Response({"OUT": np.float32([instance.model.state.number])}) for r in requests]
        """
    )
    write_model(served.repository, "second", served.name, *FP32)
    served.core.load("second")
    log = served.module.log
    assert log == ["backend", served.name, "second"]
    assert served.core.infer("second", {"IN": np.float32([0])})["OUT"] == 1


def test_a_backend_that_does_not_start_says_why_and_is_tried_again(serve):
    served = serve(
        """
        tries = []
        @hookimpl
        def backend_initialize(backend):
            tries.append(backend.name)
            if len(tries) == 1:
                raise FileNotFoundError("the licence")
        @hookimpl
        def execute(requests):
            return [Response({"OUT": r["IN"].numpy()}) for r in requests]
        """,
        load=False,
    )
    with pytest.raises(TritonError, match="the licence"):
        served.core.load(served.name)
    served.core.load(served.name)
    assert served.module.tries == [served.name] * 2

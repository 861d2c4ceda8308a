"""The fake host, by itself and beside the real core: where both can be asked, both must say the same."""

import logging
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from triton_backend_sdk import (
    Counter,
    DataType,
    Gauge,
    InternalError,
    InvalidArgError,
    NotFoundError,
    Request,
    Response,
    Tensor,
    TritonError,
    UnavailableError,
    batched,
    hookimpl,
)
from triton_backend_sdk.testing import FakeHost, FakeTrace, Raw
from triton_backend_sdk.testing.fake_tensor import UNWRITTEN
from triton_backend_sdk.tools.config_text import parse_config

CONFIG = {
    "name": "double",
    "max_batch_size": 8,
    "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [-1]}],
    "output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [-1]}],
    "parameters": {"scale": {"string_value": "2"}},
}
X = np.float32([[1, 2]])


def one(plugin, value=X, config=CONFIG, **options):
    """Run one request through a plugin, and give its outputs."""
    with FakeHost(plugin, config, **options) as host:
        [result] = host.execute({"IN": value})
    return result


class Double:
    @hookimpl
    def execute(self, instance, requests):
        scale = instance.model.parameters.get_int("scale")
        return [Response({"OUT": scale * request["IN"].numpy()}) for request in requests]


def test_a_class_is_a_plugin():
    np.testing.assert_array_equal(one(Double)["OUT"], 2 * X)


def test_a_module_is_a_plugin_and_gets_its_hooks_in_order():
    calls = []
    module = types.ModuleType("recorder.plugin")
    module.__file__ = "recorder/plugin.py"

    @hookimpl
    def model_initialize(model):
        calls.append(f"model_initialize {model.name}")

    @hookimpl
    def initialize(instance):
        calls.append(f"initialize {instance.name}")

    @hookimpl
    def execute(requests):
        calls.append(f"execute {len(requests)}")
        return [Response({"OUT": request["IN"]}) for request in requests]

    @hookimpl
    def finalize():
        calls.append("finalize")

    @hookimpl
    def model_finalize():
        calls.append("model_finalize")

    vars(module).update({hook.__name__: hook for hook in (model_initialize, initialize, execute)})
    vars(module).update({hook.__name__: hook for hook in (finalize, model_finalize)})

    with FakeHost(module, CONFIG) as host:
        host.execute([{"IN": X}, {"IN": X}])

    assert calls == [
        "model_initialize double",
        "initialize double_0",
        "execute 2",
        "finalize",
        "model_finalize",
    ]


def test_model_and_backend_are_described(tmp_path):
    config = tmp_path / "mymodel" / "config.pbtxt"
    config.parent.mkdir()
    config.write_text(
        'backend: "b" input { name: "IN" data_type: TYPE_INT8 dims: 1 } '
        'output { name: "O" data_type: TYPE_INT8 dims: 1 }'
    )

    with FakeHost(Double, config, backend_config={"threads": "2"}, version=3) as host:
        model = host.model
        assert (model.name, model.version, model.max_batch_size) == ("mymodel", 3, 0)
        assert model.version_directory == config.parent / "3"
        assert (model.backend.name, model.backend.config) == ("b", {"threads": "2"})


def test_inputs_are_read_only_views_of_the_tests_memory():
    seen = {}

    class Plugin:
        @hookimpl
        def execute(self, requests):
            [request] = requests
            tensor = request["IN"]
            assert isinstance(request, Request)
            assert isinstance(tensor, Tensor)
            assert (tensor.dtype, tensor.shape, tensor.nbytes) == (DataType.FP32, (1, 2), 8)
            for view in (tensor.numpy(), np.asarray(tensor), np.from_dlpack(tensor)):
                seen[id(view)] = np.shares_memory(view, X), view.flags.writeable
            if sys.version_info >= (3, 12):
                assert memoryview(tensor).readonly
            return [Response({"OUT": tensor})]

    result = one(Plugin)
    assert not np.shares_memory(result["OUT"], X)
    assert {writeable for _, writeable in seen.values()} == {False} or np.__version__ < "2.1"
    assert next(iter(seen.values()))[0]


def test_a_view_of_the_output_is_the_response():
    class Plugin:
        @hookimpl
        def execute(self, requests):
            out = requests[0].output("OUT", (1, 2))
            assert not out.readonly
            assert set(out.data) == {UNWRITTEN}
            out.numpy()[:] = 7
            return [Response()]

    np.testing.assert_array_equal(one(Plugin)["OUT"], [[7, 7]])


def test_batched_plugins_get_one_array():
    class Plugin:
        @hookimpl
        @batched
        def execute(self, inputs):
            assert inputs["IN"].shape == (3, 2)
            return {"OUT": inputs["IN"] * 2}

    with FakeHost(Plugin, CONFIG) as host:
        first, second = host.execute([{"IN": X}, {"IN": np.float32([[3, 4], [5, 6]])}])

    np.testing.assert_array_equal(first["OUT"], [[2, 4]])
    np.testing.assert_array_equal(second["OUT"], [[6, 8], [10, 12]])


def test_id_parameters_and_requested_outputs_reach_the_plugin():
    class Plugin:
        @hookimpl
        def execute(self, requests):
            [request] = requests
            assert (request.id, request.parameters) == ("seven", {"k": True})
            assert request.requested_outputs == ("OUT",)
            assert request.batch_size == 1
            return [Response({"OUT": X, "OTHER": X})]

    config = {**CONFIG, "output": [*CONFIG["output"], {**CONFIG["output"][0], "name": "OTHER"}]}
    with FakeHost(Plugin, config) as host:
        request = host.request({"IN": X}, id="seven", parameters={"k": True}, outputs=["OUT"])
        assert list(host.execute(request)[0]) == ["OUT"]


def test_strings_both_ways():
    class Plugin:
        @hookimpl
        def execute(self, requests):
            words = requests[0]["IN"].numpy()
            assert words.tolist() == [[b"a", "ü".encode()]]
            assert requests[0]["IN"].nbytes == 4 + 1 + 4 + 2
            return [Response({"OUT": [["b", b"c"]]})]

    strings = [{"name": name, "data_type": "TYPE_STRING", "dims": [-1]} for name in ("IN", "OUT")]
    config = {**CONFIG, "input": strings[:1], "output": strings[1:]}

    assert one(Plugin, [["a", "ü"]], config)["OUT"].tolist() == [[b"b", b"c"]]
    with pytest.raises(InvalidArgError, match="'IN' is malformed: it ends within a length"):
        one(Plugin, Raw(b"\x01", "BYTES", [1, 2]), config)


def test_bfloat16_both_ways():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.array([[1.5]], ml_dtypes.bfloat16)
    bf16 = [{"name": name, "data_type": "TYPE_BF16", "dims": [-1]} for name in ("IN", "OUT")]

    class Plugin:
        @hookimpl
        def execute(self, requests):
            return [Response({"OUT": requests[0]["IN"].numpy() * 2})]

    result = one(Plugin, x, {**CONFIG, "input": bf16[:1], "output": bf16[1:]})["OUT"]
    assert (result.dtype, float(result[0, 0])) == (ml_dtypes.bfloat16, 3.0)


def test_a_failed_request_leaves_its_neighbours_alone():
    class Plugin:
        @hookimpl
        def execute(self, requests):
            return [UnavailableError("not now"), Response({"OUT": requests[1]["IN"]})]

    with FakeHost(Plugin, CONFIG) as host:
        failed, good = host.execute([{"IN": X}, {"IN": X}], errors="return")
        assert isinstance(failed, UnavailableError)
        np.testing.assert_array_equal(good["OUT"], X)
        with pytest.raises(UnavailableError, match="not now"):
            host.execute([{"IN": X}, {"IN": X}])


def test_the_plugins_own_exception_is_the_cause():
    class Plugin:
        @hookimpl
        def execute(self, requests):
            return 1 / 0

    with pytest.raises(InternalError, match="ZeroDivisionError: division by zero") as caught:
        one(Plugin)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("hook", ["model_initialize", "initialize"])
def test_a_failing_start_is_what_the_server_would_report(hook):
    def fail():
        raise FileNotFoundError("weights.npz")

    fail.__name__ = hook
    plugin = type("Plugin", (Double,), {hook: staticmethod(hookimpl(fail))})

    with pytest.raises(NotFoundError, match=r"FileNotFoundError: weights.npz"):
        FakeHost(plugin, CONFIG)


def test_a_ctrl_c_is_not_an_answer():
    class Plugin:
        @hookimpl
        def execute(self, requests):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one(Plugin)


def test_slow_executes_are_logged(caplog):
    config = {
        **CONFIG,
        "parameters": {**CONFIG["parameters"], "slow_execute_ms": {"string_value": "0.000001"}},
    }
    with caplog.at_level(logging.WARNING):
        one(Double, config=config)

    assert "slow_execute_ms" in caplog.text


def test_reshape_shows_the_plugin_the_inner_shape():
    class Plugin:
        @hookimpl
        def execute(self, requests):
            assert requests[0]["IN"].shape == (1,)
            return [Response({"OUT": requests[0]["IN"].numpy()})]

    scalar = {"data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}
    config = {**CONFIG, "input": [{**scalar, "name": "IN"}], "output": [{**scalar, "name": "OUT"}]}

    assert one(Plugin, np.float32([[4]]), config)["OUT"].tolist() == [4]


def test_dlpack_of_an_output_is_no_copy_and_of_an_input_no_writable_one():
    class Plugin:
        @hookimpl
        def execute(self, requests):
            out = requests[0].output("OUT", (1, 2), np.float32)
            assert np.shares_memory(np.from_dlpack(out), out.numpy())
            out.numpy().fill(3)
            with pytest.raises(BufferError, match="on device"):
                out.__dlpack__(dl_device=(2, 0))
            with pytest.raises(BufferError, match="read-only"):
                requests[0]["IN"].__dlpack__(copy=False)
            return [Response({"OUT": out})]

    np.testing.assert_array_equal(one(Plugin)["OUT"], [[3, 3]])


# --- config.pbtxt ---

TRICKY = r"""
name: 'tricky' # a comment: { not a field }
backend: "b\x61ck\"end" max_batch_size: 0x10
input [
  { name: "A" data_type: TYPE_FP32, dims: [ -1, 3 ] },
  { name: "B"; dims: 1 dims: 2 reshape { shape: [ ] } optional: true }
]
output < name: "C" data_type: TYPE_STRING dims: [ 1 ] label_filename: "one" "two" >
parameters { key: "k" value { string_value: "line\nbreak" } }
parameters: { key: "l" value: { string_value: "2" } }
instance_group { kind: KIND_GPU gpus: [ 0, 1 ] count: 2 }
sequence_batching {
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0.0, 1.5 ] } }
}
model_warmup { name: "w" inputs { key: "A" value { dims: 3 data_type: TYPE_FP32 zero_data: true } } }
version_policy: { specific { versions: [1, 2] } }
optimization { priority: PRIORITY_MAX cuda { graphs: false } }
"""


def by_protobuf(text):
    message = text_format.Parse(text, model_config_pb2.ModelConfig())
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def normal(value):
    """Write int64 as protobuf's JSON does, as text."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items() if item != []}
    if isinstance(value, list):
        return [normal(item) for item in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("[et]*/*/model_repository/*/config.pbtxt")), ids=lambda p: p.parent.name
)
def test_every_config_of_ours_is_read_as_protobuf_reads_it(path):
    assert normal(parse_config(path.read_text())) == normal(by_protobuf(path.read_text()))


def test_a_tricky_config_is_read_as_protobuf_reads_it():
    ours, theirs = normal(parse_config(TRICKY)), normal(by_protobuf(TRICKY))
    theirs["optimization"]["cuda"] = {"graphs": False}  # a default, which protobuf leaves out
    theirs["input"][1]["data_type"] = theirs["input"][1].get("data_type")
    ours["input"][1]["data_type"] = None

    assert ours == theirs


@pytest.mark.parametrize("text", ["max_batch_size: ?", "input {", 'name: "open', "input [ { name: ] }", "}"])
def test_a_broken_config_names_the_line(text):
    with pytest.raises(InvalidArgError, match=r"config\.pbtxt, line 2: cannot read"):
        parse_config("\n" + text)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(InvalidArgError, match=r"no model config: .*nothing\.pbtxt is missing"):
        FakeHost(Double, tmp_path / "nothing.pbtxt")


# --- beside the real core ---

TWIN = '''
import numpy as np
from triton_backend_sdk import Response, UnsupportedError, hookimpl

def good(request):
    return Response({"OUT": request["IN"]})

class Capsule:
    """Speaks DLPack and nothing else."""
    def __init__(self, array):
        self.array = array
    def __dlpack__(self, **asked):
        return self.array.__dlpack__(**asked)
    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

def twice(request):
    response = good(request)
    request.output("OUT", (1, 2))
    request.output("OUT", (1, 2))

CASES = {
    "tensor": lambda r: [good(r)],
    "bytearray": lambda r: [Response({"OUT": memoryview(bytearray(8)).cast("f", (1, 2))})],
    "strided": lambda r: [Response({"OUT": np.float32([[1, 9, 2, 9]])[:, ::2]})],
    "big endian": lambda r: [Response({"OUT": np.array([[1, 2]], ">f4")})],
    "dlpack": lambda r: [Response({"OUT": Capsule(np.float32([[5, 6]]))})],
    "in place": lambda r: (r.output("OUT", (1, 2)).numpy().fill(3), [Response()])[1],
    "in place twice": lambda r: [twice(r)],
    "in place, other": lambda r: (r.output("OUT", (1, 2)), [Response({"OUT": np.float32([[4, 4]])})])[1],
    "in place, other shape": lambda r: (r.output("OUT", (1, 2)), [Response({"OUT": np.float32([[4]])})])[1],
    "in place, wrong shape": lambda r: r.output("OUT", (2, 2)),
    "in place, wrong dtype": lambda r: r.output("OUT", (1, 2), "INT32"),
    "in place, unknown": lambda r: r.output("WRONG", (1, 2)),
    "unknown input": lambda r: r["WRONG"],
    "none": lambda r: None,
    "a dict": lambda r: {"OUT": r["IN"]},
    "too many": lambda r: [good(r), good(r)],
    "too few": lambda r: [],
    "no response": lambda r: ["x"],
    "unknown output": lambda r: [Response({"WRONG": 1})],
    "no output": lambda r: [Response({})],
    "outputs no mapping": lambda r: [Response([1])],
    "output name no text": lambda r: [Response({1: 2})],
    "wrong dtype": lambda r: [Response({"OUT": np.int32([[1, 2]])})],
    "wrong rank": lambda r: [Response({"OUT": np.float32([1, 2])})],
    "wrong batch": lambda r: [Response({"OUT": np.float32([[1, 2], [3, 4]])})],
    "no array": lambda r: [Response({"OUT": object()})],
    "list of int": lambda r: [Response({"OUT": [[1, 2]]})],
    "complex": lambda r: [Response({"OUT": np.complex64([[1, 2]])})],
    "error returned": lambda r: [UnsupportedError("not this")],
    "error in response": lambda r: [Response(error=ValueError("mine"))],
    "error in response, text": lambda r: [Response(error="mine")],
    "builtin": lambda r: {}["missing"],
    "timeout": lambda r: (_ for _ in ()).throw(TimeoutError()),
    "system exit": lambda r: (_ for _ in ()).throw(SystemExit(3)),
}

AS_GIVEN = {"bytes": lambda r: [Response({"OUT": np.array([1, "x", b"y"], object)})]}
SEEN = []

@hookimpl
def initialize(instance):
    instance.outputs_as_given = bool(instance.model.parameters.get_bool("as_given", False))

@hookimpl
def execute(requests):
    [request] = requests
    case = request.parameters["case"]
    if case == "again":
        SEEN.append(good(request))
        return [SEEN[0]]
    return (CASES | AS_GIVEN)[case](request)
'''
TWIN_CONFIG = """
backend: "twin"
max_batch_size: 4
input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }
"""


@pytest.fixture
def twin(tmp_path, monkeypatch):
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "__init__.py").touch()
    (tmp_path / "twin" / "plugin.py").write_text(textwrap.dedent(TWIN))
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "twin"\n[tool.tbsdk]\nbackend = "twin"\n')
    (tmp_path / "model_repository" / "twin" / "1").mkdir(parents=True)
    (tmp_path / "model_repository" / "twin" / "config.pbtxt").write_text(TWIN_CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("twin", "twin.plugin"):
        sys.modules.pop(name, None)


def told(call):
    """Give what a client learns: the outputs, or the error's class and message."""
    try:
        return call()["OUT"].tolist()
    except TritonError as error:
        return type(error), str(error)


def test_the_fake_host_says_what_the_real_core_says(twin, fake_host, triton_core):
    core = triton_core(twin)
    import twin.plugin as plugin

    host = fake_host(plugin, twin / "model_repository" / "twin" / "config.pbtxt")
    for case in plugin.CASES:
        real = told(lambda case=case: core.infer("twin", {"IN": X}, parameters={"case": case}))
        fake = told(lambda case=case: host.execute(host.request({"IN": X}, parameters={"case": case}))[0])
        assert fake == real, case


def test_both_send_outputs_as_given(twin, fake_host, triton_core):
    config = twin / "model_repository" / "twin" / "config.pbtxt"
    config.write_text(TWIN_CONFIG + 'parameters { key: "as_given" value { string_value: "true" } }')
    core = triton_core(twin)
    import twin.plugin as plugin

    host = fake_host(plugin, config)
    for case in ("wrong dtype", "wrong rank", "wrong batch", "in place, wrong dtype", "complex", "bytes"):
        real = told(lambda case=case: core.infer("twin", {"IN": X}, parameters={"case": case}))
        fake = told(lambda case=case: host.execute(host.request({"IN": X}, parameters={"case": case}))[0])
        assert fake == real, case
    for case in ("no output", "unknown output"):
        assert list(core.infer("twin", {"IN": X}, parameters={"case": case})) == []
        assert list(host.execute(host.request({"IN": X}, parameters={"case": case}))[0]) == []


def test_a_response_answers_once_in_both(twin, fake_host, triton_core):
    core = triton_core(twin)
    import twin.plugin as plugin

    host = fake_host(plugin, twin / "model_repository" / "twin" / "config.pbtxt")

    def real():
        return core.infer("twin", {"IN": X}, parameters={"case": "again"})

    def fake():
        return host.execute(host.request({"IN": X}, parameters={"case": "again"}))[0]

    assert told(real) == X.tolist()
    second = told(real)
    assert second[0] is InternalError
    plugin.SEEN.clear()
    assert told(fake) == X.tolist()
    assert told(fake) == second


def test_both_refuse_the_same_inputs(twin, fake_host, triton_core):
    core = triton_core(twin)
    host = fake_host("twin.plugin", twin / "model_repository" / "twin" / "config.pbtxt")
    for inputs in (
        {"IN": X.astype(np.float64)},
        {"WRONG": X},
        {"IN": X[0]},
        {"IN": np.zeros((5, 2), np.float32)},
        {"IN": Raw(b"123", "FP32", [1, 4])},
    ):
        real = told(lambda inputs=inputs: core.infer("twin", inputs, parameters={"case": "tensor"}))
        fake = told(lambda inputs=inputs: host.execute(inputs)[0])
        assert fake[0] is real[0] is InvalidArgError
        assert fake[1] in real[1].replace("[request id: <id_unknown>] ", ""), real
    assert told(lambda: core.infer("twin", {}))[0] is told(lambda: host.execute({})[0])[0] is InvalidArgError


class Observed:
    @hookimpl
    def initialize(self, instance):
        self.count = instance.model.metrics.counter("asked_total", "Asked", labels={"kind": "any"})
        self.took = instance.model.metrics.histogram("took_seconds", "Took", buckets=[1, 2])

    @hookimpl
    def execute(self, requests):
        for request in requests:
            with request.trace.span("all"):
                request.trace.report("here")
                self.count.increment(2)
            self.took.observe(1.5)
        return [Response({"OUT": request["IN"]}) for request in requests]


def test_metrics_keep_their_numbers():
    with FakeHost(Observed, CONFIG) as host:
        host.execute([{"IN": X}, {"IN": X}])
        series = host.metrics.series("asked_total", {"kind": "any"})
        assert series.number == 4
        assert series.labels == {"kind": "any", "model": "double", "version": "1"}
        assert host.metrics.series("took_seconds", {}).observed == [1.5, 1.5]
        with pytest.raises(InternalError, match="'asked_total' is a counter here already"):
            host.model.metrics.gauge("asked_total", "")
        with pytest.raises(KeyError, match="0 metrics other"):
            host.metrics.series("other", {})
    assert series.deleted
    assert host.metrics.families == {}


def test_metrics_are_declared_and_given_back():
    with FakeHost(Observed, CONFIG) as host:
        metrics = host.model.metrics
        metrics.declare(Counter, "asked_total", "")
        assert host.metrics.series("asked_total", {"kind": "any"}).number == 0
        with pytest.raises(InternalError, match="already exists with different type"):
            metrics.declare(Gauge, "asked_total", "")
        gauge = metrics.gauge("later", "", labels={"of": "all"}, shared=True, strict=False)
        gauge.set(3)
        metrics.release(gauge)
        with pytest.raises(KeyError, match="0 metrics later"):
            host.metrics.series("later", {})


def test_a_trace_keeps_what_is_reported():
    trace = FakeTrace(context={"traceparent": "00-ab-cd-01"})
    with FakeHost(Observed, CONFIG) as host:
        request = host.request({"IN": X}, trace=trace)
        host.execute([request, {"IN": X}])
        assert request.trace is trace
        assert not host.request({"IN": X}).trace
    assert trace.activities == ["all_START", "here", "all_END"]
    assert trace.context == {"traceparent": "00-ab-cd-01"}
    assert (bool(trace), trace.id, trace.parent_id) == (True, 1, 0)

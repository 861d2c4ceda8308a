"""The fixtures, and what they promise: a plugin that real Triton drives is code of the test's own process."""

import sys
import threading
import urllib.request

import numpy as np
import pytest

from triton_backend_sdk import InternalError, InvalidArgError, UnavailableError
from triton_backend_sdk.python_backend import PythonBackend
from triton_backend_sdk.testing import Raw
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.paths import cache_dir
from triton_backend_sdk.tools.project import Project

pytest_plugins = ["pytester"]

PLUGIN = """
import numpy as np
from triton_backend_sdk import Response, UnavailableError, batched, hookimpl

KEPT = []

def double(x):
    return 2 * x

@hookimpl
def initialize(instance):
    if instance.model.parameters.get_bool("fail", False):
        raise UnavailableError("no weights")
    instance.logger.info("ready for %s", instance.name)

@hookimpl
def execute(requests):
    responses = []
    for request in requests:
        if request.parameters.get("keep"):
            KEPT.append(request["IN"].numpy())
        if "raise" in request.parameters:
            raise {"value": ValueError, "key": KeyError}[request.parameters["raise"]]("told by the plugin")
        responses.append(Response({"OUT": double(request["IN"].numpy())}))
    return responses
"""
CONFIG = """
backend: "gizmo"
max_batch_size: 8
dynamic_batching { max_queue_delay_microseconds: 20000 }
input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }
"""
#: For the stock Python backend.
MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        doubled = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() * 2 for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]) for array in doubled]
"""
X = np.float32([[1, 2]])


def write_project(root):
    for path, text in {
        "pyproject.toml": '[project]\nname = "gizmo"\n[tool.tbsdk]\nbackend = "gizmo"\n',
        "gizmo/__init__.py": "",
        "gizmo/plugin.py": PLUGIN,
        "model_repository/gizmo/config.pbtxt": CONFIG,
        "model_repository/gizmo/1/.gitkeep": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture(scope="module")
def built_once(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("gizmo"))


@pytest.fixture
def project(built_once, monkeypatch):
    monkeypatch.syspath_prepend(built_once)
    yield built_once
    for name in ("gizmo", "gizmo.plugin"):
        sys.modules.pop(name, None)


def test_the_core_runs_the_projects_own_source(project, triton_core):
    core = triton_core(project)

    np.testing.assert_array_equal(core.infer("gizmo", {"IN": X})["OUT"], 2 * X)
    assert sys.modules["gizmo.plugin"].__file__ == str((project / "gizmo" / "plugin.py").resolve())
    assert core.wait_released()  # statistics are complete before that, not before the response
    assert core.statistics("gizmo")["inference_count"] == 1


def test_monkeypatch_reaches_the_plugin_inside_triton(project, triton_core, monkeypatch):
    core = triton_core(project)

    monkeypatch.setattr("gizmo.plugin.double", lambda x: -x)

    np.testing.assert_array_equal(core.infer("gizmo", {"IN": X})["OUT"], -X)


def test_a_trace_function_follows_the_plugin_onto_tritons_threads(project, triton_core):
    """Which is what coverage and debuggers live by."""
    seen = set()

    def trace(frame, event, argument):
        if frame.f_code.co_filename == str(project / "gizmo" / "plugin.py") and event == "line":
            seen.add((frame.f_code.co_name, threading.get_ident()))
        return trace

    threading.settrace(trace)
    try:
        core = triton_core(project)
        core.infer("gizmo", {"IN": X})
    finally:
        threading.settrace(None)

    assert {name for name, _ in seen} == {"<module>", "initialize", "execute", "double"}
    assert threading.get_ident() not in {thread for _, thread in seen}


def test_exceptions_reach_the_client_with_their_code(project, triton_core):
    core = triton_core(project)

    with pytest.raises(InvalidArgError, match="ValueError: told by the plugin"):
        core.infer("gizmo", {"IN": X}, parameters={"raise": "value"})
    with pytest.raises(InternalError, match="KeyError: 'told by the plugin'"):
        core.infer("gizmo", {"IN": X}, parameters={"raise": "key"})
    assert core.infer("gizmo", {"IN": X})["OUT"].shape == (1, 2)
    assert core.wait_released()


def test_the_log_holds_the_plugins_lines_and_tracebacks(project, triton_core):
    core = triton_core(project)

    with pytest.raises(InvalidArgError):
        core.infer("gizmo", {"IN": X}, parameters={"raise": "value"})

    assert "ready for gizmo_0" in core.log_text()
    assert "Traceback (most recent call last)" in core.log_text()


def test_waiting_requests_become_one_batch(project, triton_core, monkeypatch):
    core = triton_core(project)
    sizes = []
    plugin = sys.modules["gizmo.plugin"]
    core.infer("gizmo", {"IN": X})
    before = core.statistics("gizmo")["execution_count"]
    monkeypatch.setattr(plugin, "double", lambda x: sizes.append(threading.get_ident()) or x)

    futures = [core.infer_async("gizmo", {"IN": X}) for _ in range(8)]
    for future in futures:
        future.result(10)

    assert len(sizes) == 8
    assert core.statistics("gizmo")["execution_count"] - before < 8


def test_several_buffers_are_gathered(project, triton_core):
    core = triton_core(project)
    x = np.float32([[1, 2], [3, 4]])
    data = x.tobytes()

    for value in ([x[:1], x[1:]], Raw([data[:5], data[5:]], "FP32", x.shape)):
        np.testing.assert_array_equal(core.infer("gizmo", {"IN": value})["OUT"], 2 * x)


def test_a_kept_view_keeps_its_request_and_nothing_else(project, triton_core):
    core = triton_core(project)
    core.infer("gizmo", {"IN": X}, parameters={"keep": True})

    assert not core.wait_released(0.05)
    assert {kind: count for kind, count in core.live_objects().items() if count} == {"requests": 1}
    kept = sys.modules["gizmo.plugin"].KEPT
    np.testing.assert_array_equal(kept[0], X)
    kept.clear()
    assert core.wait_released()


def test_a_core_whose_plugin_keeps_a_view_says_so_when_it_closes(project, triton_core):
    core = triton_core(project, exit_timeout=0)
    core.infer("gizmo", {"IN": X}, parameters={"keep": True})

    with pytest.raises(
        UnavailableError, match="gizmo did not unload within 0 s, with 1 requests not released"
    ):
        core.close()
    sys.modules["gizmo.plugin"].KEPT.clear()


def test_a_failing_initialize_makes_the_load_fail(project, triton_core):
    core = triton_core(project)
    config = {**core.model_config("gizmo"), "parameters": {"fail": {"string_value": "yes"}}}

    with pytest.raises(InvalidArgError, match="UNAVAILABLE state: Unavailable: no weights"):
        core.load("gizmo", config=config)
    assert core.is_ready("gizmo")  # what was loaded before goes on


def test_a_core_takes_a_built_backend_and_other_models(project, triton_core, tmp_path):

    backend = build_backend(Project.find(project), tmp_path / "backends")
    models = tmp_path / "models"
    (models / "other" / "1").mkdir(parents=True)
    (models / "other" / "config.pbtxt").write_text(CONFIG)

    core = triton_core(backend, [models, project / "model_repository"], models=["other"])

    assert core.is_ready("other")
    assert not core.is_ready("gizmo")


def test_the_fake_host_finds_the_projects_config(project, pytester):
    write_project(pytester.path)
    pytester.makepyfile(
        """
        import numpy as np

        def test_it(fake_host):
            [out] = fake_host("gizmo.plugin").execute({"IN": np.float32([[1]])})
            assert out["OUT"] == 2
        """
    )
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_real_server(project, tritonserver):
    server = tritonserver(project)

    url = f"http://{server.http_url}/v2/models/gizmo/ready"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
        assert answer.status == 200


#: pytester gives tests another home, and so another cache.
CACHE = cache_dir()
NEEDS_CORE = "def test_it(triton_core): triton_core()"


@pytest.fixture
def repository(tmp_path):
    version = tmp_path / "models" / "doubles" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG.replace("gizmo", "python"))
    return tmp_path / "models"


def test_a_model_py_needs_no_project(repository, triton_core, fake_host, tritonserver):
    core = triton_core(model_repository=repository, compat=True)
    np.testing.assert_array_equal(core.infer("doubles", {"IN": X})["OUT"], 2 * X)

    [answer] = fake_host(PythonBackend, repository / "doubles" / "config.pbtxt").execute({"IN": X})
    np.testing.assert_array_equal(answer["OUT"], 2 * X)

    server = tritonserver(model_repository=repository, compat=True)
    assert server.request("/v2/models/doubles")["platform"] == "python"


def test_compat_wants_to_know_where_the_models_are(pytester, monkeypatch):
    monkeypatch.setenv("TBSDK_CACHE_DIR", str(CACHE))
    pytester.makepyfile("def test_it(triton_core): triton_core(compat=True)")

    pytester.runpytest_subprocess().stdout.fnmatch_lines(
        ["*compat=True takes no project: give the model_repository*"]
    )


def test_a_missing_server_skips_with_the_command(pytester, monkeypatch):
    monkeypatch.setenv("TBSDK_TRITONSERVER", "/nowhere")
    monkeypatch.delenv("TBSDK_REQUIRE_REAL", raising=False)
    write_project(pytester.path)
    pytester.makepyfile(NEEDS_CORE)

    result = pytester.runpytest("-rs", "-p", "no:cacheprovider")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no tritonserver found*tbsdk server install*"])


def test_a_missing_server_fails_where_real_parts_are_required(pytester, monkeypatch):
    monkeypatch.setenv("TBSDK_TRITONSERVER", "/nowhere")
    monkeypatch.setenv("TBSDK_REQUIRE_REAL", "1")
    write_project(pytester.path)
    pytester.makepyfile(NEEDS_CORE)

    result = pytester.runpytest("-p", "no:cacheprovider")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no tritonserver found*TBSDK_REQUIRE_REAL is set*"])


def test_a_failed_test_shows_tritons_log(pytester, monkeypatch):
    monkeypatch.setenv("TBSDK_CACHE_DIR", str(CACHE))
    write_project(pytester.path)
    pytester.makepyfile(NEEDS_CORE + "; assert False")

    result = pytester.runpytest("-p", "no:cacheprovider")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Triton's log*", "*successfully loaded 'gizmo'*"])


def test_outside_of_a_project_the_fixtures_say_what_is_missing(pytester, monkeypatch):
    monkeypatch.setenv("TBSDK_CACHE_DIR", str(CACHE))
    pytester.makepyfile(NEEDS_CORE)

    result = pytester.runpytest("-p", "no:cacheprovider")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no backend project in*tbsdk new NAME*"])


def test_start_up_imports_nothing_of_the_sdk_that_is_heavy(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "triton_backend_sdk.testing.pytest_plugin" in sys.modules
            assert not {"numpy", "cffi", "triton_backend_sdk.testing.core"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_plugin_can_be_left_out(pytester):
    pytester.makepyfile("def test_it(fake_host): pass")

    result = pytester.runpytest_subprocess("-p", "no:triton_backend_sdk", "-p", "no:cacheprovider")

    result.assert_outcomes(errors=1)

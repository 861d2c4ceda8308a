"""Who may import whom: the layout shows the path of a request only as long as this holds."""

import ast
import sys
from pathlib import Path

import pytest

import triton_backend_sdk

PACKAGE = Path(triton_backend_sdk.__file__).parent
RUNTIME = [*PACKAGE.glob("*.py"), PACKAGE / "_ffi" / "__init__.py", PACKAGE / "_ffi" / "api.py"]
RUNTIME += (PACKAGE / "python_backend").glob("*.py")
RUNTIME = [path for path in RUNTIME if path.name != "__main__.py"]
EVERY = sorted(PACKAGE.rglob("*.py"))

#: Layer of a module -> what of the package it may import; the runtime's own order is below.
ALLOWED = {
    "cli": ("cli", "runner", "tools", "runtime"),
    "runner": ("runner", "testing", "tools", "runtime"),
    "tools": ("tools", "_ffi.builder", "runtime"),
    "testing": ("testing", "tools", "runtime"),
    "runtime": ("runtime",),
}
#: Each runtime module may import those before it.
ORDER = [
    "_version", "errors", "enums", "loggers", "dtypes", "gpu", "memory", "deadline", "tensor", "tensors", "trace", "sender", "request",
    "response", "ragged", "batch_io", "batch_plan", "hook_shapes", "batched", "specs", "parameters", "memory_usage", "metric_registry",
    "metric_names", "metrics", "calls", "server_control", "server", "model", "model_instance", "placement", "states", "failure", "event_loop", "instance_thread", "execution",
    "model_config", "signature", "queued", "batching", "hookspecs", "slow_log", "caretaker", "sender_watch", "watchdog", "loading",
    "plugins", "readiness", "lifecycle", "outputs", "_ffi", "_ffi.api", "configure", "attributes",
    "tracing", "batcher", "triton_log", "triton_metrics", "runtime", "attach",
    "python_backend", "python_backend.module_loaders", "python_backend.module_search", "python_backend.facade",
    "python_backend.event_loops", "python_backend.sys_proxy", "python_backend.scope",
    "python_backend.model_file", "python_backend.pb_error", "python_backend.owner", "python_backend.foreign", "python_backend.tensor",
    "python_backend.preferred_memory", "python_backend.inference_trace", "python_backend.made_request", "python_backend.infer_response",
    "python_backend.response_iterator", "python_backend.bls", "python_backend.model_loader", "python_backend.response_sender",
    "python_backend.infer_request", "python_backend.datatypes", "python_backend.pb_model_config", "python_backend.pb_logger",
    "python_backend.pb_metrics", "python_backend.arguments", "python_backend.readiness", "python_backend.environment",
    "python_backend.input_memory", "python_backend.notices", "python_backend.utils_module",
    "python_backend.taint", "python_backend.taint_levels", "python_backend.taint_run", "python_backend.writes",
    "python_backend.coroutines", "python_backend.kept", "python_backend.answers", "python_backend.execution", "python_backend.plugin", "python_backend.wrapped",
]  # fmt: skip
#: Third parties and the only places that may know them.
ONLY = {
    "bentoml": ("runner",),
    "click": ("cli",),
    "rich": ("cli",),
    "fsspec": ("tools",),
    "tritonclient": ("runner", "tools"),
    "yaml": ("tools",),
    "cffi": ("_ffi", "testing"),
    "pytest": ("testing",),
}


def imports(path: Path, *, at_run_time: bool = True) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    skip = set()
    for node in ast.walk(tree):
        if at_run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skip.update(ast.walk(node))
        if node in skip:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update(
                f"{node.module}.{alias.name}"
                if node.module in ("triton_backend_sdk", "triton_backend_sdk._ffi")
                else node.module
                for alias in node.names
            )
    return found


def own(path: Path) -> set[str]:
    return {
        name.removeprefix("triton_backend_sdk.")
        for name in imports(path)
        if name.startswith("triton_backend_sdk.")
    }


def layer(module: str) -> str:
    first = module.split(".", maxsplit=1)[0]
    return (
        "_ffi.builder"
        if module.startswith("_ffi.builder")
        else first
        if first in ("cli", "runner", "tools", "testing")
        else "runtime"
    )


@pytest.mark.parametrize("path", EVERY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    name = str(path.relative_to(PACKAGE).with_suffix("")).replace("/", ".")
    if name in ("__main__", "_ffi.builder"):
        return
    for imported in own(path):
        assert layer(imported) in ALLOWED[layer(name)], f"{name} imports {imported}"


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.name)
def test_the_runtime_is_a_line(path):
    name = str(path.relative_to(PACKAGE).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    if name in ("__init__", "python_backend"):
        return
    for imported in own(path) - set(triton_backend_sdk.__all__):
        module = imported if imported in ORDER else imported.rsplit(".", 1)[0]
        assert ORDER.index(module) < ORDER.index(name), f"{name} imports {imported}"


def test_the_python_backend_uses_what_a_plugin_may():
    """It is a plugin like any other: what it cannot get in public is a gap to close."""
    public = {f"triton_backend_sdk.{name}" for name in triton_backend_sdk.__all__}
    for path in (PACKAGE / "python_backend").glob("*.py"):
        for imported in imports(path, at_run_time=False):
            if imported.startswith("triton_backend_sdk.") and imported not in public:
                assert imported.startswith("triton_backend_sdk.python_backend"), (
                    f"{path.name} imports {imported}"
                )


def test_the_python_backend_touches_nothing_private():
    """Attributes that begin with an underscore are its own, or Python's."""
    own, used = {"_getframe", "_replace"}, set()
    for path in (PACKAGE / "python_backend").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                own.add(node.value)  # of __slots__
    assert {name for name in used if not name.endswith("__")} <= own


@pytest.mark.parametrize("path", EVERY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_third_parties_stay_in_their_place(path):
    place = path.relative_to(PACKAGE).parts[0]
    for imported in imports(path, at_run_time=False):
        allowed = ONLY.get(imported.split(".")[0])
        assert allowed is None or place in allowed, f"{path.name} imports {imported}"
        assert imported.split(".")[0] not in ("torch", "cupy")


def test_what_runs_in_the_server_needs_no_more_than_it_says():
    standard = set(sys.stdlib_module_names) | {"triton_backend_sdk", "pluggy", "numpy", "ml_dtypes"}
    for path in RUNTIME:
        assert {name.split(".")[0] for name in imports(path)} <= standard, path.name


def test_no_module_is_longer_than_a_person_can_hold():
    for path in [*EVERY, *(PACKAGE / "_ffi").rglob("*.[ch]")]:
        assert len(path.read_text().splitlines()) <= 300, path

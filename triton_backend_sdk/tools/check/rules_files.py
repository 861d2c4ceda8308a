"""C13, C22, C33, C36: the files that a model needs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.check.data import file_size, why_not
from triton_backend_sdk.tools.check.finding import Finding, Place
from triton_backend_sdk.tools.check.frameworks import of_completed
from triton_backend_sdk.tools.check.libraries import unresolved
from triton_backend_sdk.tools.check.repository import Entries, ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare, repository_rule
from triton_backend_sdk.tools.check.rules_backend import escapes
from triton_backend_sdk.tools.installation import STUB

C13 = declare("C13", "a model's file that is not there, or a folder in its place", phase="load")
C22 = declare("C22", "labels that are not there, or outside the model", phase="load")
C33 = declare("C33", "a batching library that is not there, or outside the model", phase="load")
C36 = declare("C36", "a model.py that cannot be one", phase="load")
#: Backends that serve a class of a model.py.
PYTHON = ("python", "python_inprocess")
#: The first servers that refuse labels and batching libraries out of the model's folder.
_ESCAPING_LABELS, _ESCAPING_STRATEGY = (2, 66), (2, 70)
_LARGEST_PROGRAM = 1 << 22
_CLASS = "TritonPythonModel"
_STRATEGY = "TRITON_BATCH_STRATEGY_PATH"


@config_rule(C13)
def check_files(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """By the layouts of the frameworks; other backends take what they like."""
    completed = context.completed(model)
    framework = None if completed is None else of_completed(completed)
    if completed is None or framework is None or framework.file is None:
        return
    for version in model.served:
        lies_there = model.version_entries(version)
        names = dict(model.message.cc_model_filenames) or {"": completed.filename or framework.file}
        for capability, name in names.items():
            path = model.version_path(version) / name
            is_folder = lies_there.get(name) if "/" not in name else path.is_dir() if path.exists() else None
            if is_folder is None:
                yield self.at(
                    Place(str(path)),
                    f"version {version} has no {name}, which backend '{completed.backend}' serves",
                    model=model,
                    mend=_mend(lies_there, framework.file, name),
                    severity="warning" if capability and not context.gpus else "error",
                )
            elif is_folder != framework.folder and not framework.may_be_folder:
                wanted, got = ("folder", "file") if framework.folder else ("file", "folder")
                yield self.at(
                    Place(str(path)),
                    f"{name} is to be a {wanted}, but is a {got}",
                    model=model,
                    mend=f"put a {wanted} of that name in its place",
                )
            for beside in framework.beside if name == framework.file else ():
                if beside not in lies_there:
                    yield self.at(
                        Place(str(model.version_path(version) / beside)),
                        f"version {version} has no {beside} beside {name}",
                        model=model,
                        mend=f"put {beside} there",
                        severity="warning",
                    )


def _mend(lies_there: Entries, default: str, name: str) -> str:
    if default in lies_there and name != default:
        return f"there is a {default}: leave default_model_filename out"
    ending = Path(default).suffix
    close = next((each for each in lies_there if each.endswith(ending)), None)
    return f'default_model_filename: "{close}"' if close else f"put {name} there"


@config_rule(C22)
def check_labels(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Look for each from the model's folder."""
    for index, output in enumerate(model.message.output):
        name = output.label_filename
        if not name:
            continue
        path = model.path / name
        outside = escapes(path, model.path)
        if outside and not context.is_before(*_ESCAPING_LABELS):
            message = f"label file '{name}' lies outside the model"
            says: str | None = "is outside model directory"
        elif not path.is_file():
            message, says = why_not(path)
        else:
            continue
        yield self.of(
            model,
            ("output", index, "label_filename"),
            message,
            says=says,
            mend=f"put the labels, one per line, into {model.path}, or leave label_filename out",
        )


@config_rule(C33)
def check_strategy(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Look at the parameter TRITON_BATCH_STRATEGY_PATH."""
    parameters = model.message.parameters
    if _STRATEGY not in parameters or model.message.HasField("ensemble_scheduling"):
        return
    place, path = ("parameters",), parameters[_STRATEGY].string_value
    if model.message.HasField("sequence_batching"):
        yield self.of(
            model,
            place,
            f"{_STRATEGY} does not go with a sequence batcher",
            says=f"{_STRATEGY} cannot be specified with sequence batcher",
            mend="leave one of them out",
        )
    elif escapes(path, model.path) and not context.is_before(*_ESCAPING_STRATEGY):
        yield self.of(
            model,
            place,
            f"{_STRATEGY} leads out of the model: {path}",
            says="Batching library path escapes model repository.",
            mend=f"put the library into {model.path} and name it in full",
        )
    elif not Path(path).is_file():
        yield self.of(
            model,
            place,
            f"{_STRATEGY} names no file: {path}",
            says=f"Batching library path not found: {path}",
            mend=f"put the library into {model.path} and name it in full",
        )


@config_rule(C36)
def check_model_py(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Only read, never run."""
    completed = context.completed(model)
    if completed is None or completed.backend not in PYTHON:
        return
    for version in model.served:
        name = completed.filename or "model.py"
        path = model.version_path(version) / name
        size = None if "/" in name or not name.endswith(".py") else file_size(path)
        if size is None or size > _LARGEST_PROGRAM:
            continue
        try:
            tree = ast.parse(path.read_bytes(), str(path))
        except (SyntaxError, ValueError, RecursionError) as error:
            place = Place(str(path), getattr(error, "lineno", None), getattr(error, "offset", None))
            said = getattr(error, "msg", str(error))
            mend = "mend that line; python -m py_compile shows it"
            yield self.at(place, f"{name} is no Python: {said}", model=model, says=said, mend=mend)
            continue
        except OSError as error:
            said = f"{name} cannot be read: {error.strerror}"
            yield self.at(Place(str(path)), said, model=model, mend="let the server's user read it")
            continue
        if not any(_defines(node) for node in tree.body):
            yield self.at(
                Place(str(path)),
                f"{name} has no class {_CLASS}",
                model=model,
                says=f"has no attribute '{_CLASS}'",
                mend=f"class {_CLASS}: with execute(self, requests)",
            )


def _defines(node: Any) -> bool:
    if isinstance(node, ast.ClassDef):
        return node.name == _CLASS
    if isinstance(node, ast.ImportFrom):
        return any((alias.asname or alias.name) in (_CLASS, "*") for alias in node.names)
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(target, ast.Name) and target.id == _CLASS for target in targets)
    if isinstance(node, (ast.If, ast.Try, ast.With)):
        inner = [*node.body, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
        inner += [each for handler in getattr(node, "handlers", ()) for each in handler.body]
        return any(_defines(each) for each in inner)
    # globals()["..."] = ..., setattr and the like: whoever writes so knows.
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _CLASS in ast.dump(node)


@repository_rule(C36)
def check_stub(self: Rule, context: Context) -> Iterator[Finding]:
    """Look for the stub, and for its libpython, without which it hangs instead of failing."""
    if context.backends is None:
        return
    folder = context.backends / "python"
    stub = folder / STUB
    users = [
        model
        for model in context.models
        if model.message is not None
        and (completed := context.completed(model)) is not None
        and completed.backend == "python"
    ]
    if not users:
        return
    if not stub.is_file():
        # the stock backend, and not another one in its place; and a model may bring a stub of its own
        stock = (folder / "triton_python_backend_utils.py").is_file()
        lost = [model.name for model in users if stock and stub.name not in model.entries]
        if lost:
            yield self.at(
                Place(str(folder)),
                f"this server's python backend has no stub: it would not serve '{lost[0]}'",
                mend="tbsdk serve --compat runs such models without one; NVIDIA's images have it",
                severity="note",
            )
    elif lacks := unresolved(stub):
        yield self.at(
            Place(str(stub)),
            f"the stub of the python backend lacks {', '.join(lacks)}: the server would hang on "
            f"'{users[0].name}'",
            mend=f"install {lacks[0]}, or set LD_LIBRARY_PATH to where it is; tbsdk doctor",
        )

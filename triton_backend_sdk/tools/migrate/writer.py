"""A model written as a backend project of its own: its source as a plugin, or a wrapper around it."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.migrate.editor import Refusal
from triton_backend_sdk.tools.migrate.inventory import Inventory
from triton_backend_sdk.tools.migrate.simple import check_state
from triton_backend_sdk.tools.migrate.verdict import Report
from triton_backend_sdk.tools.templates import (
    STOCK_NAME,
    NewProject,
    check_name,
    fault,
    propose,
    refuse_to_overwrite,
    template,
)

_COPIED = (".dockerignore", ".gitignore", "Dockerfile")
_BACKEND = re.compile(r"""^([ \t]*backend[ \t]*:[ \t]*)(?:"[^"\n]*"|'[^'\n]*')""", re.MULTILINE)
_WRAPPER = '''"""The Triton backend {name}: runs model.py, which lies beside this file, as it is."""

from triton_backend_sdk.python_backend import PythonModelPlugin

from .model import TritonPythonModel


class Plugin(PythonModelPlugin):
    """The hooks of a plugin, for the model's class."""

    model_class = TritonPythonModel
'''
_SERVER = '''"""The Triton backend {name}: runs the model.py of its models, with what lies beside it."""

from triton_backend_sdk.python_backend import PythonBackend


class Plugin(PythonBackend):
    """Serves <version>/model.py of each model whose config.pbtxt says backend: "{name}"."""
'''
_README = """# {name}

A backend for NVIDIA's Triton Inference Server, made from the model `{model}` by `tbsdk migrate`: {how}.

    tbsdk serve      # build it and start the real tritonserver on it
    pytest           # load it in the real Triton, inside pytest

| file | what it is |
|---|---|
| `{name}/plugin.py` | {plugin} |
| `model_repository/{model}/config.pbtxt` | the model's config; only its `backend` is another |
| `tests/test_plugin.py` | a first test: give it real inputs |
{notes}"""


def backend_name(report: Report, name: str | None) -> str:
    """Give the new backend's name: what was asked for, or the model's, or one close to it.

    :raises HandledError: what was asked for will not do.
    """
    model = report.inventory.found.name
    if name is not None:
        check_name(name)
        return name
    return propose(model) if fault(model) else model


def write_project(report: Report, into: Path, name: str, *, wrap: bool = False) -> NewProject:
    """Write a model as a backend project to ``into/name``.

    :param wrap: with a wrapper, even where its source can be written as a plugin.
    :raises HandledError: something is already there, or cannot be written.
    """
    target = into.expanduser().resolve() / name
    refuse_to_overwrite(target, f"tbsdk migrate {report.inventory.found.directory} -o DIR --name NAME")
    try:
        for place, text in _texts(report, name, wrap=wrap):
            file = target / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        _copy_files(report.inventory, target, name, keep=_form(report, wrap=wrap) == "server")
    except OSError as error:
        raise HandledError(f"cannot write {error.filename or target}: {error.strerror}") from error
    return NewProject(
        target, tuple(sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file()))
    )


def _form(report: Report, *, wrap: bool) -> str:
    """Tell how it is written: as source, as a wrapper, or served from the model's folder.

    There each instance imports files of its own, so that a model may have other modules and state in them.
    """
    if report.rewriting.text is not None and not wrap:
        return "source"
    source, inventory = report.inventory.sources[0], report.inventory
    if len(inventory.sources) > 1 or any(one.name.startswith(".") for one in inventory.imports):
        return "server"
    try:
        check_state(source, source.model_class or ast.ClassDef("", [], [], [], []))
    except Refusal:
        return "server"
    return "wrapper"


def _texts(report: Report, name: str, *, wrap: bool) -> Iterator[tuple[str, str]]:
    form, inventory = _form(report, wrap=wrap), report.inventory
    stock = template()
    for file in _COPIED:
        yield file, (stock / file).read_text(encoding="utf-8").replace(STOCK_NAME, name)
    yield (
        "pyproject.toml",
        _pyproject((stock / "pyproject.toml").read_text(encoding="utf-8"), name, inventory),
    )
    yield "README.md", _readme(report, name, form)
    yield f"{name}/__init__.py", f'"""The Triton backend {name}; its hooks are in plugin.py."""\n'
    plugin = {"wrapper": _WRAPPER, "server": _SERVER}.get(form, "").format(name=name)
    yield f"{name}/plugin.py", plugin or str(report.rewriting.text)
    if form == "wrapper":
        yield f"{name}/model.py", inventory.sources[0].data.decode()
    yield f"model_repository/{inventory.found.name}/config.pbtxt", config_text(inventory, name)
    yield "tests/test_plugin.py", _tests(inventory)


def _pyproject(text: str, name: str, inventory: Inventory) -> str:
    installed = importlib.metadata.packages_distributions()
    tops = {
        one.top
        for one in inventory.imports
        if one.own is None and one.top and one.top not in sys.stdlib_module_names and not one.optional
    }
    here = sorted({installed[top][0] for top in tops if top in installed} - {"numpy", "triton-backend-sdk"})
    missing = sorted(tops - set(installed))
    dependencies = ", ".join(f'"{one}"' for one in ["numpy>=1.26", *here])
    text = text.replace(STOCK_NAME, name).replace('["numpy>=1.26"]', f"[{dependencies}]")
    if missing:
        line = f"# Add what brings: {', '.join(missing)} (not installed where this was written)."
        text = text.replace("dependencies = [", f"{line}\ndependencies = [", 1)
    return text


def _readme(report: Report, name: str, form: str) -> str:
    how, plugin = {
        "source": ("its source, with Triton's names exchanged for the SDK's", "the model's code, as hooks"),
        "wrapper": ("its model.py, unchanged, in a wrapper", "the wrapper around `model.py` beside it"),
        "server": ("its model.py stays in the model's folder, unchanged", "what serves that model.py"),
    }[form]
    lines = [*report.rewriting.notes] if form == "source" else []
    if form == "source":
        lines += [
            "an exception answers with its natural code (ValueError: INVALID_ARG), not INTERNAL",
            "outputs may differ from what the config says, as before: that is `outputs_as_given`",
            "module-level objects are shared by the instances, which are threads: see that they may be",
        ]
    lines += [f"{one.reason}: {one.mend}" for one in report.findings if one.mend]
    notes = "\n## To look at\n\n" + "".join(f"- {line}\n" for line in lines) if lines else ""
    return _README.format(name=name, model=report.inventory.found.name, how=how, plugin=plugin, notes=notes)


def config_text(inventory: Inventory, name: str) -> str:
    """Give the model's config.pbtxt with another backend, and nothing else changed."""
    line = f'backend: "{name}"'
    file = inventory.found.config_file
    if not file.is_file():
        return f"{line}\n"
    text = file.read_text(encoding="utf-8")
    changed, count = _BACKEND.subn(lambda match: f'{match[1]}"{name}"', text, count=1)
    return changed if count else f"{line}\n{text}"


def _copy_files(inventory: Inventory, target: Path, name: str, *, keep: bool) -> None:
    """Copy what lies beside model.py, such as weights and labels; with the code, where it stays there.

    The newest version only. A model.py outside of a version's folder lies among strangers: just its config.
    """
    found = inventory.found
    folder = target / "model_repository" / found.name
    version = folder / (found.version or "1")
    version.mkdir(parents=True, exist_ok=True)
    own = {source.path for source in inventory.sources}
    if not found.version:
        for path in own if keep else ():
            place = version / path.relative_to(found.directory)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place.with_name("model.py") if path == found.file else place)
    else:
        others = (path for path in found.directory.rglob("*") if path.is_file())
        for path in others:
            inside = path.relative_to(found.directory)
            skip = "__pycache__" in inside.parts or inside.parts[0] == "config.pbtxt"
            old = inside.parts[0].isdigit() and inside.parts[0] != found.version
            if not (skip or old or (path in own and not keep)):
                (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, folder / inside)
    if not any(version.iterdir()):
        (version / ".gitkeep").touch()


_TESTS = '''"""The model in the real Triton, inside pytest; the fixture is triton-backend-sdk's."""
{numpy}

def test_{what}(triton_core):
    core = triton_core()
{body}'''


_ANSWERS = """
    # Zeros: give it inputs that mean something, and say what it answers.
    result = core.infer("{model}", {{{given}}})

    assert set(result) == {names}
"""


def _tests(inventory: Inventory) -> str:
    found, config = inventory.found, inventory.found.config
    alone = not {"InferenceRequest.exec", "InferenceRequest.async_exec"} & set(inventory.uses)
    inputs = config.get("input") or []
    plain = all(one.get("data_type") != "TYPE_BF16" for one in inputs)
    if inventory.is_decoupled or "sequence_batching" in config or not (alone and inputs and plain):
        return _TESTS.format(what="it_loads", numpy="", body=f'\n    assert core.is_ready("{found.name}")\n')
    given = ", ".join(f'"{one["name"]}": {_zeros(one, bool(config.get("max_batch_size")))}' for one in inputs)
    body = _ANSWERS.format(model=found.name, given=given, names=_names(config))
    return _TESTS.format(what="it_answers", numpy="\nimport numpy as np\n", body=body)


def _names(config: dict[str, object]) -> str:
    outputs = config.get("output") or []
    assert isinstance(outputs, list)
    return "{" + ", ".join(f'"{one["name"]}"' for one in outputs) + "}"


def _zeros(tensor: dict[str, object], batches: bool) -> str:
    dims = tensor.get("dims") or []
    assert isinstance(dims, list)
    shape = [1] * batches + [max(1, int(dim)) for dim in dims]
    dtype = DataType.of(tensor.get("data_type", "TYPE_FP32"))
    if dtype is DataType.BYTES:
        return f'np.full({shape}, b"", dtype=object)'
    return f'np.zeros({shape}, "{dtype.numpy_name}")'

"""A new entry of a model repository: the config, commented, and the place of the file.

The entries are files below ``templates/models/FRAMEWORK``, of a model called ``mymodel``: there is no
template language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.templates import refuse_to_overwrite, template

#: The model's name in the templates, and its backend's in the one for backends of one's own.
STOCK_NAME, STOCK_BACKEND = "mymodel", "mybackend"
#: At once: a model may be called as the backend, or mybackend_2.
_STOCK = re.compile(f"{STOCK_NAME}|{STOCK_BACKEND}")
#: What `tbsdk new --framework` takes: what it stands for, and the file that its author still has to bring.
FRAMEWORKS = {
    "tensorflow_savedmodel": ("a TensorFlow SavedModel", "model.savedmodel/"),
    "tensorflow_graphdef": ("a frozen TensorFlow graph", "model.graphdef"),
    "pytorch": ("TorchScript", "model.pt"),
    "torch_aoti": ("a package of PyTorch's AOTInductor", "model.pt2"),
    "onnx": ("an ONNX file", "model.onnx"),
    "onnx_folder": ("an ONNX file with others beside it", "model.onnx/"),
    "python": ("a model.py of the Python backend", None),
    "tensorrt": ("a TensorRT engine", "model.plan"),
    "openvino": ("an OpenVINO model", "model.xml"),
    "dali": ("a DALI pipeline", "model.dali"),
    "ensemble": ("an ensemble, with two models of the Python backend", None),
    "custom": ("a model of a backend of your own", None),
}
_LABELS = '# label_filename: "labels.txt"'
_WARMUP = "# model_warmup {"
#: As many as the templates' outputs have elements.
_CLASSES = "first\nsecond\nthird\nfourth\n"
_CONFIG = "config.pbtxt"


@dataclass(frozen=True)
class NewEntry:
    """What was written."""

    repository: Path
    #: Relative to the repository, sorted.
    files: tuple[Path, ...]
    #: Where the model's file belongs, relative to the repository; None where nothing is missing.
    missing: Path | None
    #: Whether that is a folder.
    is_folder: bool


def new_entry(
    name: str,
    framework: str,
    repository: Path,
    *,
    backend: str | None = None,
    labels: bool = False,
    warmup: bool = False,
) -> NewEntry:
    """Write an entry to ``repository/name``.

    :param backend: for ``custom``: the backend's name; the model's, where it is None.
    :raises HandledError: the name will not do, or something is already there.
    """
    again = f"tbsdk new {name} --framework {framework} --into REPOSITORY"
    _check_name(name, framework)
    if backend is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", backend):
        raise HandledError(
            f"{backend!r} cannot name a backend: it takes letters, digits, _, - and .",
            f"tbsdk new {name} --framework {framework} --backend NAME, of libtriton_NAME.so",
        )
    repository = repository.expanduser().resolve()
    if (repository / _CONFIG).is_file():
        raise HandledError(
            f"{repository} is a model, not a model repository: it has a {_CONFIG}",
            f"name the folder above: --into {repository.parent}",
        )
    texts = dict(_texts(name, framework, backend or name))
    config = Path(name, _CONFIG)
    if labels:
        texts[config] = _uncommented(texts[config], _LABELS, framework, "labels")
        texts[Path(name, "labels.txt")] = _CLASSES
    if warmup:
        texts[config] = _uncommented(texts[config], _WARMUP, framework, "warmup")
    try:
        for folder in sorted({file.parts[0] for file in texts}):
            refuse_to_overwrite(repository / folder, again)
        for file, text in texts.items():
            (repository / file).parent.mkdir(parents=True, exist_ok=True)
            (repository / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise HandledError(f"cannot write {error.filename or repository}: {error.strerror}", again) from error
    own = FRAMEWORKS[framework][1]
    missing = Path(name, "1", own) if own else None
    return NewEntry(repository, tuple(sorted(texts)), missing, bool(own and own.endswith("/")))


def _check_name(name: str, framework: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        reason = "it takes letters, digits, _, - and ."
    elif name.isdigit():
        reason = "it would look like a version"
    else:
        return
    close = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
    close = close if close and not close.isdigit() else "mymodel"
    raise HandledError(
        f"{name!r} cannot name a model: {reason}", f"tbsdk new {close} --framework {framework}"
    )


def _texts(name: str, framework: str, backend: str) -> Iterator[tuple[Path, str]]:
    source = template().parent / "models" / framework
    new = {STOCK_NAME: name, STOCK_BACKEND: backend}
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            text = path.read_text(encoding="utf-8")
            file = str(path.relative_to(source)).replace(STOCK_NAME, name, 1)
            yield Path(file), _STOCK.sub(lambda found: new[found[0]], text)


def _uncommented(config: str, first: str, framework: str, what: str) -> str:
    """Take the # off the lines from one that is commented out to the end of its block."""
    lines = config.split("\n")
    start = next((index for index, line in enumerate(lines) if line.strip() == first), None)
    if start is None:
        raise HandledError(
            f"an entry for {framework} has no {what}", f"leave --{what} out, or choose another framework"
        )
    end = start
    if first.endswith("{"):
        end = next(index for index in range(start, len(lines)) if lines[index] == "# }")
    for index in range(start, end + 1):
        lines[index] = lines[index].replace("# ", "", 1)
    return "\n".join(lines)

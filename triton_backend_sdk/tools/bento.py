"""A BentoML service for a model repository: service.py and bentofile.yaml, as text."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools.check.repository import open_root
from triton_backend_sdk.tools.config_text import parse_config
from triton_backend_sdk.tools.dockerfile import DEFAULT_VERSION, Image
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.remote import parse

#: Longer signatures get a line per argument.
_LONG = 70
#: What the service has besides its models.
_TAKEN = {"close", "infer", "models", "runner"}

_HEAD = '''"""Serves the models in {folder}; `tbsdk bento export` wrote it, and it is yours to change."""

import json
import os
from collections.abc import AsyncGenerator
{path_import}from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import DType

from triton_backend_sdk.runner import Result, Runner

REPOSITORY = {repository}


def lists(result: Result) -> dict[str, Any]:
    """Give the outputs as nested lists, texts as str."""
    return {{name: plain(array.tolist()) for name, array in result.outputs.items()}}


def plain(value: Any) -> Any:
    """Give a value as JSON has it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@bentoml.service(name={name_text}, traffic={{"timeout": 60}})
class {cls}:
    """The models of a Triton that this service starts, or of the one at $TRITON_URL."""

    def __init__(self) -> None:
        url = os.environ.get("TRITON_URL")
        self.runner = (Runner(url=url) if url else Runner(REPOSITORY, name={name_text})).start()

    @bentoml.on_shutdown
    def close(self) -> None:
        self.runner.close()

    @bentoml.api
    async def models(self) -> list[dict[str, Any]]:
        """List the models and their state."""
        return await self.runner.aio.get_model_repository_index()

    @bentoml.api
    async def infer(self, model: str, inputs: dict[str, Any], version: str = "") -> dict[str, Any]:
        """Ask any model; inputs are nested lists by name."""
        return lists(await self.runner.model(model, version).async_run(**inputs, batch="auto"))
'''

_CALL = '''
    @bentoml.api
    async def {method}({arguments}) -> dict[str, Any]:
        """Ask the model {model}."""
        model = self.runner[{model_text}]
        return lists(await model.async_run({given}, batch="auto"))
'''

_STREAM = '''
    @bentoml.api
    async def {method}({arguments}) -> AsyncGenerator[str, None]:
        """Ask the model {model}, which answers any number of times: a line of JSON each."""
        model = self.runner[{model_text}]
        async for result in model.async_stream({given}, batch="auto"):
            yield json.dumps(lists(result)) + "\\n"
'''

_BENTOFILE = """# Written by `tbsdk bento export`; next: bentoml build, bentoml containerize {name}.
service: "service:{cls}"
include:
  - "service.py"
{folder}python:
  packages:
    - "triton-backend-sdk[client]"
    - "numpy"
docker:
  # Triton {release}, with Python {python}: `tbsdk dockerfile` makes an image with backends of your own.
  base_image: "{image}"
"""


@dataclass(frozen=True)
class Export:
    """The two files."""

    service: str
    bentofile: str


def export(
    repository: Path | str,
    *,
    name: str | None = None,
    release: str = DEFAULT_VERSION,
    image: str | None = None,
) -> Export:
    """Write a service with an endpoint for each model that has a config.pbtxt, and one for any model.

    :param repository: a folder, or the address of a bucket.
    :param name: of the service; that of the folder above the repository, or the bucket, if not given.
    :param release: of NVIDIA's container image.
    :param image: the base image, instead of NVIDIA's.
    :raises HandledError: the repository is not there, a config cannot be read, or there is no such release.
    """
    root = open_root(repository)
    if not root.is_dir():
        raise HandledError(f"there is no model repository {repository}", "tbsdk bento export path/to/models")
    local = isinstance(root, Path)
    root = root.resolve() if local else root
    above = root.parent.name if local else parse(str(repository)).bucket
    name = name or re.sub(r"[^a-z0-9_]+", "_", above.lower()).strip("_") or "triton"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9_.-]*[a-z0-9])?", name):
        raise HandledError(
            f"{name!r} cannot name a Bento: lower-case letters, digits, _, . and - were expected"
        )
    base = Image("bento", version=release, full=image)
    cls = "".join(part.capitalize() for part in re.split(r"[^a-z0-9]+", name)) or "Triton"
    cls = cls if cls[0].isalpha() else f"Triton{cls}"
    head = _HEAD.format(
        folder=root.name if local else root,
        repository=f"Path(__file__).parent / {_text(root.name)}" if local else _text(str(root)),
        path_import="from pathlib import Path\n" if local else "",
        name_text=_text(name),
        cls=cls,
    )
    folder = f'  - "{root.name}/"\n' if local else ""
    return Export(
        head + "".join(_methods(root)),
        _BENTOFILE.format(
            name=name, cls=cls, folder=folder, release=release, python=base.python, image=base.server
        ),
    )


def _methods(root: Any) -> Iterator[str]:
    used = set(_TAKEN)
    for folder in sorted(root.iterdir(), key=lambda each: str(each.name)):
        config = folder / "config.pbtxt"
        if not config.is_file():
            continue
        try:
            fields = parse_config(config.read_bytes().decode())
        except ValueError as error:
            raise HandledError(f"{config}: {error}", "tbsdk check tells more") from error
        inputs = _several(fields.get("input"))
        if not inputs:
            continue  # completed by its backend: known only once it is loaded
        method = _identifier(fields.get("name") or folder.name, used)
        template = _STREAM if _is_decoupled(fields) else _CALL
        yield template.format(
            method=method, model=folder.name, model_text=_text(folder.name), **_arguments(inputs)
        )


def _arguments(inputs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    used = {"batch", "model", "self"}
    names = [row["name"] for row in inputs]
    required, optional, given = [], [], []
    for row in inputs:
        argument = _identifier(row["name"], used)
        kind = _annotation(str(row.get("data_type", "")))
        if row.get("optional"):
            optional.append(f"{argument}: {kind} | None = None")
        else:
            required.append(f"{argument}: {kind}")
        given.append(f"{_text(row['name'])}: {argument}")
    given_text = f"**{{{', '.join(given)}}}"
    if all(
        name.isidentifier() and pair == f"{_text(name)}: {name}"
        for name, pair in zip(names, given, strict=True)
    ):
        given_text = ", ".join(f"{name}={name}" for name in names)
    every = [*required, *optional]
    arguments = ", ".join(["self", *every])
    if len(arguments) > _LONG:
        arguments = "\n        " + ",\n        ".join(["self", *every]) + ",\n    "
    return {"arguments": arguments, "given": given_text}


def _annotation(datatype: str) -> str:
    known = {each.config_name: each for each in DataType}.get(datatype)
    if known is None or known in (DataType.BYTES, DataType.BF16):
        return "list[Any]"
    return f'Annotated[np.ndarray, DType("{known.numpy_name}")]'


def _identifier(name: str, used: set[str]) -> str:
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not found.isidentifier() or found.startswith("_") or keyword.iskeyword(found):
        found = f"m_{found.lstrip('_')}"
    while found in used:
        found += "_"
    used.add(found)
    return found


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_decoupled(fields: Mapping[str, Any]) -> bool:
    return bool(fields.get("model_transaction_policy", {}).get("decoupled"))


def _several(value: Any) -> list[Mapping[str, Any]]:
    return list(value) if isinstance(value, list) else [value] if value else []

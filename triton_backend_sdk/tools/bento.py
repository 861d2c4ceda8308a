"""A BentoML service for a model repository: service.py and bentofile.yaml, as text."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.check.completed import is_stock
from triton_backend_sdk.tools.check.repository import ModelDirectory, Repository, open_root
from triton_backend_sdk.tools.config_text import parse_config
from triton_backend_sdk.tools.dockerfile import DEFAULT_VERSION, Image
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.options import is_uri

#: Longer lists of arguments get a line for each.
_LONG = 70
#: What the service has besides its models, what its signatures are made of, and paths that are BentoML's.
_TAKEN = frozenset(
    re.findall(
        r"\w+",
        """close infer models runner Any AsyncGenerator bentoml bool dict int list str healthz livez metrics
        readyz""",
    )
)
#: What a method uses, and names that pydantic and BentoML have for themselves.
_NO_ARGUMENTS = frozenset(
    re.findall(
        r"\w+",
        """http_errors json lists model result self args kwargs ctx context construct copy dict from_orm
        parse_file parse_obj parse_raw schema schema_json validate update_forward_refs from_inputs media_type
        mime_type multipart_fields to_http_response""",
    )
)
_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")

_HEAD = '''"""Serves the models in {where}; `tbsdk bento export` wrote it, and it is yours to change."""

{imports}

REPOSITORY = {repository}


def lists(result: Result) -> dict[str, Any]:
    """Give the outputs as nested lists, texts as str."""
    return {{name: plain(array.tolist()) for name, array in result.outputs.items()}}


def plain(value: Any) -> Any:
    """Give a value as JSON has it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@bentoml.service(name={name}, traffic={{"timeout": 60}})
class {cls}:
    """The models of a Triton that this service starts, or of the one at $TRITON_URL."""

    def __init__(self) -> None:
        url = os.environ.get("TRITON_URL")
        self.runner = (Runner(url=url) if url else Runner(REPOSITORY, name={name})).start()

    @bentoml.on_shutdown
    def close(self) -> None:
        self.runner.close()

    async def __is_ready__(self) -> bool:
        return await is_ready(self.runner)

    @bentoml.api
    async def models(self) -> list[dict[str, Any]]:
        """List the models and their state."""
        with http_errors():
            return await self.runner.aio.get_model_repository_index()

    @bentoml.api
    async def infer(self, model: str, inputs: dict[str, Any], version: str = "") -> dict[str, Any]:
        """Ask any model; inputs are nested lists by name, and may have what else a Runner's call takes."""
        with http_errors():
            return lists(await self.runner.model(model, version).options(batch="auto").async_run(**inputs))
'''

_CALL = '''
    @bentoml.api
    async def {method}({arguments}) -> dict[str, Any]:
        """Ask the model {model}: {tensors}."""
        model = self.runner[{model_text}].options({options})
        with http_errors():
            return lists(await model.async_run({given}))
'''

_STREAM = '''
    @bentoml.api
    async def {method}({arguments}) -> AsyncGenerator[str, None]:
        """Ask the model {model}, which answers any number of times, a line of JSON each: {tensors}."""
        model = self.runner[{model_text}].options({options})
        with http_errors():
            async for result in model.async_stream({given}):
                yield json.dumps(lists(result)) + "\\n"
'''

_BENTOFILE = """# Written by `tbsdk bento export`; next: bentoml build, bentoml containerize {name}.
service: "service:{cls}"
include:
{include}
python:
{wheel}    - "triton-backend-sdk[client]"
docker:
  # Triton {release}: `tbsdk dockerfile` makes an image with backends of your own.
  base_image: "{image}"
  python_version: "{python}"
"""

_FROM_INDEX = """  # true pins all packages; it takes an index that has them.
  lock_packages: false
  packages:
"""
# BentoML copies wheels into an image only where it pins packages.
_FROM_WHEEL = """  packages:
    - "./wheels/{wheel}"
"""


@dataclass(frozen=True)
class Export:
    """The two files, and what is to be told of the repository."""

    service: str
    bentofile: str
    #: Version folders without a file, as ensembles have them: BentoML packs files only.
    empty: Sequence[Path] = ()
    #: Models of the stock Python backend, without a stub of their own.
    python: Sequence[str] = ()


def export(
    repository: Path | str,
    *,
    name: str | None = None,
    release: str = DEFAULT_VERSION,
    image: str | None = None,
    wheel: str | None = None,
) -> Export:
    """Write a service with an endpoint for each model that has a config.pbtxt, and one for any model.

    :param repository: a folder, or s3://, gs://, as://.
    :param name: of the service; that of the folder above the repository if not given.
    :param release: of NVIDIA's container image, or the server's version.
    :param image: the base image, instead of NVIDIA's.
    :param wheel: the SDK's own, in a folder ``wheels`` beside the two files; from an index if not given.
    :raises HandledError: the repository is not there, a config cannot be read, or there is no such release.
    """
    models = _models(repository)
    name = name or _default_name(repository)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9_.-]*[a-z0-9])?", name):
        raise HandledError(
            f"{name!r} cannot name a Bento: lower-case letters, digits, _, . and - were expected"
        )
    base = Image("bento", version=release, full=image)
    cls = "".join(part.capitalize() for part in re.split(r"[^a-z0-9]+", name))
    cls = cls if cls[0].isalpha() else f"Triton{cls}"
    folder = None if is_uri(repository) else Path(repository).resolve().name
    methods = "".join(_methods(models))
    head = _HEAD.format(
        where=_text(folder or str(repository))[1:-1],
        imports=_imports(methods, folder is not None),
        repository=_text(str(repository)) if folder is None else f"Path(__file__).parent / {_text(folder)}",
        name=_text(name),
        cls=cls,
    )
    include = ["service.py", *([f"{folder}/"] if folder else []), *(["wheels/"] if wheel else [])]
    bentofile = _BENTOFILE.format(
        name=name,
        cls=cls,
        include="\n".join(f"  - {_text(each)}" for each in include),
        wheel=_FROM_WHEEL.format(wheel=wheel) if wheel else _FROM_INDEX,
        release=base.version,
        python=base.python,
        image=base.server,
    )
    empty = () if folder is None else _empty_versions(models)
    return Export(head + methods, bentofile, empty, [model.name for model in models if is_stock(model)])


def _models(repository: Path | str) -> list[ModelDirectory]:
    path = open_root(repository)
    if not path.is_dir():
        raise HandledError(f"there is no model repository {repository}", "tbsdk bento export models")
    found = Repository(path)
    if found.looks_like_a_model:
        raise HandledError(f"{repository} looks like a model, not a repository", "name its parent")
    return found.models


def _default_name(repository: Path | str) -> str:
    if is_uri(repository):
        above = str(repository).rstrip("/").split("/")[-2]
    else:
        above = Path(repository).resolve().parent.name
    return re.sub(r"[^a-z0-9_]+", "_", above.lower()).strip("_") or "triton"


def _empty_versions(models: Sequence[ModelDirectory]) -> list[Path]:
    folders = (model.version_path(version) for model in models for version in model.versions)
    return [folder for folder in folders if not any(path.is_file() for path in folder.rglob("*"))]


def _imports(methods: str, is_local: bool) -> str:
    streams = "AsyncGenerator" in methods
    lines = [
        "import json" if streams else "",
        "import os",
        "from collections.abc import AsyncGenerator" if streams else "",
        "from pathlib import Path" if is_local else "",
        "from typing import Any",
        "\nimport bentoml",
        "from triton_backend_sdk.runner import Result, Runner",
        "from triton_backend_sdk.runner.bento import http_errors, is_ready",
    ]
    return "\n".join(line for line in lines if line)


def _methods(models: Sequence[ModelDirectory]) -> list[str]:
    used, found = set(_TAKEN), []
    for model in (each for each in models if each.has_config):
        try:
            fields = parse_config(model.config_path.read_bytes().decode())
        except (OSError, ValueError) as error:
            raise HandledError(f"{model.config_path}: {error}", "tbsdk check tells more") from error
        inputs = fields.get("input", [])
        if not all(row.get("name") for row in inputs):
            raise HandledError(f"{model.config_path}: an input has no name", "tbsdk check tells more")
        if not inputs:
            continue  # completed by its backend: known only once it is loaded
        method = _identifier(model.name, used)
        is_decoupled = fields.get("model_transaction_policy", {}).get("decoupled")
        texts = _arguments(inputs, with_sequence="sequence_batching" in fields)
        template = _STREAM if is_decoupled else _CALL
        model_text = _text(model.name)
        found.append(template.format(method=method, model=model_text[1:-1], model_text=model_text, **texts))
    return found


def _arguments(inputs: Sequence[Mapping[str, Any]], *, with_sequence: bool) -> dict[str, str]:
    used = {*_NO_ARGUMENTS, *(_SEQUENCE if with_sequence else ())}
    required, optional, given = [], [], {}
    for row in inputs:
        argument = _identifier(row["name"], used, protected="model_")
        if row.get("optional"):
            optional.append(f"{argument}: list[Any] | None = None")
        else:
            required.append(f"{argument}: list[Any]")
        given[row["name"]] = argument
    if with_sequence:
        required.append("sequence_id: int | str")
        optional += [f"{name}: bool = False" for name in _SEQUENCE[1:]]
    options = ['batch="auto"', *(f"{name}={name}" for name in _SEQUENCE if with_sequence)]
    return {
        "tensors": _text(", ".join(_described(row) for row in inputs))[1:-1],
        "arguments": _listed(["self", *required, *optional], 4),
        "given": _given(given),
        "options": _listed(options, 8),
    }


def _described(row: Mapping[str, Any]) -> str:
    datatype = str(row.get("data_type", "")).removeprefix("TYPE_")
    return f"{row['name']} {datatype} {row.get('dims', [])}"


def _given(arguments: Mapping[str, str]) -> str:
    if all(name == argument for name, argument in arguments.items()):
        return _listed([f"{name}={name}" for name in arguments], 12)
    return f"**{{{_listed([f'{_text(name)}: {argument}' for name, argument in arguments.items()], 12)}}}"


def _listed(items: Sequence[str], indent: int) -> str:
    text = ", ".join(items)
    margin = "\n" + " " * indent
    return text if len(text) <= _LONG else "".join(f"{margin}    {item}," for item in items) + margin


def _identifier(name: str, used: set[str], protected: str = "_") -> str:
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not found.isidentifier() or found.startswith(("_", protected)) or keyword.iskeyword(found):
        found = f"m_{found.lstrip('_')}"
    while found in used:
        found += "_"
    used.add(found)
    return found


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)

"""``tbsdk infer``: one request from the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools import client, client_stream
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.metadata import ModelMetadata
from triton_backend_sdk.tools.values import read_value


@click.command(
    epilog="""\b
VALUE is JSON or a comma list; a model that takes strings takes plain text too:
  -i IN=1,2,3   -i IN=[[1,2],[3,4]]   -i IN=1.5   -i TEXT=hello   -i IMAGE=@photo.jpg   -i IN=@x.npy
\b
Examples:
  tbsdk infer mybackend -i IN=1,2,3
  tbsdk infer mybackend -i IN=@batch.npy --protocol grpc --json
  tbsdk infer writer -i PROMPT='once upon a time' --protocol grpc
  tbsdk infer tagger -i 'TEXT=["one text", "another"]' --param top_k=3
  tbsdk infer counter -i IN=1 --param sequence_id=7 --param sequence_start=true
"""
)
@click.argument("model")
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input: NAME=VALUE, NAME=@FILE.npy, or for BYTES NAME=@FILE.",
)
@click.option("--protocol", type=click.Choice(["http", "grpc"]), default="http", show_default=True)
@click.option("--url", metavar="HOST:PORT", help="The server. [default: 127.0.0.1:8000, with grpc :8001]")
@click.option("--version", default="", metavar="N", help="A version of the model; else the server chooses.")
@click.option("--id", "request_id", default="", metavar="ID", help="The request's id.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    help="A request parameter; also priority, timeout (us), sequence_id, sequence_start, sequence_end.",
)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for the answer.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    *,
    model: str,
    inputs: tuple[str, ...],
    protocol: client.Protocol,
    url: str | None,
    version: str,
    request_id: str,
    params: tuple[str, ...],
    timeout: float,
    as_json: bool,
) -> None:
    """Send one request to a running server.

    The model's metadata says which datatype and shape an input has; the batch dimension may be left out.
    The responses of a decoupled model are printed as they come; that takes gRPC.
    """
    address = url or client.DEFAULT_URLS[protocol]
    metadata = client.model_metadata(address, protocol, model, version=version, timeout=timeout)
    arrays = _arrays(metadata, dict(_pair(text, "-i") for text in inputs))
    options: dict[str, Any] = {
        "version": version,
        "request_id": request_id,
        "parameters": {key: _parameter(value) for key, value in (_pair(text, "--param") for text in params)},
        "timeout": timeout,
    }
    if metadata.decoupled:
        if protocol != "grpc":
            raise HandledError(
                f"model {model} is decoupled: it gives any number of responses, which takes gRPC",
                "add --protocol grpc",
            )
        responses = client_stream.stream(address, model, arrays, **options)
        _show_stream(metadata, responses, address, as_json=as_json)
        return
    result = client.infer(address, protocol, model, arrays, **options)
    if as_json:
        click.echo(json.dumps(_document(result)))
    else:
        _show(result, protocol, address)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise HandledError(f"{option} {text}: expected NAME=VALUE", "tbsdk infer --help shows examples")
    return name, value


def _arrays(metadata: ModelMetadata, given: dict[str, str]) -> dict[str, NDArray[Any]]:
    specs = {spec.name: spec for spec in metadata.inputs}
    wanted = ", ".join(f"{spec.name} ({spec})" for spec in metadata.inputs) or "none"
    unknown = [name for name in given if name not in specs]
    if unknown:
        raise HandledError(f"model {metadata.name} has no input {unknown[0]}; its inputs are: {wanted}")
    missing = [spec.name for spec in metadata.inputs if not spec.optional and spec.name not in given]
    if missing:
        raise HandledError(
            f"no value for input {missing[0]} of model {metadata.name}; its inputs are: {wanted}",
            f"add -i {missing[0]}=VALUE",
        )
    return {name: read_value(text, specs[name], metadata) for name, text in given.items()}


def _parameter(text: str) -> client.Parameter:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (str, int, float)) else text


def _show(result: client.InferResult, protocol: str, address: str) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("output", "datatype", "shape"):
        table.add_column(column, no_wrap=True)
    table.add_column("values")
    for name, array in result.outputs.items():
        shape = "x".join(map(str, array.shape)) or "scalar"
        table.add_row(name, result.datatypes[name], shape, Text(_shortened(array)))
    console.out.print(table)
    request = f"{result.model_name} version {result.model_version}" + (
        f", id {result.id}" if result.id else ""
    )
    console.say(f"{request}: {result.latency_ms:.2f} ms over {protocol} from {address}")


def _show_stream(
    metadata: ModelMetadata, responses: Iterable[client.InferResult], address: str, *, as_json: bool
) -> None:
    width = max(len("output"), *(len(spec.name) for spec in metadata.outputs))
    taken: list[float] = []
    for result in responses:
        if as_json:
            click.echo(json.dumps(_document(result)))
        else:
            if not taken:
                console.out.print(_row(width, "output", "datatype", "shape", "values"), style="bold")
            for line in _rows(width, result):
                console.copyable(line)
        taken.append(result.latency_ms)
    times = f" in {taken[-1]:.2f} ms, the first after {taken[0]:.2f} ms," if taken else ""
    console.say(f"{metadata.name}: {len(taken)} response(s){times} over grpc from {address}")


def _rows(width: int, result: client.InferResult) -> list[str]:
    said = "  ".join(f"{name}={json.dumps(value)}" for name, value in result.parameters.items())
    rows = [
        _row(
            width,
            name,
            result.datatypes[name],
            "x".join(map(str, array.shape)) or "scalar",
            _shortened(array),
        )
        for name, array in result.outputs.items()
    ] or [_row(width, "-", "", "", "").rstrip()]
    return [f"{rows[0]}  {said}".rstrip(), *rows[1:]]


def _row(width: int, name: str, datatype: str, shape: str, values: str) -> str:
    return f"{name:<{width}}  {datatype:<8}  {shape:<7}  {values}"


def _shortened(array: NDArray[Any]) -> str:
    if array.dtype.kind == "O":
        array = np.array([_text(item) for item in array.ravel().tolist()], dtype=object).reshape(array.shape)
    return np.array2string(array, threshold=24, edgeitems=3, max_line_width=70, separator=", ")


def _document(result: client.InferResult) -> dict[str, Any]:
    more = {"parameters": result.parameters} if result.parameters else {}
    return {
        "model_name": result.model_name,
        "model_version": result.model_version,
        "id": result.id,
        "latency_ms": round(result.latency_ms, 3),
        "outputs": {
            name: {
                "datatype": result.datatypes[name],
                "shape": list(array.shape),
                "data": _plain(array.tolist()),
            }
            for name, array in result.outputs.items()
        },
        **more,
    }


def _plain(value: Any) -> Any:
    """Make a value that strict JSON can hold: bytes as text, NaN and infinities by name."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value


def _text(item: bytes) -> str:
    return item.decode(errors="backslashreplace")

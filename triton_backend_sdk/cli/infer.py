"""``tbsdk infer``: one request from the command line."""

from __future__ import annotations

import json
import math
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools import client
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
  tbsdk infer tagger -i 'TEXT=["one text", "another"]' --param top_k=3
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
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A request parameter.")
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
    """
    address = url or client.DEFAULT_URLS[protocol]
    metadata = client.model_metadata(address, protocol, model, version=version, timeout=timeout)
    result = client.infer(
        address,
        protocol,
        model,
        _arrays(metadata, dict(_pair(text, "-i") for text in inputs)),
        version=version,
        request_id=request_id,
        parameters={key: _parameter(value) for key, value in (_pair(text, "--param") for text in params)},
        timeout=timeout,
    )
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


def _shortened(array: NDArray[Any]) -> str:
    if array.dtype.kind == "O":
        array = np.array([_text(item) for item in array.ravel().tolist()], dtype=object).reshape(array.shape)
    return np.array2string(array, threshold=24, edgeitems=3, max_line_width=70, separator=", ")


def _document(result: client.InferResult) -> dict[str, Any]:
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

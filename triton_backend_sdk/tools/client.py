"""One request to a running server, through tritonclient over HTTP or gRPC."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools import client_parts
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.metadata import ModelMetadata

Protocol = Literal["http", "grpc"]
Parameter = str | int | float | bool

#: Parameters of the protocol itself, which tritonclient takes as arguments of their own.
_OWN = ("priority", "sequence_end", "sequence_id", "sequence_start", "timeout")

DEFAULT_URLS: dict[Protocol, str] = {"http": "127.0.0.1:8000", "grpc": "127.0.0.1:8001"}


@dataclass(frozen=True)
class InferResult:
    """The answer to one request."""

    model_name: str
    model_version: str
    id: str
    #: In the server's order; BYTES as arrays of bytes objects.
    outputs: dict[str, NDArray[Any]]
    #: Triton's wire names, by output.
    datatypes: dict[str, str]
    #: From sending the request to having the answer, with connection, serialization and server.
    latency_ms: float
    #: What the model says beside its outputs.
    parameters: dict[str, Parameter] = field(default_factory=dict)


def model_metadata(
    url: str, protocol: Protocol, model: str, *, version: str = "", timeout: float = 60.0
) -> ModelMetadata:
    """Ask the server for a model's inputs and outputs.

    :raises HandledError: no server at the url, no such model, no tritonclient.
    """
    as_json = {} if protocol == "http" else {"as_json": True, "client_timeout": timeout}
    with connection(url, protocol, timeout) as (_, client):
        try:
            metadata = client.get_model_metadata(model, version, **as_json)
            config = client.get_model_config(model, version, **as_json)
        except _server_exception() as error:
            if "unknown model" not in str(error.message()):
                raise
            name = f"{model!r}{f' version {version}' if version else ''}"
            raise _not_served(name, url, _index(client, as_json), model) from error
    return ModelMetadata.of(metadata, config.get("config", config))


def infer(
    url: str,
    protocol: Protocol,
    model: str,
    inputs: Mapping[str, NDArray[Any]],
    *,
    version: str = "",
    request_id: str = "",
    parameters: Mapping[str, Parameter] | None = None,
    outputs: Sequence[str] | None = None,
    timeout: float = 60.0,
) -> InferResult:
    """Send one request and wait for its answer.

    :param inputs: arrays with the batch dimension; their dtype says the datatype.
    :param outputs: names of the outputs to ask for; None asks for all.
    :param timeout: seconds to wait for the answer.
    :raises HandledError: no server at the url, or the server answered with an error; says which.
    """
    with connection(url, protocol, timeout) as (api, client):
        options = {} if protocol == "http" else {"client_timeout": timeout}
        wanted = None if outputs is None else [api.InferRequestedOutput(name) for name in outputs]
        tensors = [tensor_input(api, name, array) for name, array in inputs.items()]
        start = time.perf_counter()
        result = client.infer(
            model,
            tensors,
            model_version=version,
            outputs=wanted,
            request_id=request_id,
            **as_arguments(parameters or {}),
            **options,
        )
        latency_ms = (time.perf_counter() - start) * 1e3
    return read_result(result, protocol, latency_ms)


def as_arguments(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Give tritonclient's arguments for parameters, those of the protocol itself by their own names."""
    own = {name: parameters[name] for name in _OWN if name in parameters}
    return own | {"parameters": {name: value for name, value in parameters.items() if name not in own}}


def read_result(result: Any, protocol: Protocol, latency_ms: float) -> InferResult:
    """Read what tritonclient gives for a response."""
    get: Callable[[Any, str, Any], Any] = dict.get if protocol == "http" else getattr
    # Not gRPC's own JSON form, which would encode all the data.
    answer = result.get_response()
    datatypes = {get(row, "name", ""): get(row, "datatype", "") for row in get(answer, "outputs", [])}
    parameters = dict(get(answer, "parameters", None) or {})
    if protocol == "grpc":
        parameters = {
            name: _grpc_value(parameters[name]) for name in sorted(parameters)
        }  # a map has no order
    return InferResult(
        model_name=get(answer, "model_name", ""),
        model_version=get(answer, "model_version", ""),
        id=get(answer, "id", ""),
        outputs={name: result.as_numpy(name) for name in datatypes},
        datatypes=datatypes,
        latency_ms=latency_ms,
        parameters=parameters,
    )


def _grpc_value(parameter: Any) -> Parameter:
    value: Parameter = getattr(parameter, parameter.WhichOneof("parameter_choice"))
    return value


def latencies(
    url: str, protocol: Protocol, model: str, inputs: Mapping[str, NDArray[Any]], count: int
) -> list[float]:
    """Send the same request ``count`` times over one connection; give the milliseconds of each, sorted.

    :raises HandledError: as :func:`infer`.
    """
    taken = []
    with connection(url, protocol, 60.0) as (api, client):
        tensors = [tensor_input(api, name, array) for name, array in inputs.items()]
        for _ in range(count):
            start = time.perf_counter()
            client.infer(model, tensors)
            taken.append((time.perf_counter() - start) * 1e3)
    return sorted(taken)


def tensor_input(api: Any, name: str, array: NDArray[Any]) -> Any:
    """Make an input of an array."""
    datatype = DataType.of(array.dtype)
    tensor = api.InferInput(name, list(array.shape), datatype.value)
    if datatype is DataType.BF16:
        # tritonclient takes float32 for BF16 before 2.69, and ml_dtypes' type since.
        array = array.astype(_utils().triton_to_np_dtype("BF16"))
    tensor.set_data_from_numpy(np.ascontiguousarray(array))
    return tensor


@contextlib.contextmanager
def connection(url: str, protocol: Protocol, timeout: float) -> Iterator[tuple[Any, Any]]:
    """Give tritonclient's module and a client; its errors within become HandledErrors."""
    api = client_parts.load(f"tritonclient.{protocol}")
    address = url.removeprefix("http://").removeprefix("grpc://").rstrip("/")
    try:
        client = _connect(api, address, protocol, timeout)
        try:
            yield api, client
        finally:
            client.close()
    except _server_exception() as error:
        status = str(error.status() or "").removeprefix("StatusCode.")
        if status == "DEADLINE_EXCEEDED":
            raise _late(address, protocol, timeout) from error
        if status == "UNAVAILABLE" and client_parts.is_gone(str(error.message())):
            raise _unreachable(address, protocol, str(error.message())) from error
        raise HandledError(f"the server answered {status or 'with an error'}: {error.message()}") from error
    except TimeoutError as error:
        raise _late(address, protocol, timeout) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(address, protocol, getattr(error, "strerror", None) or str(error)) from error


def _connect(api: Any, address: str, protocol: Protocol, timeout: float) -> Any:
    if protocol == "http":
        return api.InferenceServerClient(address, connection_timeout=timeout, network_timeout=timeout)
    return api.InferenceServerClient(address, channel_args=client_parts.channel_options(address))


def _unreachable(address: str, protocol: Protocol, reason: str) -> HandledError:
    return HandledError(
        f"no server answers at {address} over {protocol}: {reason}", "tbsdk serve, or name its --url"
    )


def _late(address: str, protocol: Protocol, timeout: float) -> HandledError:
    return HandledError(
        f"no answer from {address} over {protocol} within {timeout:g} s",
        "give it more time with --timeout, or see what the server's log says",
    )


def _index(client: Any, options: Mapping[str, Any]) -> list[dict[str, str]]:
    index = client.get_model_repository_index(**options)
    rows: list[dict[str, str]] = index.get("models", []) if isinstance(index, dict) else index
    return rows


def _not_served(name: str, url: str, index: Sequence[Mapping[str, str]], model: str) -> HandledError:
    for row in index:
        if row["name"] == model and row.get("state") not in {None, "READY"}:
            reason = f": {row['reason']}" if row.get("reason") else ""
            return HandledError(
                f"the model {name} at {url} is {row['state']}{reason}",
                "mend it and load it again; the server's log says more",
            )
    ready = ", ".join(sorted({row["name"] for row in index if row.get("state") == "READY"}))
    return HandledError(
        f"no model {name} at {url}", f"name one that it serves: {ready or '(it serves none)'}"
    )


def _server_exception() -> Any:
    return _utils().InferenceServerException


def _utils() -> Any:
    return client_parts.load("tritonclient.utils")

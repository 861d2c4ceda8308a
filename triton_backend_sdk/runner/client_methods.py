"""The server's own methods, as tritonclient calls them: the same for both protocols, answers as plain values.

``runner.load_model("m")`` waits; ``await runner.aio.load_model("m")`` is its twin for coroutines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.runner.arguments import (
    Parameter,
    as_headers,
    as_name,
    as_request_id,
    as_timeout,
    as_version,
    request_parameters,
)
from triton_backend_sdk.runner.messages import InferRequest, input_tensors, output_wishes
from triton_backend_sdk.runner.transport import Operation

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from triton_backend_sdk.runner.tail import Tail


class ClientMethods(ABC):
    """Each takes ``headers``, ``client_timeout`` (seconds), ``query_params`` (HTTP) and ``as_json`` besides.

    ``as_json=False`` gives gRPC's own message where there is one.
    """

    @abstractmethod
    def _do(self, what: str, tail: Tail, /, **arguments: Any) -> Any:
        """Do an operation, now or as a coroutine."""

    @abstractmethod
    def _infer(self, request: InferRequest) -> Any:
        """Send a request, now or as a coroutine."""

    def is_server_live(self, **tail: Unpack[Tail]) -> Any:
        """Say whether the server lives."""
        return self._do("is_server_live", tail)

    def is_server_ready(self, **tail: Unpack[Tail]) -> Any:
        """Say whether all models are ready."""
        return self._do("is_server_ready", tail)

    def is_model_ready(self, model_name: str, model_version: str = "", **tail: Unpack[Tail]) -> Any:
        """Say whether a model takes requests."""
        return self._do("is_model_ready", tail, model_name=model_name, model_version=model_version)

    def get_server_metadata(self, **tail: Unpack[Tail]) -> Any:
        """Give the server's name, version and extensions."""
        return self._do("get_server_metadata", tail)

    def get_model_metadata(self, model_name: str, model_version: str = "", **tail: Unpack[Tail]) -> Any:
        """Give a model's versions, inputs and outputs."""
        return self._do("get_model_metadata", tail, model_name=model_name, model_version=model_version)

    def get_model_config(self, model_name: str, model_version: str = "", **tail: Unpack[Tail]) -> Any:
        """Give a model's config, as the server completed it."""
        return self._do("get_model_config", tail, model_name=model_name, model_version=model_version)

    def get_model_repository_index(self, **tail: Unpack[Tail]) -> Any:
        """List the repository's models with ``name``, ``version``, ``state`` and ``reason``."""
        return self._do("get_model_repository_index", tail)

    def load_model(
        self,
        model_name: str,
        config: str | Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
        **tail: Unpack[Tail],
    ) -> Any:
        """Load or reload a model.

        :param config: stands in for its config.pbtxt: a dict, or JSON.
        :param files: stand in for its folder: content by ``file:1/model.onnx``; takes a config.
        """
        return self._do("load_model", tail, model_name=model_name, config=config, files=files)

    def unload_model(self, model_name: str, unload_dependents: bool = False, **tail: Unpack[Tail]) -> Any:
        """Unload a model, and what it is composed of if said so."""
        return self._do("unload_model", tail, model_name=model_name, unload_dependents=unload_dependents)

    def get_inference_statistics(
        self, model_name: str = "", model_version: str = "", **tail: Unpack[Tail]
    ) -> Any:
        """Give the counters of a model, or of all."""
        return self._do("get_inference_statistics", tail, model_name=model_name, model_version=model_version)

    def update_trace_settings(
        self, model_name: str | None = None, settings: Mapping[str, Any] | None = None, **tail: Unpack[Tail]
    ) -> Any:
        """Change the trace settings, of one model or global, and give them; None clears a value."""
        return self._do("update_trace_settings", tail, model_name=model_name, settings=dict(settings or {}))

    def get_trace_settings(self, model_name: str | None = None, **tail: Unpack[Tail]) -> Any:
        """Give the trace settings, of one model or global."""
        return self._do("get_trace_settings", tail, model_name=model_name)

    def update_log_settings(self, settings: Mapping[str, Any], **tail: Unpack[Tail]) -> Any:
        """Change the log settings, and give them."""
        return self._do("update_log_settings", tail, settings=dict(settings))

    def get_log_settings(self, **tail: Unpack[Tail]) -> Any:
        """Give the log settings."""
        return self._do("get_log_settings", tail)

    def get_system_shared_memory_status(self, region_name: str = "", **tail: Unpack[Tail]) -> Any:
        """List the system shared memory that the server knows."""
        return self._do("get_system_shared_memory_status", tail, region_name=region_name)

    def register_system_shared_memory(
        self, name: str, key: str, byte_size: int, offset: int = 0, **tail: Unpack[Tail]
    ) -> Any:
        """Tell the server of a file in /dev/shm."""
        given = {"name": name, "key": key, "offset": offset, "byte_size": byte_size}
        return self._do("register_system_shared_memory", tail, **given)

    def unregister_system_shared_memory(self, name: str = "", **tail: Unpack[Tail]) -> Any:
        """Let the server forget a region, or all."""
        return self._do("unregister_system_shared_memory", tail, name=name)

    def get_cuda_shared_memory_status(self, region_name: str = "", **tail: Unpack[Tail]) -> Any:
        """List the CUDA memory that the server knows."""
        return self._do("get_cuda_shared_memory_status", tail, region_name=region_name)

    def register_cuda_shared_memory(
        self, name: str, raw_handle: bytes, device_id: int, byte_size: int, **tail: Unpack[Tail]
    ) -> Any:
        """Tell the server of CUDA memory.

        :param raw_handle: cudaIpcMemHandle_t in base64, as tritonclient's ``get_raw_handle`` gives it.
        """
        given = {"name": name, "raw_handle": raw_handle, "device_id": device_id, "byte_size": byte_size}
        return self._do("register_cuda_shared_memory", tail, **given)

    def unregister_cuda_shared_memory(self, name: str = "", **tail: Unpack[Tail]) -> Any:
        """Let the server forget a region, or all."""
        return self._do("unregister_cuda_shared_memory", tail, name=name)

    def infer(  # noqa: PLR0917  tritonclient's signature
        self,
        model_name: str,
        inputs: Mapping[str, Any] | Sequence[Any],
        model_version: str = "",
        outputs: Sequence[Any] | None = None,
        request_id: str = "",
        sequence_id: int | str = 0,
        sequence_start: bool = False,
        sequence_end: bool = False,
        priority: int = 0,
        timeout: int | None = None,
        headers: Mapping[str, str] | None = None,
        client_timeout: float | None = None,
        query_params: Mapping[str, Any] | None = None,
        compression_algorithm: str | None = None,
        request_compression_algorithm: str | None = None,
        response_compression_algorithm: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> Any:
        """Send a request with tensors as they are; ``runner[MODEL].run`` binds them to the model's inputs.

        :param inputs: arrays by name, or tritonclient's InferInputs.
        :param outputs: names, or tritonclient's InferRequestedOutputs; None: all.
        :param timeout: microseconds, for the model's queue; ``client_timeout`` is in seconds, for the caller.
        """
        said = request_parameters(sequence_id, sequence_start, sequence_end, priority, timeout, parameters)
        request = InferRequest(
            as_name(model_name),
            input_tensors(inputs),
            as_version(model_version),
            output_wishes(outputs),
            as_request_id(request_id),
            said,
            as_headers(headers) if headers is not None else None,
            query_params,
            as_timeout(client_timeout),
            (request_compression_algorithm or compression_algorithm, response_compression_algorithm),
        )
        return self._infer(request)


def operation(name: str, tail: Tail, arguments: Mapping[str, Any]) -> Operation:
    """Put the arguments that all methods take where they belong.

    :raises TypeError: there is no such argument.
    """
    unknown = set(tail) - {"headers", "client_timeout", "query_params", "as_json"}
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument {sorted(unknown)[0]!r}")
    given = dict(arguments)
    if given.get("model_name"):
        given["model_name"] = as_name(given["model_name"])
    if "model_version" in given:
        given["model_version"] = as_version(given["model_version"])
    for path, content in (given.get("files") or {}).items():
        if not isinstance(content, bytes):
            raise TypeError(f"files: the content of {path!r} is bytes, not {type(content).__name__}")
    headers = tail.get("headers")
    return Operation(
        name,
        given,
        as_headers(headers) if headers is not None else None,
        tail.get("query_params"),
        as_timeout(tail.get("client_timeout")),
        tail.get("as_json", True) is not False,
    )


def stream_request(given: Mapping[str, Any]) -> InferRequest:
    """Make a request of a dict of ``infer``'s arguments, as ``stream_infer`` takes them."""
    given = dict(given)
    given.pop("enable_empty_final_response", None)
    made: InferRequest = _MAKER.infer(**given)
    return made


class _Maker(ClientMethods):
    """Gives the requests that others send."""

    def _do(self, what: str, tail: Tail, /, **arguments: Any) -> Any:
        raise NotImplementedError

    def _infer(self, request: InferRequest) -> InferRequest:
        return request


_MAKER = _Maker()

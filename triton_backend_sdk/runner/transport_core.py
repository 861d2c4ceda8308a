"""Triton's core in this very process: no server, no network, no copies of what goes in and comes out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.runner.arguments import RESERVED
from triton_backend_sdk.runner.errors import NotSupportedError
from triton_backend_sdk.runner.messages import InferRequest, InputTensor
from triton_backend_sdk.runner.result import OutputTensor, Result
from triton_backend_sdk.runner.transport import Answer, Operation, Stream, Transport, in_thread
from triton_backend_sdk.testing.core import CoreResponse, Raw, RequestOptions, TritonCore
from triton_backend_sdk.testing.core import Stream as CoreStream

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.calls import InferResponse

_OPTIONS = {"timeout": "timeout_us", "sequence_id": "correlation_id"}


class CoreTransport(Transport):
    """See :class:`Transport`."""

    protocol = "in-process"

    def __init__(self, core: TritonCore) -> None:
        self.core = core
        self._executor = ThreadPoolExecutor(8, "tbsdk-core")
        self._datatypes: dict[np.dtype[Any], str] = {}

    def call(self, operation: Operation) -> Any:
        """Do one of the client methods.

        :raises NotSupportedError: it belongs to the network's front ends.
        """
        method = _METHODS.get(operation.name)
        if method is None:
            raise NotSupportedError(
                f"{operation.name} is the server's, not its core's, so it does not exist in process; "
                "Runner(REPOSITORY) starts a server that has it"
            )
        return method(self.core, operation.arguments)

    async def acall(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        return await in_thread(self._executor, lambda: self.call(operation), lambda: None)

    def infer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response: in C, where a backend of the SDK is loaded."""
        server, arrays = self.core.server, self._arrays(request)
        if server is None or arrays is None:
            call = self.core.infer_async(request.model, _inputs(request), **_options(request))
            response = _wait(call, call.cancel_request, request)
            return self._result(response, response.outputs)
        options: Any = {**_options(request), "wait_here": True}
        if request.client_timeout is None:
            answer = server.infer(request.model, arrays, **options)
        else:
            begun = server.start(request.model, arrays, **options)
            answer = _wait(begun, begun.cancel, request)
        return self._result(answer, {name: tensor.numpy() for name, tensor in answer.items()})

    async def ainfer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        call = self.core.infer_async(request.model, _inputs(request), **_options(request))
        try:
            found = asyncio.wrap_future(call)
            response = await asyncio.wait_for(found, request.client_timeout)
            return self._result(response, response.outputs)
        except asyncio.TimeoutError:
            call.cancel_request()
            raise TimeoutError from None
        except asyncio.CancelledError:
            call.cancel_request()
            raise

    def stream(self, request: InferRequest) -> Stream[Result]:
        """Send a request whose model gives any number of responses."""
        stream = self.core.stream(request.model, _inputs(request), **_options(request))
        return Stream(self._results(stream, request.client_timeout), stream.cancel)

    def _results(self, stream: CoreStream, timeout: float | None) -> Iterator[Result]:
        end = time.monotonic() + (timeout or 0)
        try:
            while True:
                if timeout is not None:
                    stream.timeout = max(0.0, end - time.monotonic())
                response = next(stream, None)
                if response is None:
                    return
                yield self._result(response, response.outputs)
        except TimeoutError:
            stream.cancel()
            raise

    def exchange(
        self,
        requests: Iterator[InferRequest],
        timeout: float | None,
        headers: Mapping[str, str] | None,
        compression: str | None,
    ) -> Stream[Answer]:
        """Refuse: there is no stream to send over."""
        raise NotSupportedError(
            "stream_infer is gRPC's; in process take runner[MODEL].stream(...) per request"
        )

    def close(self) -> None:
        """Let go of threads; the core is closed by whoever opened it."""
        self._executor.shutdown(wait=False)

    def _arrays(self, request: InferRequest) -> dict[str, npt.NDArray[Any]] | None:
        """Give the inputs as arrays that say their datatype themselves; None if one is no such array."""
        arrays = {}
        for tensor in request.inputs:
            if tensor.array is None or self._datatype(tensor.array.dtype) != tensor.datatype:
                return None
            arrays[tensor.name] = tensor.array
        return arrays

    def _datatype(self, dtype: np.dtype[Any]) -> str:
        found = self._datatypes.get(dtype)
        if found is None:
            found = self._datatypes[dtype] = DataType.of(dtype).value
        return found

    def _result(
        self, response: CoreResponse | InferResponse, outputs: Mapping[str, npt.NDArray[Any]]
    ) -> Result:
        tensors = {
            name: OutputTensor(name, self._datatype(array.dtype), array.shape, array)
            for name, array in outputs.items()
        }
        return Result(response.model, str(response.version), response.id, tensors, response.parameters)


def _wait(call: Any, cancel: Callable[[], None], request: InferRequest) -> Any:
    try:
        return call.result(request.client_timeout)
    except (TimeoutError, FutureTimeoutError):
        cancel()
        raise TimeoutError from None  # in its caller's words
    except KeyboardInterrupt:
        cancel()
        raise


def _inputs(request: InferRequest) -> dict[str, Any]:
    return {tensor.name: _input(tensor) for tensor in request.inputs}


def _input(tensor: InputTensor) -> Any:
    if tensor.array is not None:
        return tensor.array
    if tensor.raw is None:
        raise NotSupportedError(
            f"input {tensor.name!r} is in shared memory: in process give the array itself"
        )
    return Raw(tensor.raw, tensor.datatype, tensor.shape)


def _options(request: InferRequest) -> RequestOptions:
    given: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in request.parameters.items():
        if name in RESERVED:
            given[_OPTIONS.get(name, name)] = value
        else:
            own[name] = value
    if own:
        given["parameters"] = own
    if request.version:
        given["version"] = int(request.version)
    if request.id:
        given["request_id"] = request.id
    if request.outputs is not None:
        if any(wish.classification or wish.parameters for wish in request.outputs):
            raise NotSupportedError(
                "classification and shared memory of outputs are the server's, not its core's"
            )
        given["outputs"] = [wish.name for wish in request.outputs]
    return given  # type: ignore[return-value]  # the keys are those of RequestOptions


def _version(given: Mapping[str, Any]) -> int:
    return int(given["model_version"] or -1)


def _load(core: TritonCore, given: Mapping[str, Any]) -> None:
    config = given["config"]
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except ValueError as error:
            raise InvalidArgError(f"the config of {given['model_name']} is no JSON: {error}") from None
    core.load(given["model_name"], config, given["files"])


def _unload(core: TritonCore, given: Mapping[str, Any]) -> None:
    core.unload(given["model_name"], dependents=given["unload_dependents"])


_METHODS: dict[str, Callable[[TritonCore, Mapping[str, Any]], Any]] = {
    "is_server_live": lambda core, _: True,
    "is_server_ready": lambda core, _: True,
    "is_model_ready": lambda core, given: core.is_ready(given["model_name"], _version(given)),
    "get_server_metadata": lambda core, _: core.server_metadata(),
    "get_model_metadata": lambda core, given: core.metadata(given["model_name"], _version(given)),
    "get_model_config": lambda core, given: core.model_config(given["model_name"], _version(given)),
    "get_model_repository_index": lambda core, _: core.index(),
    "load_model": _load,
    "unload_model": _unload,
    "get_inference_statistics": lambda core, given: core.all_statistics(given["model_name"], _version(given)),
}

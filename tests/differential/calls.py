"""What a test does with a model, on one side; every answer is made of str, list and dict, so that == tells."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import queue
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import np_to_triton_dtype

from tests.differential.pair import Side

LIMIT_S = 20.0
#: Of an output with more items a checksum is compared.
_SHOWN = 2000


def texts(*values: str | bytes) -> np.ndarray:
    """Give an array of BYTES."""
    array = np.empty(len(values), object)
    array[:] = [value.encode() if isinstance(value, str) else value for value in values]
    return array


@dataclass(frozen=True)
class Request:
    inputs: Mapping[str, np.ndarray]
    outputs: Sequence[str] | None = None
    parameters: Mapping[str, Any] | None = None
    #: Further arguments of tritonclient: request_id, sequence_id, priority, timeout ...
    more: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    def arguments(self, model: str) -> dict[str, Any]:
        wanted = (
            None if self.outputs is None else [triton.InferRequestedOutput(name) for name in self.outputs]
        )
        return {
            "model_name": model,
            "inputs": [_input(name, array) for name, array in self.inputs.items()],
            "outputs": wanted,
            "parameters": dict(self.parameters) if self.parameters else None,
            "model_version": self.version,
            **self.more,
        }


def request(outputs=None, parameters=None, version="", more=None, **inputs: Any) -> Request:
    """Make a request; inputs by name: arrays, or texts."""
    arrays = {
        name: value if isinstance(value, np.ndarray) else texts(value) for name, value in inputs.items()
    }
    return Request(arrays, outputs, parameters, more or {}, version)


@dataclass(frozen=True)
class Infer:
    """One request over gRPC."""

    request: Request
    limit: float = LIMIT_S

    def run(self, side: Side, model: str) -> Any:
        try:
            return read(side, side.client.infer(client_timeout=self.limit, **self.request.arguments(model)))
        except triton.InferenceServerException as error:
            return failure(side, error)


@dataclass(frozen=True)
class Together:
    """Several requests at once, whose answers do not depend on the order they come in."""

    requests: Sequence[Request]
    limit: float = LIMIT_S

    def run(self, side: Side, model: str) -> Any:
        waiting = []
        for one in self.requests:
            answers: queue.Queue = queue.Queue()

            def come(result: Any, error: Any, answers: queue.Queue = answers) -> None:
                answers.put((result, error))

            side.client.async_infer(callback=come, client_timeout=self.limit, **one.arguments(model))
            waiting.append(answers)
        found = [answers.get(timeout=self.limit + 5) for answers in waiting]
        return [failure(side, error) if error else read(side, result) for result, error in found]


@dataclass(frozen=True)
class Stream:
    """Requests over one gRPC stream, which come in their order; gives each one's answers."""

    requests: Sequence[Request]
    limit: float = LIMIT_S
    #: Cancel the stream after so many answers.
    cancel_after: int | None = None

    def run(self, side: Side, model: str) -> Any:
        answers: queue.Queue = queue.Queue()
        found: dict[str, list] = {str(at): [] for at in range(len(self.requests))}
        channel = [("grpc.enable_http_proxy", 0)]
        with triton.InferenceServerClient(side.server.grpc_url, channel_args=channel) as client:
            client.start_stream(lambda result, error: answers.put((result, error)))
            for at, one in enumerate(self.requests):
                arguments = {"request_id": str(at), **one.arguments(model)}
                client.async_stream_infer(enable_empty_final_response=True, **arguments)
            cancelled = self._collect(side, answers, found)
            client.stop_stream(cancel_requests=cancelled)
        return found

    def _collect(self, side: Side, answers: queue.Queue, found: dict[str, list]) -> bool:
        """Give whether the stream is to be cancelled."""
        count = 0
        open_ = set(found)
        while open_:
            if self.cancel_after is not None and count >= self.cancel_after:
                return True
            try:
                result, error = answers.get(timeout=self.limit)
            except queue.Empty:
                for at in open_:
                    found[at].append("no final response")
                return True
            count += 1
            if error is not None:
                # An error of a stream does not tell which request it belongs to.
                at = min(open_)
                found[at].append(failure(side, error))
                open_.discard(at)
                continue
            response = result.get_response()
            if response.id not in open_:
                continue
            found[response.id].append(read(side, result))
            if response.parameters["triton_final_response"].bool_param:
                open_.discard(response.id)
        return False


@dataclass(frozen=True)
class Http:
    """A request to the HTTP endpoint: JSON there, status and JSON back."""

    path: str
    body: Any = None
    method: str = "POST"

    def run(self, side: Side, model: str) -> Any:
        host, port = side.server.http_url.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=LIMIT_S)
        with contextlib.closing(connection):
            body = None if self.body is None else json.dumps(self.body)
            connection.request(self.method, self.path.format(model=model), body)
            answer = connection.getresponse()
            return [answer.status, side.plain(answer.read().decode())]


def http_infer(**inputs: Any) -> Http:
    """Ask over HTTP, with JSON: name to (datatype, list)."""
    rows = [
        {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
        for name, (datatype, data) in inputs.items()
    ]
    return Http("/v2/models/{model}/infer", {"inputs": rows})


@dataclass(frozen=True)
class Config:
    """The config that the server made of the model's."""

    def run(self, side: Side, model: str) -> Any:
        try:
            answer = side.client.get_model_config(model, as_json=True, client_timeout=LIMIT_S)
        except triton.InferenceServerException as error:
            return failure(side, error)
        # A map has no order.
        return json.loads(side.plain(json.dumps(answer, sort_keys=True)))


@dataclass(frozen=True)
class Statistics:
    """How often what happened: no durations."""

    def run(self, side: Side, model: str) -> Any:
        # The server counts a request after the client has its answer.
        time.sleep(0.2)
        answer = side.client.get_inference_statistics(model, as_json=True, client_timeout=LIMIT_S)
        [row] = answer["model_stats"]
        kinds = {
            kind: values.get("count", "0") for kind, values in sorted(row.get("inference_stats", {}).items())
        }
        batches = {
            batch["batch_size"]: batch["compute_infer"].get("count", "0")
            for batch in row.get("batch_stats", [])
        }
        counts = {name: row.get(name, "0") for name in ("inference_count", "execution_count")}
        return {**counts, "requests": kinds, "batches": batches}


@dataclass(frozen=True)
class Metrics:
    """The lines of the metrics' text that begin with a prefix."""

    prefix: str

    def run(self, side: Side, model: str) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(side.server.metrics_url, timeout=LIMIT_S) as answer:
            lines = answer.read().decode().splitlines()
        return [
            line
            for line in lines
            if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(self.prefix)
        ]


@dataclass(frozen=True)
class Log:
    """The lines of the server's log with a text in them, once there are so many."""

    tag: str
    count: int = 1

    def run(self, side: Side, model: str) -> Any:
        deadline = time.monotonic() + 5
        while len(side.logged(self.tag)) < self.count and time.monotonic() < deadline:
            time.sleep(0.02)
        return side.logged(self.tag)


@dataclass(frozen=True)
class Load:
    """Load the model, or another, anew; gives the error or ""."""

    model: str = ""
    config: str | None = None

    def run(self, side: Side, model: str) -> Any:
        return side.load(self.model or model, self.config)


@dataclass(frozen=True)
class Unload:
    """Unload the model; gives its last state."""

    def run(self, side: Side, model: str) -> Any:
        return side.unload(model)


@dataclass(frozen=True)
class State:
    """The model's state and reason in the repository index."""

    def run(self, side: Side, model: str) -> Any:
        return side.state(model)


@dataclass(frozen=True)
class Write:
    """Change a file of the model's folder."""

    file: str
    text: str

    def run(self, side: Side, model: str) -> Any:
        (side.repository / model / self.file).write_text(self.text)
        return ""


def read(side: Side, result: Any) -> Any:
    """Read a response of gRPC's."""
    response = result.get_response()
    outputs = {
        output.name: [output.datatype, list(output.shape), _values(result.as_numpy(output.name))]
        for output in response.outputs
    }
    parameters = {
        name: getattr(value, value.WhichOneof("parameter_choice"))
        for name, value in sorted(response.parameters.items())
    }
    found = {
        "outputs": outputs,
        "parameters": parameters,
        "id": response.id,
        "version": response.model_version,
    }
    return json.loads(side.plain(json.dumps(found)))


def failure(side: Side, error: triton.InferenceServerException) -> list[str]:
    """Give code and message of an error."""
    return [str(error.status() or "").removeprefix("StatusCode."), side.plain(error.message() or "")]


def _values(array: np.ndarray | None) -> Any:
    if array is None:
        return "no data"
    if array.size > _SHOWN:
        return [f"{array.size} items", hashlib.sha256(repr(array.ravel().tolist()).encode()).hexdigest()]
    if array.dtype == object:
        return [item.decode("utf-8", "backslashreplace") for item in array.ravel()]
    # repr: a NaN is not equal to itself.
    return [repr(item) for item in array.ravel().tolist()]


def _input(name: str, array: np.ndarray) -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor

"""A request and its tensors, before a protocol writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.runner.arguments import Parameter
from triton_backend_sdk.runner.arrays import as_array
from triton_backend_sdk.testing.wire import encode_bytes

if TYPE_CHECKING:
    import numpy.typing as npt


#: Of a message's tensors: gRPC and Triton's HTTP endpoint count in 31 bits.
_MOST_BYTES = (1 << 31) - (1 << 16)


def check_size(size: int) -> None:
    """Refuse what no message can carry; the server would say so after all of it was sent.

    :raises InvalidArgError: it is too much.
    """
    if size > _MOST_BYTES:
        raise InvalidArgError(
            f"the inputs have {size} bytes, and a message carries less than 2 GiB: "
            "Runner(shared_memory=True) and Runner(in_process=True) take more"
        )


class InputTensor:
    """An input: an array, bytes as they go over the wire, or (by its parameters) a place in shared memory."""

    __slots__ = ("array", "datatype", "name", "parameters", "raw", "shape")

    def __init__(  # noqa: PLR0917  made for every tensor of every request: keywords cost
        self,
        name: str,
        datatype: str,
        shape: Sequence[int],
        array: npt.NDArray[Any] | None = None,
        raw: bytes | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.datatype = datatype
        self.shape = shape
        self.array = array
        self.raw = raw
        self.parameters = parameters

    def data(self) -> bytes | None:
        """Give the tensor as the protocols carry it; None where it is in shared memory."""
        if self.array is None:
            return self.raw
        return encode_bytes(self.array) if self.datatype == "BYTES" else self.array.tobytes()

    def flat(self) -> npt.NDArray[np.uint8]:
        """Give :meth:`data` of an array as an array of bytes, without a copy where that is possible."""
        array = self.array
        assert array is not None
        if self.datatype == "BYTES":
            return np.frombuffer(bytearray(encode_bytes(array)), np.uint8)
        if not array.size:  # NumPy refuses to view some of them
            return np.empty(0, np.uint8)
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def buffer(self) -> Any:
        """Give :meth:`data` without a copy where that is possible."""
        return self.raw if self.array is None else self.flat().data


@dataclass
class OutputWish:
    """An output that a request asks for."""

    name: str
    #: Give the so many best classes as text.
    classification: int = 0
    #: Where in shared memory it goes.
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class InferRequest:
    """One request, whatever the protocol."""

    model: str
    inputs: list[InputTensor]
    #: "": the newest that the model's policy serves.
    version: str = ""
    #: None: all.
    outputs: list[OutputWish] | None = None
    id: str = ""
    #: The protocol's own among them.
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    headers: Mapping[str, str] | None = None
    query: Mapping[str, Any] | None = None
    #: Seconds.
    client_timeout: float | None = None
    #: Of the request and of the response: gzip, deflate or none.
    compression: tuple[str | None, str | None] = (None, None)


def input_tensor(name: str, value: Any) -> InputTensor:
    """Make an input of an array; its dtype says the datatype."""
    array = np.asarray(value)
    datatype = DataType.of(array.dtype)
    return InputTensor(name, datatype.value, array.shape, as_array(array, datatype, "safe"))


def input_tensors(inputs: Mapping[str, Any] | Sequence[Any]) -> list[InputTensor]:
    """Read the inputs of ``infer``: a mapping of arrays, or tritonclient's InferInputs of either protocol."""
    if isinstance(inputs, Mapping):
        return [input_tensor(name, value) for name, value in inputs.items()]
    return [each if isinstance(each, InputTensor) else _of_tritonclient(each) for each in inputs]


def output_wishes(outputs: Sequence[Any] | None) -> list[OutputWish] | None:
    """Read the outputs of ``infer``: names, or tritonclient's InferRequestedOutputs of either protocol."""
    if isinstance(outputs, str):
        raise TypeError(f"outputs takes a list of names: [{outputs!r}]")
    return None if outputs is None else [_wish(each) for each in outputs]


def _wish(output: Any) -> OutputWish:
    if isinstance(output, (str, OutputWish)):
        return OutputWish(output) if isinstance(output, str) else output
    if not hasattr(output, "_get_tensor"):
        raise TypeError(f"outputs takes names, or tritonclient's InferRequestedOutputs, not {output!r}")
    given = dict(_parameters(output._get_tensor()))
    given.pop("binary_data", None)
    return OutputWish(output.name(), int(given.pop("classification", 0)), given)


def _of_tritonclient(tensor: Any) -> InputTensor:
    if not hasattr(tensor, "_get_tensor"):
        raise TypeError(
            "inputs takes a mapping of names to arrays, or tritonclient's InferInputs, "
            f"not {type(tensor).__name__}"
        )
    form = tensor._get_tensor()
    read = getattr(tensor, "_get_content", None) or tensor._get_binary_data
    raw, array = read(), None
    if raw is None and isinstance(form, dict) and "data" in form:
        dtype = DataType.of(tensor.datatype()).numpy()
        array = np.array(form["data"], dtype).reshape(tensor.shape())
    given = {name: value for name, value in _parameters(form).items() if name != "binary_data_size"}
    return InputTensor(tensor.name(), tensor.datatype(), list(tensor.shape()), array, raw, given or None)


def _parameters(form: Any) -> dict[str, Any]:
    if isinstance(form, dict):
        return dict(form.get("parameters", {}))
    return {
        name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in form.parameters.items()
    }

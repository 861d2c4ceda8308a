"""The answer to a request, the same for all protocols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.errors import NotFoundError
from triton_backend_sdk.runner.arrays import dtype_of
from triton_backend_sdk.testing.wire import decode_bytes

if TYPE_CHECKING:
    import numpy.typing as npt


class OutputTensor:
    """An output as it came."""

    __slots__ = ("_array", "data", "datatype", "name", "native", "parameters", "shape")

    def __init__(  # noqa: PLR0917  made for every tensor of every response: keywords cost
        self,
        name: str,
        datatype: str,
        shape: tuple[int, ...],
        data: Any,
        parameters: Mapping[str, Any] | None = None,
        native: Any = None,
    ) -> None:
        self.name = name
        self.datatype = datatype
        self.shape = shape
        #: A buffer of the tensor's bytes, an array, or a list of JSON's; None: the tensor is elsewhere.
        self.data = data
        self.parameters = parameters or {}
        #: The protocol's own form of it.
        self.native = native
        self._array: npt.NDArray[Any] | None = None

    def array(self) -> npt.NDArray[Any]:
        """Give the tensor as an array, a view of what came where it can be."""
        if self._array is None:
            self._array = self._read()
        return self._array

    def _read(self) -> npt.NDArray[Any]:
        data = self.data
        if isinstance(data, np.ndarray):
            return data
        if data is None:
            where = self.parameters.get("shared_memory_region", "elsewhere")
            raise NotFoundError(f"output {self.name!r} was written to shared memory ({where}), not sent")
        if self.datatype == "BYTES":
            if isinstance(data, list):
                return _texts(data).reshape(self.shape)
            return decode_bytes(bytes(data), self.shape, self.name)
        dtype = dtype_of(self.datatype)
        found = np.array(data, dtype) if isinstance(data, list) else np.frombuffer(data, dtype)
        return found.reshape(self.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        data = self.data if self.data is None else self.array()
        return OutputTensor, (self.name, self.datatype, self.shape, data, self.parameters)

    def as_json(self) -> dict[str, Any]:
        """Give the tensor as the inference protocol's JSON has it, elements in one flat list."""
        found: dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}
        if self.parameters:
            found["parameters"] = dict(self.parameters)
        if self.data is not None:
            found["data"] = [_plain(item) for item in self.array().ravel().tolist()]
        return found


class Outputs(Mapping[str, "npt.NDArray[Any]"]):
    """A mapping from output name to array; an unknown name is a KeyError that tells the known ones."""

    def __init__(self, tensors: Mapping[str, OutputTensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        tensor = self._tensors.get(name)
        if tensor is None:
            known = ", ".join(self._tensors) or "none"
            raise KeyError(f"no output {name!r} in this response; there are: {known}")
        return tensor.array()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __repr__(self) -> str:
        return f"Outputs({dict(self)!r})"


class Result:
    """What a model answered: ``result["OUT"]``, or by tritonclient's methods."""

    __slots__ = ("_native", "id", "model_name", "model_version", "parameters", "tensors")

    def __init__(  # noqa: PLR0917  as above
        self,
        model_name: str,
        model_version: str,
        request_id: str,
        tensors: dict[str, OutputTensor],
        parameters: Mapping[str, Any],
        native: Any = None,
    ) -> None:
        self.model_name = model_name
        self.model_version = model_version
        #: The request's.
        self.id = request_id
        #: What the model says beside its outputs.
        self.parameters = parameters
        #: As they came.
        self.tensors = tensors
        self._native = native

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the protocol's own form: it may live on the connection's memory.
        said = self.model_name, self.model_version, self.id, self.tensors, dict(self.parameters)
        return Result, said

    @property
    def outputs(self) -> Outputs:
        """The arrays by name."""
        return Outputs(self.tensors)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.outputs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def datatype(self, name: str) -> str:
        """Give Triton's name of an output's datatype."""
        return self.tensors[name].datatype

    def as_numpy(self, name: str, *, strict: bool = False) -> npt.NDArray[Any] | None:
        """Give an output as an array; None for a name that is not there.

        :param strict: raise KeyError for such a name instead.
        """
        return self.outputs[name] if strict or name in self.tensors else None

    def get_output(self, name: str, as_json: bool = False) -> Any:
        """Give an output in the protocol's own form: a protobuf message (gRPC), else a dict. None if unknown.

        :param as_json: give a dict with all protocols, with ``data`` as a flat list.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            return None
        return tensor.as_json() if as_json or tensor.native is None else tensor.native

    def get_response(self, as_json: bool = False) -> Any:
        """Give the response in the protocol's own form: a protobuf message (gRPC), else a dict.

        :param as_json: give a dict with all protocols, the same one.
        """
        if self._native is not None and not as_json:
            return self._native
        found: dict[str, Any] = {"model_name": self.model_name, "model_version": self.model_version}
        if self.id:
            found["id"] = self.id
        if self.parameters:
            found["parameters"] = dict(self.parameters)
        return found | {"outputs": [tensor.as_json() for tensor in self.tensors.values()]}

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{tensor.name}: {tensor.datatype} {list(tensor.shape)}" for tensor in self.tensors.values()
        )
        return f"<Result of {self.model_name} version {self.model_version}: {shown or 'no outputs'}>"


def _texts(items: list[Any]) -> npt.NDArray[Any]:
    array = np.empty(len(items), object)
    array[:] = [item.encode() if isinstance(item, str) else item for item in items]
    return array


def _plain(item: Any) -> Any:
    return item.decode(errors="backslashreplace") if isinstance(item, bytes) else item

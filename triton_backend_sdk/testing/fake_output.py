"""What a plugin returned, checked against the config and written into the fake response, as in C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InternalError
from triton_backend_sdk.outputs import coerce
from triton_backend_sdk.testing.fake_tensor import FakeTensor
from triton_backend_sdk.testing.wire import encode_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.model import Model
    from triton_backend_sdk.specs import TensorSpec
    from triton_backend_sdk.testing.fake_reply import Reply


class OutputSpecs:
    """The outputs, or states, that a model's config declares."""

    def __init__(self, model: Model, kind: str = "output", specs: Sequence[TensorSpec] | None = None) -> None:
        self.kind = kind
        self._batching = model.max_batch_size > 0
        self._specs = {spec.name: spec for spec in (model.outputs if specs is None else specs)}
        self.names = tuple(self._specs)
        #: ModelInstance.outputs_as_given.
        self.as_given = False

    def find(self, name: str) -> TensorSpec:
        """Give an output's declaration.

        :raises InternalError: the config has no such output.
        """
        try:
            return self._specs[name]
        except KeyError:
            known = ", ".join(f"'{name}'" for name in self._specs)
            word = "the output_name " if self.kind == "state" else ""
            raise InternalError(
                f"the model's config has no {self.kind} '{name}'; it has {word}{known}"
            ) from None

    def check_shape(self, spec: TensorSpec, shape: Sequence[int], batch_size: int) -> None:
        """Compare a shape with the declaration.

        :raises InternalError: they differ; the message holds both.
        """
        wanted = ((batch_size,) if self._batching else ()) + spec.dims
        if len(shape) == len(wanted) and all(w in (-1, s) for s, w in zip(shape, wanted, strict=True)):
            return
        dims = ", ".join(["batch"] * self._batching + [str(dim) for dim in spec.dims])
        batch = f", with batch = {batch_size} in this request" if self._batching else ""
        given = list(map(int, shape))
        raise InternalError(
            f"{self.kind} '{spec.name}' has shape {given}, but the config says [{dims}]{batch}"
        )

    def write(self, reply: Reply, outputs: Any) -> None:
        """Make what a Response holds part of the reply.

        :raises InternalError: it contradicts the config.
        """
        for name, value in _mapping(outputs).items():
            self._write(reply, name, value)

    def _write(self, reply: Reply, name: str, value: Any) -> None:
        spec = None if self.as_given else self.find(name)
        if name not in reply.wanted:
            return
        dtype, shape, data = source("output", name, value, as_given=self.as_given)
        if spec is not None:
            self._check(spec, dtype, shape, reply.batch_size)
        present = reply.outputs.get(name)
        if present is None:
            reply.add_output(FakeTensor(name, dtype, shape, data.copy(), readonly=False))
        elif (present.dtype, present.shape) != (dtype, tuple(shape)):
            how = "with one shape by Request.output and returned with another"
            raise InternalError(f"output '{name}' was asked for {how}")
        else:
            present.data[:] = data

    def _check(self, spec: TensorSpec, dtype: DataType, shape: Sequence[int], batch_size: int) -> None:
        if dtype is not spec.dtype:
            advice = "convert it, for example with .astype"
            raise InternalError(
                f"output '{spec.name}' is {dtype!s}, but the config says {spec.dtype!s}: {advice}"
            )
        self.check_shape(spec, shape, batch_size)


def _mapping(outputs: Any) -> Mapping[str, Any]:
    try:
        found = dict(outputs or {})
    except (TypeError, ValueError):
        what = type(outputs).__name__
        raise InternalError(f"Response takes a mapping from output name to array, not {what}") from None
    for name in found:
        if not isinstance(name, str):
            raise InternalError(f"{name!r} is no name of an output")
    return found


def source(
    kind: str, name: str, value: Any, *, as_given: bool = False
) -> tuple[DataType, Sequence[int], npt.NDArray[np.uint8]]:
    """Give datatype, shape and bytes of whatever a plugin returns for an output or a state."""
    if isinstance(value, FakeTensor):
        return value.dtype, value.shape, value.data
    try:
        array, dtype = coerce(_array(value))
    except InternalError as error:
        raise InternalError(f"{kind} '{name}': {error}") from error
    if dtype is DataType.BYTES:
        if as_given:
            array = _texts(array)
        _check_elements(kind, name, array)
        return dtype, array.shape, np.frombuffer(encode_bytes(array), np.uint8)
    return dtype, array.shape, np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _array(value: Any) -> Any:
    if isinstance(value, (np.ndarray, list, tuple)):
        return value
    try:
        return np.asarray(memoryview(value))
    except TypeError:
        pass
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    what = type(value).__name__
    raise InternalError(f"it is a {what}; give an array, or anything with DLPack or the buffer protocol")


def _texts(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    texts = np.empty(array.size, object)
    texts[:] = [item if isinstance(item, (bytes, str)) else str(item) for item in array.ravel().tolist()]
    return texts.reshape(array.shape)


def _check_elements(kind: str, name: str, array: npt.NDArray[Any]) -> None:
    for index, element in enumerate(array.flat):
        if not isinstance(element, (bytes, str)):
            what = type(element).__name__
            raise InternalError(f"BYTES {kind} '{name}': element {index} is {what}; give bytes or str")

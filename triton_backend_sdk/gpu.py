"""The little of CUDA that the SDK needs itself, through cuda-python, imported when GPU memory turns up.

A consumer that speaks DLPack (torch, cupy) needs none of this: it takes a tensor where it lies.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from triton_backend_sdk.errors import InternalError, UnavailableError

#: Where cuda-python keeps the runtime API: since 12.6, and before.
_MODULES = ("cuda.bindings.runtime", "cuda.cudart")
#: CUDA's legacy default stream, on which DLPack makes data ready where no other stream is named.
_DEFAULT_STREAM = 0
#: There is no CUDA on this machine.
_NO_CUDA = ("cudaErrorNoDevice", "cudaErrorInsufficientDriver", "cudaErrorStubLibrary")


def runtime() -> Any:
    """Give cuda-python's runtime API.

    :raises UnavailableError: cuda-python is not installed; says what to type.
    """
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise UnavailableError(
        f"GPU memory needs cuda-python, which {sys.prefix} lacks; type: pip install 'triton-backend-sdk[gpu]'"
    )


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the runtime API and give its result.

    :raises UnavailableError: there is no cuda-python, no driver or no device.
    :raises InternalError: with CUDA's own name for what went wrong.
    """
    cuda = runtime()
    try:
        code, *results = getattr(cuda, name)(*arguments)
    except RuntimeError as error:  # there is no driver, or no libcudart
        raise UnavailableError(f"{name}: {error}") from None
    if code != cuda.cudaError_t.cudaSuccess:
        if code.name in _NO_CUDA:
            raise UnavailableError(f"this machine has no usable CUDA device or driver ({name}: {code.name})")
        raise InternalError(f"{name}: {code.name}")
    return results[0] if results else None


def copy(target: int, source: int, nbytes: int, device: int) -> None:
    """Copy between addresses of which one at least is a device's, and wait until it is done.

    It follows what the device's default stream has to do.
    """
    if nbytes == 0:
        return
    before = call("cudaGetDevice")
    call("cudaSetDevice", device)
    try:
        kind = runtime().cudaMemcpyKind.cudaMemcpyDefault
        call("cudaMemcpyAsync", target, source, nbytes, kind, _DEFAULT_STREAM)
        call("cudaStreamSynchronize", _DEFAULT_STREAM)
    finally:
        call("cudaSetDevice", before)


class Stream:
    """A CUDA stream of an instance's own, made when first asked for.

    What a plugin leaves running on it is waited for when ``execute`` returns, before any response is sent.
    ``torch.cuda.ExternalStream(stream.handle)`` uses it, cupy's likewise, cuda.core by ``__cuda_stream__``.
    """

    def __init__(self, device: int) -> None:
        self._device = device
        before = call("cudaGetDevice")
        call("cudaSetDevice", device)
        try:
            self._stream = call("cudaStreamCreateWithFlags", runtime().cudaStreamNonBlocking)
        finally:
            call("cudaSetDevice", before)

    @property
    def handle(self) -> int:
        """The cudaStream_t as a number."""
        return int(self._stream)

    def __cuda_stream__(self) -> tuple[int, int]:
        return (0, self.handle)

    def synchronize(self) -> None:
        """Wait until all that was put on the stream is done."""
        call("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Destroy it, when its work is done."""
        call("cudaStreamDestroy", self._stream)

"""Tensors on a GPU, in the real core.

Each test runs twice. "real" needs a CUDA device and cuda-python, and is skipped elsewhere. "fake" has the same
code of ours take the same ways, with a stand-in for CUDA's runtime whose device memory is plain memory that only
its own functions may touch: it proves who is asked to copy what, not that CUDA does it.
"""

from __future__ import annotations

import ctypes
import types

import numpy as np
import pytest

from triton_backend_sdk import MemoryType, UnavailableError, UnsupportedError, gpu
from triton_backend_sdk.testing.core_api import open_core
from triton_backend_sdk.testing.core_infer import Inferencer
from triton_backend_sdk.testing.core_options import installed_library

X = np.float32([1, 2, 3, 4])


class FakeCuda:
    """As much of cuda.bindings.runtime as gpu.py and these tests use."""

    def __init__(self):
        self.calls = []
        success = types.SimpleNamespace(name="cudaSuccess")
        self.cudaError_t = types.SimpleNamespace(cudaSuccess=success)
        self.cudaMemcpyKind = types.SimpleNamespace(cudaMemcpyDefault=4)
        self.cudaStreamNonBlocking = 1
        self._memory = []

    def __getattr__(self, name):
        own = {
            "cudaGetDevice": lambda: (0,),
            "cudaGetDeviceCount": lambda: (1,),
            "cudaMalloc": self._allocate,
            "cudaMemcpyAsync": lambda target, source, size, *_: ctypes.memmove(target, source, size) and (),
            "cudaStreamCreateWithFlags": lambda _: (77,),
        }.get(name, lambda *_: ())

        def call(*arguments):
            self.calls.append((name, *arguments))
            return (self.cudaError_t.cudaSuccess, *own(*arguments))

        return call

    def _allocate(self, nbytes):
        self._memory.append(np.zeros(nbytes, np.uint8))
        return (self._memory[-1].ctypes.data,)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.gpu)])
def cuda(request, monkeypatch):
    """Give CUDA's runtime API, or the stand-in."""
    if request.param == "fake":
        fake = FakeCuda()
        monkeypatch.setattr(gpu, "runtime", lambda: fake)
        return fake
    try:
        if gpu.call("cudaGetDeviceCount") > 0:
            return gpu.runtime()
    except Exception as error:
        pytest.skip(f"no CUDA device here: {error}")
    pytest.skip("no CUDA device here")


def upload(array):
    address = int(gpu.call("cudaMalloc", max(array.nbytes, 1)))
    gpu.copy(address, array.ctypes.data, array.nbytes, 0)
    return address


def on_gpu(monkeypatch, *arrays, place=(MemoryType.GPU, 0)):
    """Send input IN as these parts, each in device memory, or what is said to be another."""
    open_core(installed_library())  # which opens what it depends on
    append = ctypes.CDLL(str(installed_library())).TRITONSERVER_InferenceRequestAppendInputData
    append.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int64,
    ]  # fmt: skip
    append.restype = ctypes.c_void_p
    addresses = [upload(array) for array in arrays]

    def add_input(self, request, exchange, name, wire):
        shape = self._api.ffi.new("int64_t[]", wire.shape)
        self._api.call("InferenceRequestAddInput", request, name, wire.dtype.c_value, shape, len(wire.shape))
        handle = int(self._api.ffi.cast("uintptr_t", request))
        for address, array in zip(addresses, arrays, strict=True):
            assert append(handle, name, address, array.nbytes, *place) is None

    monkeypatch.setattr(Inferencer, "_add_input", add_input)
    return addresses


def test_an_input_on_the_device_stays_there_until_cpu_is_asked_for(serve, cuda, monkeypatch):
    [address] = on_gpu(monkeypatch, X)
    served = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            tensor = requests[0]["IN"]
            try:
                tensor.numpy()
            except UnsupportedError as error:
                seen.append(str(error))
            seen.append((tensor.memory_type, tensor.data_ptr, tensor.__dlpack_device__()))
            host = tensor.cpu()
            assert (host.memory_type, host.name, host.readonly) == (MemoryType.CPU, "IN", False)
            return [Response({"OUT": host.numpy()})]
        """
    )
    assert served.infer({"IN": X})["OUT"].tolist() == X.tolist()
    assert served.module.seen[0].startswith("tensor 'IN' is GPU memory: copy it with .cpu()")
    assert served.module.seen[1] == (MemoryType.GPU, address, (2, 0))


def test_parts_on_the_device_are_gathered(serve, cuda, monkeypatch):
    on_gpu(monkeypatch, X[:1].copy(), X[1:].copy())
    served = serve(
        "@hookimpl\ndef execute(requests): return [Response({'OUT': requests[0]['IN'].numpy() * 2})]"
    )
    assert served.infer({"IN": X})["OUT"].tolist() == (2 * X).tolist()


def test_a_wish_for_the_cpu_brings_it_down(serve, cuda, monkeypatch):
    on_gpu(monkeypatch, X)
    served = serve(
        "@hookimpl\ndef execute(requests): return [Response({'OUT': requests[0]['IN'].numpy() + 1})]",
        parameters={"memory.IN": "cpu"},
    )
    assert served.infer({"IN": X})["OUT"].tolist() == (X + 1).tolist()


@pytest.mark.parametrize(
    ("wish", "place", "stays"),
    [
        ("cpu", (MemoryType.CPU_PINNED, 0), True),
        ("gpu:0", (MemoryType.GPU, 0), True),
        ("gpu:0", (MemoryType.GPU, 1), False),
    ],
)
def test_what_lies_where_it_is_wished_is_not_copied(serve, monkeypatch, wish, place, stays):
    fake = FakeCuda()
    monkeypatch.setattr(gpu, "runtime", lambda: fake)
    [address] = on_gpu(monkeypatch, X, place=place)
    served = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            seen.append(requests[0]["IN"].data_ptr)
            return [Response({'OUT': np.zeros(1, np.float32)})]
        """,
        parameters={"memory.IN": wish},
    )
    if stays:
        served.infer({"IN": X})
        assert served.module.seen == [address]
    else:
        with pytest.raises(UnsupportedError, match="no preallocated CUDA memory"):  # a copy was tried
            served.infer({"IN": X})


def test_a_tensor_of_the_device_is_an_output(serve, cuda, monkeypatch):
    on_gpu(monkeypatch, X)
    served = serve("@hookimpl\ndef execute(requests): return [Response({'OUT': requests[0]['IN']})]")
    assert served.infer({"IN": X})["OUT"].tolist() == X.tolist()


def test_an_array_of_the_device_is_asked_to_let_the_default_stream_wait(serve, cuda, monkeypatch):
    on_gpu(monkeypatch, X)
    served = serve(
        """
        asked = []
        class Array:
            def __init__(self, tensor):
                self.tensor = tensor
            def __dlpack__(self, **how):
                asked.append(how)
                return self.tensor.__dlpack__(**how)
        @hookimpl
        def execute(requests):
            return [Response({"OUT": Array(requests[0]["IN"])})]
        """
    )
    assert served.infer({"IN": X})["OUT"].tolist() == X.tolist()
    assert served.module.asked == [{"max_version": (1, 0)}, {"stream": 1}]


@pytest.fixture
def device_outputs(monkeypatch):
    """Let the front end put outputs into device memory; give what was wished and what was written."""
    heard, written = [], []
    alloc, release = Inferencer._alloc, Inferencer._release

    def on_device(
        self, allocator, name, size, memory_type, type_id, userp, buffer, buffer_userp, kind, kind_id
    ):
        error = alloc(
            self, allocator, name, size, memory_type, type_id, userp, buffer, buffer_userp, kind, kind_id
        )
        heard.append((MemoryType(memory_type), type_id))
        self._host = int(self._api.ffi.cast("uintptr_t", buffer[0]))
        self._device = int(gpu.call("cudaMalloc", size))
        buffer[0] = self._api.ffi.cast("void *", self._device)
        kind[0] = MemoryType.GPU
        return error

    def read_back(api, response, buffers, final):
        core = found[0]
        host = np.zeros(X.nbytes, np.uint8)
        gpu.copy(host.ctypes.data, core._device, X.nbytes, 0)
        written.append(host.view(np.float32).tolist())

    found = []

    def respond(self, *arguments):
        found[:] = [self]
        return original(self, *arguments)

    def release_host(self, allocator, buffer, *more):
        return release(self, allocator, self._api.ffi.cast("void *", self._host), *more)

    original = Inferencer._response
    monkeypatch.setattr(Inferencer, "_alloc", on_device)
    monkeypatch.setattr(Inferencer, "_release", release_host)
    monkeypatch.setattr(Inferencer, "_response", respond)
    monkeypatch.setattr("triton_backend_sdk.testing.core_infer.read_response", read_back)
    return heard, written


@pytest.mark.parametrize(
    ("value", "wished"),
    [
        ('request["IN"]', (MemoryType.GPU, 0)),  # device to device, and wished for where it lies
        ("X", (MemoryType.CPU, 0)),
        ("np.repeat(X, 2)[::2]", (MemoryType.CPU, 0)),
    ],
)
def test_an_output_is_written_to_the_device(serve, cuda, monkeypatch, device_outputs, value, wished):
    on_gpu(monkeypatch, X)
    heard, written = device_outputs
    served = serve(
        f"""
        X = np.float32([1, 2, 3, 4])
        @hookimpl
        def execute(requests):
            [request] = requests
            return [Response({{"OUT": {value}}})]
        """
    )
    served.send({"IN": X})
    assert served.core.wait_released(5)
    assert heard == [wished]
    assert written == [X.tolist()]


def test_an_output_handed_out_on_the_device_says_so(serve, cuda, device_outputs):
    served = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            tensor = requests[0].output("OUT", [4])
            seen.append((tensor.memory_type, tensor.__dlpack_device__(), tensor.readonly))
            return [Response()]
        """,
        parameters={"memory.OUT": "gpu"},
    )
    served.send({"IN": X})
    assert served.core.wait_released(5)
    assert served.module.seen == [(MemoryType.GPU, (2, 0), False)]
    assert device_outputs[0] == [(MemoryType.GPU, 0)]


def test_memory_of_the_device_comes_from_tritons_pool(serve, cuda):
    if isinstance(cuda, FakeCuda):
        pytest.skip("Triton's own CUDA pool needs a CUDA device")
    served = serve(
        """
        @hookimpl
        def execute(instance, requests):
            tensor = instance.move(requests[0]["IN"], MemoryType.GPU)
            assert tensor.memory_type is MemoryType.GPU
            return [Response({"OUT": tensor})]
        """
    )
    assert served.infer({"IN": X})["OUT"].tolist() == X.tolist()


def test_a_stream_of_the_instances_own_is_waited_for(cuda):
    stream = gpu.Stream(0)
    assert stream.__cuda_stream__() == (0, stream.handle)
    stream.synchronize()
    stream.close()
    if isinstance(cuda, FakeCuda):
        assert [call[0] for call in cuda.calls] == [
            "cudaGetDevice", "cudaSetDevice", "cudaStreamCreateWithFlags", "cudaSetDevice",
            "cudaStreamSynchronize", "cudaStreamDestroy",
        ]  # fmt: skip


def test_what_goes_wrong_has_cudas_name(monkeypatch):
    fake = FakeCuda()
    fake.cudaGetDevice = lambda: (types.SimpleNamespace(name="cudaErrorNoDevice"), 0)
    monkeypatch.setattr(gpu, "runtime", lambda: fake)
    with pytest.raises(UnavailableError, match="cudaGetDevice: cudaErrorNoDevice"):
        gpu.copy(1, 2, 3, 0)

"""Where memory lies: pools, placement, the buffers of an input, host policies; driven by the real core."""

from __future__ import annotations

import ctypes
import gc
import threading

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError, MemoryType, Placement, Tensor, TritonError, UnavailableError
from triton_backend_sdk.testing.core_infer import Inferencer
from triton_backend_sdk.testing.core_options import installed_library

X = np.float32([1, 2, 3, 4])
ECHO = """
instances, seen = [], []
@hookimpl
def initialize(instance):
    instances.append(instance)
@hookimpl
def execute(requests):
    seen.append([(request["IN"].memory_type, request["IN"].numpy().copy()) for request in requests])
    return [Response({"OUT": request["IN"]}) for request in requests]
"""


# --- pools -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def instance(serve):
    return serve(ECHO).module.instances[0]


def test_memory_of_a_pool_is_a_tensor(instance):
    tensor = instance.allocate((2, 3), "FP32", memory_type=MemoryType.CPU)
    array = tensor.numpy()
    array[:] = 7
    assert isinstance(tensor, Tensor)
    assert (tensor.shape, tensor.nbytes, tensor.readonly) == ((2, 3), 24, False)
    assert (tensor.memory_type, tensor.memory_type_id) == (MemoryType.CPU, 0)
    assert array.ctypes.data == tensor.data_ptr
    assert np.from_dlpack(tensor).tolist() == [[7, 7, 7], [7, 7, 7]]
    memoryview(tensor)[0, 0] = 1
    assert array[0, 0] == 1


@pytest.mark.parametrize("shape", [0, 1, (0, 4), (), 5_000_000])
def test_any_size_will_do(instance, shape):
    tensor = instance.allocate(shape, np.float64)
    tensor.numpy()[...] = 1
    assert tensor.nbytes == int(np.prod(shape)) * 8


def test_without_a_gpu_the_default_falls_back_to_plain_memory(instance):
    """Triton 24.10 has no pinned memory without CUDA's driver, and says so."""
    assert instance.allocate(16).memory_type is MemoryType.CPU
    with pytest.raises(UnavailableError, match=r"16 bytes: CPU_PINNED: .*pinned"):
        instance.allocate(16, memory_type=MemoryType.CPU_PINNED)
    with pytest.raises(UnavailableError, match=r"GPU: .+; CPU_PINNED: .+"):
        instance.allocate(16, memory_type=(MemoryType.GPU, MemoryType.CPU_PINNED))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((-1,),), "no memory can have the shape"),
        (((2**40, 2**40),), "no memory can have the shape"),
        ((4, "BYTES"), "no fixed size"),
        ((2**61, "FP32"), "no memory can have the shape"),
    ],
)
def test_nonsense_is_refused(instance, arguments, message):
    with pytest.raises(InvalidArgError, match=message):
        instance.allocate(*arguments)


def test_more_than_there_is_is_refused(instance):
    with pytest.raises(UnavailableError, match="no memory for"):
        instance.allocate(2**60, memory_type=MemoryType.CPU)


def test_memory_lives_as_long_as_its_last_view_and_longer_than_the_model(serve):
    served = serve(ECHO)
    tensor = served.module.instances[0].allocate((1000,), "INT32")
    array = np.from_dlpack(tensor)
    array[:] = 5
    del tensor
    served.module.instances.clear()
    served.core.unload(served.name)
    gc.collect()
    assert array.sum() == 5000
    thread = threading.Thread(target=lambda: array.__iadd__(1))
    thread.start()
    thread.join()
    assert array.sum() == 6000


def test_memory_of_a_pool_is_freed(instance):
    """Of a gigabyte at a time, written to, only one is there at a time."""

    def resident():
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))

    before = resident()
    for _ in range(8):
        instance.allocate(64 << 20).numpy()[::4096] = 1
    assert resident() - before < 256


def test_pool_memory_answers_a_request(serve):
    served = serve(
        """
        @hookimpl
        def initialize(instance):
            instance.state.memory = instance.allocate((4,), "FP32")
        @hookimpl
        def execute(instance, requests):
            np.multiply(requests[0]["IN"].numpy(), 2, out=instance.state.memory.numpy())
            return [Response({"OUT": instance.state.memory})]
        """
    )
    assert served.infer({"IN": X})["OUT"].tolist() == [2, 4, 6, 8]


# --- an input's buffers ----------------------------------------------------------------------------------------------

PARTS = """
parts, attributes, addresses = [], [], []
@hookimpl
def execute(requests):
    [request] = requests
    parts[:] = request.input_buffers("IN")
    addresses[:] = [part.data_ptr for part in parts]
    attributes[:] = request.input_attributes("IN")
    answer = np.concatenate([part.numpy().view(np.float32) for part in parts] or [np.zeros(0, np.float32)])
    if not KEEP:
        parts.clear()
    return [Response({"OUT": answer})]
"""


def test_the_parts_of_an_input_are_the_clients_own_memory(serve):
    served = serve("KEEP = False" + PARTS)
    sent = [X[:1].copy(), X[1:].copy()]
    assert served.infer({"IN": sent})["OUT"].tolist() == X.tolist()
    module = served.module
    assert module.addresses == [part.ctypes.data for part in sent]
    assert [(a.nbytes, a.memory_type, a.memory_type_id, a.cuda_ipc_handle) for a in module.attributes] == [
        (4, MemoryType.CPU, 0, None),
        (12, MemoryType.CPU, 0, None),
    ]


def test_an_input_without_bytes_has_no_parts(serve):
    served = serve("KEEP = False" + PARTS)
    assert served.infer({"IN": X[:0]})["OUT"].tolist() == []
    assert served.module.attributes == []


def test_a_part_keeps_its_request(serve):
    served = serve("KEEP = True" + PARTS)
    served.infer({"IN": X})
    assert served.core.live_objects()["requests"] == 1
    assert [part.readonly for part in served.module.parts] == [True]
    served.module.parts.clear()
    assert served.core.wait_released(5)


def test_an_unknown_input_is_named(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            caught = []
            for ask in (requests[0].input_buffers, requests[0].input_attributes):
                try:
                    ask("NO")
                except KeyError as error:
                    caught.append(str(error))
            assert caught == ["the request has no input 'NO'; it has ('IN',)"] * 2, caught
            return [Response({"OUT": requests[0]["IN"]})]
        """
    )
    served.infer({"IN": X})


# --- placement -------------------------------------------------------------------------------------------------------


class Frontend:
    """What a front end answers when Triton asks where an output will lie."""

    def __init__(self, core):
        self.asked = []
        library = ctypes.CDLL(str(installed_library()))
        kind = ctypes.CFUNCTYPE(
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.POINTER(ctypes.c_size_t),
            ctypes.POINTER(ctypes.c_int),
            ctypes.POINTER(ctypes.c_int64),
        )
        self._callback = kind(self._query)
        allocator = int(core._api.ffi.cast("uintptr_t", core._inferencer._allocator))
        set_query = library.TRITONSERVER_ResponseAllocatorSetQueryFunction
        set_query.argtypes = [ctypes.c_void_p, kind]
        set_query(allocator, self._callback)

    def _query(self, allocator, userp, name, nbytes, memory_type, memory_type_id):
        self.asked.append((name, nbytes[0] if nbytes else None, memory_type[0], memory_type_id[0]))
        memory_type[0], memory_type_id[0] = MemoryType.CPU_PINNED, 3


PLACEMENT = """
answers = []
@hookimpl
def execute(requests):
    ask = requests[0].output_placement
    answers[:] = [ask(), ask("OUT", 16), ask("OUT", 16, MemoryType.GPU, 1)]
    return [Response({"OUT": requests[0]["IN"]})]
"""


def test_where_an_output_will_lie_is_for_the_front_end_to_say(serve):
    served = serve(PLACEMENT)
    frontend = Frontend(served.core)
    served.infer({"IN": X})
    assert served.module.answers == [Placement(MemoryType.CPU_PINNED, 3)] * 3
    assert frontend.asked == [(None, None, 0, 0), (b"OUT", 16, 0, 0), (b"OUT", 16, 2, 1)]


def test_a_front_end_that_cannot_tell_gives_none(serve):
    served = serve(PLACEMENT)
    served.infer({"IN": X})
    assert served.module.answers == [None] * 3


@pytest.fixture
def wished(monkeypatch):
    """What the backend prefers for each output, as Triton's allocator hears it."""
    heard = []
    original = Inferencer._alloc

    def alloc(self, allocator, name, size, memory_type, memory_type_id, *more):
        heard.append((MemoryType(memory_type), memory_type_id))
        return original(self, allocator, name, size, memory_type, memory_type_id, *more)

    monkeypatch.setattr(Inferencer, "_alloc", alloc)
    return heard


def test_by_default_outputs_are_wished_on_the_cpu(serve, wished):
    serve(ECHO).infer({"IN": X})
    assert wished == [(MemoryType.CPU, 0)]


def test_an_output_can_be_wished_elsewhere(serve, wished, monkeypatch):
    monkeypatch.setattr("triton_backend_sdk.gpu.runtime", lambda: None)  # as if cuda-python were there
    served = serve(ECHO, parameters={"memory.OUT": "gpu:2"})
    assert served.infer({"IN": X})["OUT"].tolist() == X.tolist()  # the allocator gave CPU memory all the same
    assert wished == [(MemoryType.GPU, 2)]


def test_a_gpu_wished_for_without_cuda_python_says_what_to_type(serve, monkeypatch):
    monkeypatch.setattr("triton_backend_sdk.gpu._MODULES", ("no_cuda_here",))
    served = serve(ECHO, parameters={"memory.IN": "gpu"}, load=False)
    with pytest.raises(TritonError, match=r"pip install 'triton-backend-sdk\[gpu\]'"):
        served.core.load(served.name)


def test_pinned_memory_that_is_not_there_is_done_without(serve):
    served = serve(ECHO, parameters={"memory.IN": "pinned", "memory.OUT": "cpu"})
    assert served.infer({"IN": X})["OUT"].tolist() == X.tolist()
    assert "memory.IN goes unheeded: no memory for 1 bytes: CPU_PINNED" in served.log


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("memory.NO", "cpu", "'memory.NO' .* names no tensor; the model has IN, OUT"),
        ("memory.IN", "vram", "is 'vram'; it must be"),
        ("memory.IN", "cpu:1", "is 'cpu:1'; it must be"),
        ("memory.IN", "gpu:x", "is 'gpu:x'; it must be"),
    ],
)
def test_wishes_that_mean_nothing_fail_the_load(serve, parameter, value, message):
    served = serve(ECHO, parameters={parameter: value}, load=False)
    with pytest.raises(InvalidArgError, match=message):
        served.core.load(served.name)


def test_moving_to_where_it_lies_is_no_copy(serve):
    served = serve(
        """
        @hookimpl
        def execute(instance, requests):
            tensor = requests[0]["IN"]
            assert tensor.cpu() is tensor
            assert instance.move(tensor, MemoryType.CPU) is tensor
            return [Response({"OUT": tensor})]
        """
    )
    served.infer({"IN": X})


def test_the_outputs_so_far_can_be_looked_at(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            [request] = requests
            assert dict(request.outputs) == {}
            y = request.output("OUT", [4]).numpy()
            y[:] = request["IN"]
            found = request.outputs
            assert list(found) == ["OUT"] and found["OUT"].data_ptr == y.ctypes.data
            found["OUT"].numpy()[0] = 9
            return [Response()]
        """
    )
    assert served.infer({"IN": X})["OUT"].tolist() == [9, 2, 3, 4]


# --- host policies ---------------------------------------------------------------------------------------------------


def send_by_policy(monkeypatch, policy, usual, special):
    """Send a request whose input has other data for one host policy, split in parts."""
    library = ctypes.CDLL(str(installed_library()))
    append = library.TRITONSERVER_InferenceRequestAppendInputDataWithHostPolicy
    append.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t,
        ctypes.c_int, ctypes.c_int64, ctypes.c_char_p,
    ]  # fmt: skip
    append.restype = ctypes.c_void_p
    original = Inferencer._add_input

    def add_input(self, request, exchange, name, wire):
        original(self, request, exchange, name, wire)
        handle = int(self._api.ffi.cast("uintptr_t", request))
        for part in special:
            assert append(handle, name, part.ctypes.data, part.nbytes, 0, 0, policy.encode()) is None

    monkeypatch.setattr(Inferencer, "_add_input", add_input)
    return {"IN": usual}


@pytest.mark.parametrize(("policy", "expected"), [("near", -X), ("far", X)])
@pytest.mark.parametrize("parts", [1, 2])
def test_an_instance_reads_the_data_for_its_host_policy(serve, monkeypatch, policy, expected, parts):
    served = serve(ECHO, extra='instance_group { kind: KIND_CPU host_policy: "near" }')
    special = [part.copy() for part in np.split(-X, parts)]
    answer = served.infer(send_by_policy(monkeypatch, policy, X, special))
    assert answer["OUT"].tolist() == expected.tolist()


def test_tritons_own_name_for_the_policy_counts(serve, monkeypatch):
    served = serve(ECHO)
    assert list(served.module.instances[0].host_policy) == ["cpu"]
    assert served.infer(send_by_policy(monkeypatch, "cpu", X, [-X]))["OUT"].tolist() == (-X).tolist()

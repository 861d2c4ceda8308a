import ml_dtypes
import numpy as np
import pytest

from triton_backend_sdk import DataType, InvalidArgError, MemoryType, NotFoundError
from triton_backend_sdk.testing.core import Raw

IDENTITY = """
@hookimpl
def execute(requests):
    return [Response({"OUT": request["IN"].numpy()}) for request in requests]
"""
NUMERIC = [dtype for dtype in DataType if dtype is not DataType.BYTES]


def sample(dtype, shape=(2, 3)):
    values = np.arange(int(np.prod(shape))).reshape(shape)
    return (values % 2 if dtype is DataType.BOOL else values).astype(dtype.numpy())


def same(dtype):
    return {"IN": (dtype.value, [-1, -1])}, {"OUT": (dtype.value, [-1, -1])}


@pytest.mark.parametrize("dtype", NUMERIC)
def test_every_datatype_comes_and_goes_through_numpy(serve, dtype):
    served = serve(IDENTITY, *same(dtype))
    result = served.infer({"IN": sample(dtype)})["OUT"]
    assert result.dtype == dtype.numpy()
    assert (result == sample(dtype)).all()


@pytest.mark.parametrize("dtype", [dtype for dtype in NUMERIC if dtype is not DataType.BF16])
@pytest.mark.parametrize("way", ["np.from_dlpack(t)", "memoryview(t)", "np.asarray(t)", "t"])
def test_every_datatype_by_every_protocol(serve, dtype, way):
    served = serve(
        f"""
        @hookimpl
        def execute(requests):
            t = requests[0]["IN"]
            return [Response({{"OUT": {way}}})]
        """,
        *same(dtype),
    )
    assert (served.infer({"IN": sample(dtype)})["OUT"] == sample(dtype)).all()


def test_inputs_are_the_clients_memory_not_a_copy(serve):
    served = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            t = requests[0]["IN"]
            versioned = [np.from_dlpack(t)] if np.lib.NumpyVersion(np.__version__) >= "2.1.0" else []
            seen.append([a.ctypes.data for a in (t.numpy(), np.asarray(t), *versioned)])
            return [Response({"OUT": t})]
        """
    )
    array = np.arange(5, dtype=np.float32)
    served.infer({"IN": array})
    assert set(served.module.seen[0]) == {array.ctypes.data}


def test_inputs_are_read_only_by_every_way(serve):
    served = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            t = requests[0]["IN"]
            seen.extend([t.numpy().flags.writeable, np.from_dlpack(t).flags.writeable, not memoryview(t).readonly, not t.readonly])
            return [Response({"OUT": t})]
        """
    )
    served.infer({"IN": np.ones(3, np.float32)})
    assert served.module.seen == [False] * 4


def test_attributes(serve):
    served = serve(
        """
        seen = {}
        @hookimpl
        def execute(requests):
            t = requests[0]["IN"]
            seen.update(name=t.name, dtype=t.dtype, shape=t.shape, nbytes=t.nbytes, memory=(t.memory_type, t.memory_type_id),
                        device=t.__dlpack_device__(), length=len(t), text=repr(t), list=t.tolist(), mine=isinstance(t, Tensor))
            return [Response({"OUT": t})]
        """,
        *same(DataType.INT16),
    )
    served.infer({"IN": np.array([[1, 2, 3]], np.int16)})
    assert served.module.seen == {
        "name": "IN", "dtype": DataType.INT16, "shape": (1, 3), "nbytes": 6, "memory": (MemoryType.CPU, 0),
        "device": (1, 0), "length": 1, "text": "<Tensor 'IN' INT16 [1, 3]>", "list": [[1, 2, 3]], "mine": True,
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(0,), (1,), (7,)])
def test_empty_and_tiny_tensors(serve, shape):
    served = serve(IDENTITY)
    assert served.infer({"IN": np.ones(shape, np.float32)})["OUT"].shape == shape


def test_an_input_in_several_buffers_is_gathered_once(serve):
    served = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            t = requests[0]["IN"]
            seen.append(t.numpy().ctypes.data == t.numpy().ctypes.data == requests[0]["IN"].numpy().ctypes.data)
            return [Response({"OUT": t})]
        """
    )
    parts = [
        np.arange(4, dtype=np.float32),
        np.arange(4, 7, dtype=np.float32),
        np.arange(7, 8, dtype=np.float32),
    ]
    assert served.infer({"IN": parts})["OUT"].tolist() == list(range(8))
    assert served.module.seen == [True]


DLPACK = """
import ctypes
seen = []
def version_and_flags(capsule, name):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    pointer = get(capsule, name)
    return ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint32))[0], ctypes.cast(pointer + 24, ctypes.POINTER(ctypes.c_uint64))[0]
def outcome(call):
    try:
        return call()
    except BufferError as error:
        return str(error)
@hookimpl
def execute(requests):
    t = requests[0]["IN"]
    seen.append(look(t))
    return [Response({"OUT": t})]
"""


def dlpack_look(serve, expression, dtype="FP32"):
    served = serve(
        DLPACK + f"def look(t):\n    return {expression}\n", {"IN": (dtype, [-1])}, {"OUT": (dtype, [-1])}
    )
    values = np.array([b"x"], object) if dtype == "BYTES" else np.ones(4, np.float32)
    served.infer({"IN": values})
    return served.module.seen[0]


def test_dlpack_versioned_capsule_says_read_only(serve):
    look = 'version_and_flags(t.__dlpack__(max_version=(1, 3)), b"dltensor_versioned")'
    assert dlpack_look(serve, look) == (1, 1)


def test_dlpack_versioned_copy_is_writable_and_says_so(serve):
    look = 'version_and_flags(t.__dlpack__(max_version=(1, 0), copy=True), b"dltensor_versioned")'
    assert dlpack_look(serve, look) == (1, 2)


def test_dlpack_legacy_consumer_gets_a_copy_of_a_read_only_tensor(serve):
    look = '"dltensor\\"" in repr(t.__dlpack__()) and "dltensor\\"" in repr(t.__dlpack__(max_version=(0, 8)))'
    assert dlpack_look(serve, look) is True


def test_dlpack_legacy_consumer_that_forbids_a_copy_is_refused(serve):
    assert "read-only" in dlpack_look(serve, "outcome(lambda: t.__dlpack__(copy=False))")


def test_dlpack_own_device_is_honoured_and_others_are_refused(serve):
    look = "(repr(t.__dlpack__(dl_device=(1, 0), max_version=(1, 0)))[:8], outcome(lambda: t.__dlpack__(dl_device=(2, 0))))"
    capsule, refused = dlpack_look(serve, look)
    assert capsule == "<capsule"
    assert "device (1, 0), not on (2, 0)" in refused


def test_dlpack_has_no_bytes_and_no_unknown_arguments(serve):
    assert "DLPack has no BYTES" in dlpack_look(
        serve, "outcome(lambda: t.__dlpack__(max_version=(1, 0)))", "BYTES"
    )


def test_numpy_copies_out_of_dlpack_on_request(serve):
    look = "np.from_dlpack(t, copy=True).flags.writeable if np.lib.NumpyVersion(np.__version__) >= '2.1.0' else True"
    assert dlpack_look(serve, look) is True


WORDS = np.array([[b"", b"a", "grüße".encode()], [b"\x00\xff", b"x" * 1000, b"end"]], object)


@pytest.mark.parametrize(
    "value",
    [
        't.numpy()',
        't',
        't.tolist()',
        '[[word for word in row] for row in t.tolist()]',
        'np.asfortranarray(t.numpy())',
        'np.array(t)',
    ],
)  # fmt: skip
def test_bytes_come_and_go(serve, value):
    source = f"""
        @hookimpl
        def execute(requests):
            t = requests[0]["IN"]
            return [Response({{"OUT": {value}}})]
        """
    served = serve(source, *same(DataType.BYTES))
    assert served.infer({"IN": WORDS})["OUT"].tolist() == WORDS.tolist()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('np.array(["ä", "bc"])', ["ä".encode(), b"bc"]),
        ('np.array([b"q", b"rs"])', [b"q", b"rs"]),
        ('["ä", b"b"]', ["ä".encode(), b"b"]),
        ('("x",)', [b"x"]),
        ('[]', []),
        ('np.array(["long", "strings"], dtype=object)[::-1]', [b"strings", b"long"]),
    ],
)  # fmt: skip
def test_bytes_from_strings_of_all_kinds(serve, value, expected):
    served = serve(
        f"""
        @hookimpl
        def execute(requests):
            return [Response({{"OUT": {value}}})]
        """,
        outputs={"OUT": ("BYTES", [-1])},
    )
    assert served.infer({"IN": np.ones(1, np.float32)})["OUT"].tolist() == expected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x05\x00\x00\x00ab", "longer than what is left"),
        (b"\x01\x00\x00\x00a\x02", "ends within a length"),
        (b"\x01\x00\x00\x00a", "number of elements"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 2])
def test_malformed_bytes_fail_their_request(serve, data, why, pieces):
    served = serve(IDENTITY, {"IN": ("BYTES", [-1])}, {"OUT": ("BYTES", [-1])})
    parts = [data] if pieces == 1 else [data[:3], data[3:]]
    with pytest.raises(InvalidArgError):  # by Triton itself or by us, whoever sees it first
        served.infer({"IN": Raw(parts, "BYTES", [2])})
    assert served.infer({"IN": np.array([b"fine"], object)})["OUT"].tolist() == [b"fine"]


def test_an_input_whose_bytes_do_not_fit_its_shape_fails(serve):
    served = serve(IDENTITY)
    with pytest.raises(InvalidArgError):
        served.infer({"IN": Raw(b"\0" * 9, "FP32", [2])})


def test_unknown_input_is_named_with_those_that_exist(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return [Response({"OUT": requests[0]["INPUT"]})]
        """
    )
    with pytest.raises(NotFoundError, match=r"no input 'INPUT'; it has \('IN',\)"):
        served.infer({"IN": np.ones(1, np.float32)})


def test_request_is_a_mapping(serve):
    served = serve(
        """
        from collections.abc import Mapping
        seen = {}
        @hookimpl
        def execute(requests):
            (r,) = requests
            seen.update(keys=r.keys(), values=[t.name for t in r.values()], items=[k for k, _ in r.items()], size=len(r), id=r.id,
                        has=("A" in r, "C" in r, 3 in r), get=(r.get("A").name, r.get("C")), mapping=isinstance(r, Mapping),
                        mine=isinstance(r, Request), text=repr(r), same=r["A"] is r["A"], outputs=r.requested_outputs,
                        parameters=r.parameters, batch=r.batch_size)
            return [Response({"OUT": r["A"]})]
        """,
        {"A": ("FP32", [1]), "B": ("FP32", [1])},
        {"OUT": ("FP32", [1])},
    )
    one = np.ones(1, np.float32)
    parameters = {"text": "x", "whole": 7, "yes": True, "real": 0.5}
    served.infer({"A": one, "B": one}, request_id="id-1", parameters=parameters)
    seen = served.module.seen
    assert sorted(seen.pop("keys")) == sorted(seen.pop("values")) == sorted(seen.pop("items")) == ["A", "B"]
    assert seen.pop("text") in ("<Request 'id-1' ['A', 'B']>", "<Request 'id-1' ['B', 'A']>")
    assert seen == {
        "size": 2, "id": "id-1", "has": (True, False, False), "get": ("A", None), "mapping": True, "mine": True,
        "same": True, "outputs": ("OUT",), "parameters": parameters, "batch": 1,
    }  # fmt: skip


def test_bfloat16_without_ml_dtypes_is_explained(serve, monkeypatch):
    import builtins

    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "ml_dtypes":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    from triton_backend_sdk import UnsupportedError

    with pytest.raises(UnsupportedError, match="pip install ml_dtypes"):
        DataType.BF16.numpy()
    assert ml_dtypes.bfloat16 is not None


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="NumPy 1 has no more than 32 dimensions"
)
def test_more_dimensions_than_numpys_c_shortcut_takes(serve):
    served = serve(IDENTITY, {"IN": ("FP32", [-1] * 40)}, {"OUT": ("FP32", [-1] * 40)})
    array = np.arange(2, dtype=np.float32).reshape([1] * 39 + [2])
    assert served.infer({"IN": array})["OUT"].shape == array.shape


def test_array_subclasses_go_through_the_buffer_protocol(serve):
    served = serve(
        """
        class Subclass(np.ndarray): pass
        @hookimpl
        def execute(requests):
            return [Response({"OUT": requests[0]["IN"].numpy().view(Subclass)})]
        """
    )
    assert served.infer({"IN": np.arange(3, dtype=np.float32)})["OUT"].tolist() == [0, 1, 2]


def test_unaligned_inputs_are_seen_right(serve):
    served = serve(IDENTITY.replace('request["IN"].numpy()', 'request["IN"].numpy() + np.float32(1)'))
    shifted = np.frombuffer(b"\0" + np.arange(4, dtype=np.float32).tobytes(), np.uint8)[1:].view(np.float32)
    assert served.infer({"IN": shifted})["OUT"].tolist() == [1, 2, 3, 4]

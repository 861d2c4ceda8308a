import ctypes

import numpy as np
import pytest

from triton_backend_sdk import InternalError
from triton_backend_sdk.testing.core import Raw

ONE = {"IN": np.ones(2, np.float32)}


def answer(serve, expression, *, outputs=None, before="", **config):
    return serve(
        f"""
        {before}
        @hookimpl
        def execute(requests):
            request = requests[0]
            x = request["IN"].numpy()
            return [Response({expression})]
        """,
        outputs=outputs or {"OUT": ("FP32", [-1, -1])},
        **config,
    )


@pytest.mark.parametrize(
    "value",
    [
        "np.arange(6, dtype=np.float32).reshape(2, 3)",
        "np.arange(6, dtype=np.float32).reshape(3, 2).T.copy().T.reshape(2, 3)",
        "np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))",
        "np.arange(12, dtype=np.float32)[::2].reshape(2, 3) / 2",
        "(np.arange(24, dtype=np.float32).reshape(4, 6) / 2)[::2, ::2] * 0 + np.arange(6, dtype='f4').reshape(2, 3)",
        "np.arange(5, -1, -1, dtype=np.float32)[::-1].reshape(2, 3)",
        "np.arange(6, dtype=np.float32).reshape(2, 3)[::-1, ::-1][::-1, ::-1]",
        "np.arange(6, dtype='>f4').reshape(2, 3)",
        "memoryview(np.arange(6, dtype=np.float32).reshape(2, 3))",
    ],
)
def test_arrays_of_any_layout(serve, value):
    served = answer(serve, f'{{"OUT": {value}}}')
    assert served.infer(ONE)["OUT"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_strided_copies_of_every_item_size(serve, itemsize):
    served = answer(
        serve,
        f'{{"OUT": np.arange(24, dtype=np.uint{8 * itemsize}).reshape(2, 3, 4)[:, ::-1, ::2].transpose(2, 0, 1)}}',
        outputs={"OUT": (f"UINT{8 * itemsize}", [-1, -1, -1])},
    )
    expected = np.arange(24).reshape(2, 3, 4)[:, ::-1, ::2].transpose(2, 0, 1)
    assert served.infer(ONE)["OUT"].tolist() == expected.tolist()


def test_large_strided_output_is_copied_right(serve):
    served = answer(serve, '{"OUT": np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000).T}')
    assert (served.infer(ONE)["OUT"] == np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000).T).all()


ONLY_DLPACK = """
class OnlyDLPack:
    def __init__(self, array, legacy=False):
        self.array, self.legacy = array, legacy
    def __dlpack_device__(self):
        return self.array.__dlpack_device__()
    def __dlpack__(self, **kwargs):
        if self.legacy and kwargs:
            raise TypeError("an old producer takes no arguments")
        return self.array.__dlpack__()
"""


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("layout", ["", "[:, ::-1]", ".T.copy().T"])
def test_objects_that_speak_only_dlpack(serve, legacy, layout):
    expression = f'{{"OUT": OnlyDLPack(np.arange(6, dtype=np.float32).reshape(2, 3){layout}, {legacy})}}'
    served = answer(serve, expression, before=ONLY_DLPACK.replace("\n", "\n        "))
    expected = eval(f"np.arange(6).reshape(2, 3){layout}")
    assert served.infer(ONE)["OUT"].tolist() == expected.tolist()


def test_pruned_outputs_are_not_sent_and_may_still_be_written(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            (request,) = requests
            y = request.output("A", [2]).numpy()
            y[:] = 1
            return [Response({"B": request["IN"]})]
        """,
        outputs={"A": ("FP32", [-1]), "B": ("FP32", [-1])},
    )
    assert list(served.infer(ONE, outputs=["B"])) == ["B"]
    assert sorted(served.infer(ONE)) == ["A", "B"]


@pytest.mark.parametrize("returned", ["{'OUT': view}", "{'OUT': view.numpy()}", "{}", "None"])
def test_an_output_written_in_place_may_be_named_or_left_out(serve, returned):
    served = serve(
        f"""
        @hookimpl
        def execute(requests):
            view = requests[0].output("OUT", [2], "FP32")
            view.numpy()[:] = 3
            return [Response({returned})]
        """
    )
    assert served.infer(ONE)["OUT"].tolist() == [3, 3]


def test_another_array_for_an_output_asked_for_is_copied_into_it(serve):
    served = answer(
        serve,
        '{"OUT": (request.output("OUT", [2]), np.full(2, 5, np.float32))[1]}',
        outputs={"OUT": ("FP32", [-1])},
    )
    assert served.infer(ONE)["OUT"].tolist() == [5, 5]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('{"OUTT": x}', "has no output 'OUTT'; it has 'OUT'"),
        ('{3: x}', "3 is no name of an output"),
        ('{}', "lacks output 'OUT'"),
        ('[("A", 1)]', "no output 'A'"),
        ('{"OUT": x.astype(np.int64)}', "output 'OUT' is INT64, but the config says FP32: convert it"),
        ('{"OUT": x.reshape(1, 2)}', r"has shape \[1, 2\], but the config says \[2\]"),
        ('{"OUT": np.ones(3, np.float32)}', r"has shape \[3\], but the config says \[2\]"),
        ('{"OUT": 3.5}', "it is a float; give an array, or anything with DLPack"),
        ('{"OUT": None}', "it is a NoneType; give an array"),
        ('{"OUT": [1.0, 2.0]}', "it is a list of float; give an array"),
        ('{"OUT": np.ones(2, np.complex64)}', "complex64"),
        ('{"OUT": np.array(["2020-01-01"] * 2, "datetime64[D]")}', "datetime64"),
        ('{"OUT": [b"text", b"text"]}', "is BYTES, but the config says FP32"),
        ('{"OUT": request.output("OUT", [2], "INT8")}', "asked for as INT8, but the config says FP32"),
        ('{"OUT": request.output("NONE", [2])}', "no output 'NONE'"),
        ('{"OUT": request.output("OUT", [5])}', r"has shape \[5\]"),
        ('{"OUT": request.output("OUT", [1] * 100)}', "has shape"),
        ('{"OUT": (request.output("OUT", [2]), request.output("OUT", [2]))[0]}', "already handed out"),
        ('{"OUT": request.output("OUT", "ab")}', "TypeError"),
        ('{"OUT": dead}', "released memoryview"),
        ('{"OUT": NullData()}', "owns no memory"),
        ('{"OUT": BadCapsule()}', "no capsule of DLPack"),
        ('{"OUT": Raises()}', "cannot export"),
        ('{"OUT": OnGpu()}', r"GPU memory needs cuda-python, .* pip install 'triton-backend-sdk\[gpu\]'"),
        ('{"OUT": OnNpu()}', "DLPack device"),
        ('7', "mapping from output name"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_output_is_said_clearly_and_the_next_request_works(
    serve, expression, message, monkeypatch
):
    monkeypatch.setattr("triton_backend_sdk.gpu._MODULES", ("no_cuda_here",))
    served = serve(
        f"""
        import ctypes
        dead = memoryview(np.ones(2, np.float32)); dead.release()
        class DL(ctypes.Structure):
            _fields_ = [("data", ctypes.c_void_p), ("device", ctypes.c_int32 * 2), ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8),
                        ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
                        ("strides", ctypes.c_void_p), ("offset", ctypes.c_uint64), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]
        SHAPE = (ctypes.c_int64 * 1)(2)
        NAME = b"dltensor"
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        class NullData:
            device = 1
            def __dlpack__(self, **kwargs):
                self.t = DL(None, (ctypes.c_int32 * 2)(self.device, 0), 1, 2, 32, 1, SHAPE, None, 0, None, None)
                return new(ctypes.addressof(self.t), NAME, None)
        class OnGpu(NullData):
            device = 2
            def __dlpack__(self, **kwargs):
                if not hasattr(self, "t"):  # it is asked twice
                    super().__dlpack__()
                    self.t.data = 4096
                return new(ctypes.addressof(self.t), NAME, None)
        class OnNpu(NullData):
            device = 16
        class BadCapsule:
            def __dlpack__(self, **kwargs):
                return "no capsule"
        class Raises:
            def __dlpack__(self, **kwargs):
                raise BufferError("cannot export")
        broken = True
        @hookimpl
        def execute(requests):
            request = requests[0]
            x = request["IN"].numpy()
            if not broken:
                return [Response({{"OUT": x}})]
            return [Response({expression})]
        """,
        outputs={"OUT": ("FP32", [2])},
    )
    with pytest.raises(Exception, match=message) as caught:
        served.infer(ONE)
    assert caught.value.code in (1, 3, 4, 5)
    served.module.broken = False
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[b'a', 3]", "element 1 is int; give bytes or str"),
        ("np.array([None], dtype=object)", "element 0 is NoneType"),
        ("np.array([1.5])", "is FP64, but the config says BYTES"),
        ("['\\ud800']", "surrogates"),
    ],
)
def test_bad_strings_are_named(serve, value, message):
    served = answer(serve, f'{{"OUT": {value}}}', outputs={"OUT": ("BYTES", [-1])})
    with pytest.raises(Exception, match=message):
        served.infer(ONE)


def test_request_output_of_bytes_is_refused_with_the_way_out(serve):
    served = answer(serve, '{"OUT": request.output("OUT", [1])}', outputs={"OUT": ("BYTES", [-1])})
    with pytest.raises(InternalError, match="return it in the Response"):
        served.infer(ONE)


def test_batch_dimension_must_be_the_requests(serve):
    served = answer(serve, '{"OUT": x[:1]}', outputs={"OUT": ("FP32", [2])}, batch=8)
    with pytest.raises(InternalError, match=r"\[batch, 2\], with batch = 3 in this request"):
        served.infer({"IN": np.ones((3, 2), np.float32)})


def test_reshape_is_what_the_backend_sees(serve):
    served = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            seen.append(requests[0]["IN"].shape)
            return [Response({"OUT": requests[0]["IN"]})]
        """,
        {"IN": ("FP32", [4], "reshape { shape: [2, 2] }")},
        {"OUT": ("FP32", [4], "reshape { shape: [2, 2] }")},
    )
    assert served.infer({"IN": np.arange(4, dtype=np.float32)})["OUT"].shape == (4,)
    assert served.module.seen == [(2, 2)]


def test_outputs_may_be_any_mapping_and_change_while_they_are_read(serve):
    served = serve(
        """
        from types import MappingProxyType
        class Nasty:
            def __dlpack__(self, **kwargs):
                outputs.clear()
                return np.ones(2, np.float32).__dlpack__()
        outputs = {}
        @hookimpl
        def execute(requests):
            outputs["OUT"] = Nasty()
            return [Response(MappingProxyType({"OUT": Nasty()})) if len(requests[0].id) else Response(outputs)]
        """
    )
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]
    assert served.infer(ONE, request_id="x")["OUT"].tolist() == [1, 1]


def test_zero_copy_passthrough_of_raw_bytes_tensor(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return [Response({"OUT": requests[0]["IN"]})]
        """,
        {"IN": ("BYTES", [-1])},
        {"OUT": ("BYTES", [-1])},
    )
    data = b"\x02\x00\x00\x00hi\x00\x00\x00\x00"
    assert served.infer({"IN": Raw(data, "BYTES", [2])})["OUT"].tolist() == [b"hi", b""]
    assert ctypes is not None


AS_GIVEN = """
@hookimpl
def initialize(instance):
    instance.outputs_as_given = True
""".replace("\n", "\n        ")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{}", {}),
        ('{"OUT": x.astype(np.int64)}', {"OUT": np.int64([1, 1])}),
        ('{"OUT": x.reshape(1, 2, 1)}', {"OUT": np.float32([[[1], [1]]])}),
        ('{"OUT": np.float32(3)}', {"OUT": np.array(3, np.float32)}),
        ('{"OUT": np.zeros((0, 7), np.uint8)}', {"OUT": np.zeros((0, 7), np.uint8)}),
        ('{"OUT": x, "UNKNOWN": x}', {"OUT": np.float32([1, 1])}),
        ('{"UNKNOWN": object()}', {}),
        (
            '{"OUT": np.array([b"a", "b", 3, None, 1.5], object)}',
            {"OUT": [b"a", b"b", b"3", b"None", b"1.5"]},
        ),
        ('{"OUT": np.array([[1, 2]], object).T}', {"OUT": [[b"1"], [b"2"]]}),
        ('{"OUT": request["TEXT"]}', {"OUT": [b"in"]}),
    ],
)
@pytest.mark.parametrize("decoupled", [False, True])
def test_outputs_as_given(serve, expression, expected, decoupled):
    served = answer(
        serve,
        expression,
        before=AS_GIVEN,
        inputs={"IN": ("FP32", [-1]), "TEXT": ("BYTES", [-1])},
        outputs={"OUT": ("FP32", [2])},
        extra="model_transaction_policy { decoupled: true }" if decoupled else "",
    )
    [response] = served.stream({**ONE, "TEXT": np.array([b"in"], object)})
    assert list(response) == list(expected)
    for name, value in expected.items():
        assert response[name].tolist() == np.asarray(value).tolist()
        assert isinstance(value, list) or response[name].dtype == value.dtype


def test_a_text_that_fails_as_given_is_an_error(serve):
    served = answer(
        serve,
        '{"OUT": np.array([Bad()], object)}',
        before=AS_GIVEN
        + """
        class Bad:
            def __str__(self):
                raise ValueError("not me")
        """,
    )
    with pytest.raises(InternalError, match="output 'OUT': not me"):
        served.infer(ONE)


def test_as_given_an_output_in_place_is_still_the_configs(serve):
    served = answer(
        serve, '{"OUT": request.output("OUT", [3])}', before=AS_GIVEN, outputs={"OUT": ("FP32", [2])}
    )
    with pytest.raises(InternalError, match=r"has shape \[3\], but the config says \[2\]"):
        served.infer(ONE)


def test_as_given_one_output_has_one_datatype(serve):
    served = answer(
        serve,
        '{"OUT": np.int32([request.output("OUT", [1]) is None])}',
        before=AS_GIVEN,
        outputs={"OUT": ("FP32", [1])},
    )
    with pytest.raises(InternalError, match="asked for with one shape"):
        served.infer(ONE)

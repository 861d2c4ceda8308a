"""Authors' slips and races that no feature's test would try: none may cost the server its life."""

from __future__ import annotations

import contextlib
import gc
import mmap
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.runtime.conftest import FP32, write_model
from triton_backend_sdk.errors import TritonError
from triton_backend_sdk.testing.wire import Raw

X = np.arange(4, dtype=np.float32)
IDENTITY = """
@hookimpl
def execute(requests):
    return [Response({"OUT": request["IN"]}) for request in requests]
"""


def until(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def test_views_may_outlive_their_instance(serve):
    served = serve(
        """
        kept = []
        @hookimpl
        def execute(requests):
            output = requests[0].output("OUT", [4])
            output.numpy()[:] = 5
            kept.append((requests[0], output))
            time.sleep(0.02)
            return [Response()]
        import time
        """,
        extra="instance_group { count: 3 kind: KIND_CPU }",
    )
    futures = [served.send({"IN": X}) for _ in range(6)]
    assert until(lambda: len(served.module.kept) == 6)
    config = served.repository / served.name / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 3", "count: 1"))
    served.core.load(served.name)  # Triton takes two instances away, and keeps the model as it is
    assert served.core.model_config(served.name)["instance_group"][0]["count"] == 1
    request, output = served.module.kept[0]
    assert [output.name for _, output in served.module.kept] == ["OUT"] * 6
    with pytest.raises(RuntimeError, match="already answered"):
        request.output("OUT", [4])
    del request, output
    served.module.kept.clear()
    assert [future.result(5)["OUT"].tolist() for future in futures] == [[5] * 4] * 6
    assert served.core.wait_released(5)
    assert served.core.statistics(served.name)["inference_stats"]["success"]["count"] == 6


@pytest.mark.parametrize("size", [4, 100_000])
def test_an_output_made_on_another_thread_while_execute_ends(serve, size):
    served = serve(
        """
        import threading
        made = []
        def make(request, size, started):
            started.set()
            try:
                request.output("OUT", [size]).numpy()[:] = 7
            except InternalError as error:
                made.append(str(error))
            else:
                made.append("made")
        @hookimpl
        def execute(requests):
            x = requests[0]["IN"].numpy()
            started = threading.Event()
            threading.Thread(target=make, args=(requests[0], x.size, started)).start()
            started.wait()
            return [Response({"OUT": x})]
        """
    )
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(150):
            # "another thread is making an output", where it is just then
            with contextlib.suppress(RuntimeError):
                assert served.infer({"IN": np.zeros(size, np.float32)})["OUT"][0] in (0, 7)
    finally:
        sys.setswitchinterval(interval)
    assert until(lambda: len(served.module.made) == 150)


def test_the_outputs_dict_may_change_while_it_is_read(serve):
    served = serve(
        """
        class Fickle:
            def __dlpack__(self, **how):
                outputs.clear()
                others[:] = [f"{i}JUNK" for i in range(4000)]  # where the name's memory was
                raise RuntimeError("gone")
        outputs, others = {}, []
        @hookimpl
        def execute(requests):
            outputs["".join(["OU", "T"])] = Fickle()
            return [Response(outputs)]
        """
    )
    with pytest.raises(RuntimeError, match=r"^output 'OUT': gone"):
        served.infer({"IN": X})


def test_a_shape_may_change_while_it_is_read(serve):
    served = serve(
        """
        class Fickle:
            def __index__(self):
                shape.clear()
                others[:] = [[object()] * 61 for _ in range(100)]  # where the list's memory was
                return 4
        shape, others = [], []
        @hookimpl
        def execute(requests):
            shape[:] = [Fickle()] + [1] * 60
            requests[0].output("OUT", shape)
        """
    )
    with pytest.raises(RuntimeError, match=r"shape .4, 1, 1, 1"):
        served.infer({"IN": X})


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("y", [[0, 1], [2, 3]]),
        ("y.T", [[0, 2], [1, 3]]),
        ("y[::-1, ::-1]", [[3, 2], [1, 0]]),
        ("y[:1]", None),
    ],
)
@pytest.mark.parametrize("size", [1, 200])  # each element size x size: with and without the GIL
def test_an_output_written_in_place_and_returned_in_another_order(serve, returned, expected, size):
    served = serve(
        f"""
        @hookimpl
        def execute(requests):
            x = requests[0]["IN"].numpy()
            y = requests[0].output("OUT", x.shape).numpy()
            y[:] = x
            return [Response({{"OUT": {returned}}})]
        """,
        inputs={"IN": ("FP32", [-1, -1])},
        outputs={"OUT": ("FP32", [-1, -1])},
    )
    x = np.repeat(np.repeat(X.reshape(2, 2), size, 0), size, 1)
    if expected is None:
        with pytest.raises(
            RuntimeError, match=r"asked for with one shape by Request\.output and returned with another"
        ):
            served.infer({"IN": x})
        return
    assert served.infer({"IN": x})["OUT"][::size, ::size].tolist() == expected


def test_a_bytes_array_that_shrinks_while_it_is_written(serve):
    served = serve(
        """
        import threading, time
        values = np.array([b"x" * 1000] * 200, dtype=object)
        go_on = True
        def change():
            while go_on:
                values[100:] = b"x"
                time.sleep(0)
                values[100:] = b"x" * 1000
                time.sleep(0)
        threading.Thread(target=change, daemon=True).start()
        @hookimpl
        def execute(requests):
            return [Response({"OUT": values})]
        """,
        outputs={"OUT": ("BYTES", [-1])},
    )
    try:
        for _ in range(200):
            try:
                assert served.infer({"IN": X})["OUT"].size == 200
            except RuntimeError as error:
                if "the array changed while it was written" not in str(error):
                    raise
    finally:
        served.module.go_on = False


CLIENT = """
import mmap, sys, time
end = time.monotonic() + 30
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
    while time.monotonic() < end:
        shared[3] = 0x7F
        shared[3] = 0
"""


def test_a_bytes_input_whose_client_changes_it_in_shared_memory(serve, tmp_path):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            for _ in range(2000):
                try:
                    requests[0]["IN"].numpy()
                except InvalidArgError as error:
                    assert "malformed" in str(error) or "changed while" in str(error)
            return [Response({"OUT": np.zeros(1, np.float32)})]
        """,
        inputs={"IN": ("BYTES", [-1])},
    )
    (tmp_path / "shared").write_bytes(b"\x04\0\0\0abcd")
    with (tmp_path / "shared").open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        client = subprocess.Popen([sys.executable, "-c", CLIENT, str(tmp_path / "shared")])
        try:
            assert until(lambda: shared[3] == 0x7F)
            for _ in range(20):
                with contextlib.suppress(ValueError):  # where it is looked at before the plugin is called
                    served.infer({"IN": Raw(memoryview(shared), "BYTES", [1])})
        finally:
            client.kill()
            client.wait()
        assert served.core.wait_released(5)
        gc.collect()  # the array over the mapping


@pytest.mark.parametrize(
    "view",
    [
        'requests[0]["IN"].numpy()',
        'requests[0]["IN"].__dlpack__(max_version=(1, 0))',
        'requests[0].output("OUT", [4]).numpy()',
        pytest.param('np.from_dlpack(requests[0].output("OUT", [4]))', id="from_dlpack"),
    ],
)
def test_the_last_view_may_end_while_an_exception_passes(serve, view):
    served = serve(
        f"""
        kept = []
        @hookimpl
        def execute(requests):
            if kept:
                (kept.pop(), 1 / 0)
            kept.append({view})
            return [Response({{"OUT": requests[0]["IN"]}})]
        """
    )
    first = served.send({"IN": X})
    assert until(lambda: "still holds an array" in served.log)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: division by zero"):
        served.infer({"IN": X})
    assert first.result(5)["OUT"].tolist() == X.tolist()


BAD_MESSAGES = {
    "InvalidArgError(404)": "^404$",
    "InvalidArgError(OSError('no'))": "^no$",
    "InvalidArgError(chr(0xdc80) + ' a' + chr(0) + 'b')": r"^\? a\\0b$",
    "Speechless()": "^Speechless$",
}
SPEECHLESS = """
class Speechless(ValueError):
    def __str__(self):
        raise RuntimeError("no words")
"""


@pytest.mark.parametrize("error", BAD_MESSAGES)
def test_an_exception_with_a_bad_message_still_tells_its_client(serve, error):
    served = serve(f"{SPEECHLESS}\n@hookimpl\ndef execute(requests):\n    raise {error}")
    with pytest.raises((ValueError, RuntimeError), match=BAD_MESSAGES[error]):
        served.infer({"IN": X})


@pytest.mark.parametrize("error", BAD_MESSAGES)
@pytest.mark.parametrize("hook", ["model_initialize", "initialize"])
def test_an_exception_with_a_bad_message_still_fails_the_load(serve, hook, error):
    argument = "model" if hook == "model_initialize" else "instance"
    served = serve(
        f"{SPEECHLESS}\n@hookimpl\ndef {hook}({argument}):\n    raise {error}\n{IDENTITY}", load=False
    )
    with pytest.raises(TritonError, match=BAD_MESSAGES[error].strip("^$")):
        served.core.load(served.name)


def test_an_exception_raised_from_itself(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise error from error
        """
    )
    with pytest.raises(RuntimeError, match="KeyError: 'inner'"):
        served.infer({"IN": X})


def test_models_that_load_at_a_time_import_their_package_once(serve, tmp_path):
    served = serve(f"from . import name\n{IDENTITY}", load=False)
    (served.project.package / "__init__.py").write_text(
        "import time\n"
        f"with open({str(tmp_path / 'imports')!r}, 'a') as file:\n    print('once', file=file)\n"
        "time.sleep(0.3)\nname = __name__\n"
    )
    write_model(served.repository, "second", served.name, *FP32)
    threads = [threading.Thread(target=served.core.load, args=(name,)) for name in (served.name, "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [served.core.is_ready(name) for name in (served.name, "second")] == [True, True]
    assert (tmp_path / "imports").read_text() == "once\n"


def test_what_a_thread_keeps_for_itself_may_ask_for_the_gil_when_the_thread_ends(serve):
    served = serve(
        """
        import ctypes, threading
        class Asks:
            def __del__(self):
                state = ctypes.pythonapi.PyGILState_Ensure()  # as pybind11 and torch do
                ctypes.pythonapi.PyGILState_Release(state)
                ended.append(True)
        own, ended = threading.local(), []
        @hookimpl
        def model_initialize():
            own.asks = Asks()
        @hookimpl
        def execute(requests):
            return [Response({"OUT": requests[0]["IN"]})]
        """
    )
    served.infer({"IN": X})
    module = served.module
    assert served.core.wait_released(5)
    served.core.close()
    assert until(lambda: module.ended)


def test_gpu_memory_is_never_read_by_the_cpu(serve):
    served = serve(
        """
        import ctypes
        answers = []
        @hookimpl
        def execute(requests):
            tensor = requests[0]["IN"]
            response = Response({"OUT": np.zeros(4, np.float32)})
            # No GPU here: tb_tensor's memory_type and data say that it lies on one, at an address that the CPU has not.
            ctypes.c_int.from_address(id(tensor) + 80).value = MemoryType.GPU.value
            ctypes.c_size_t.from_address(id(tensor) + 64).value = 4096
            assert (tensor.memory_type, tensor.__dlpack_device__()) == (MemoryType.GPU, (2, 0))
            for how in ({}, {"copy": False}, {"copy": True}, {"max_version": (1, 0), "copy": True}):
                try:
                    answers.append("dltensor" in repr(tensor.__dlpack__(**how)))
                except BufferError as error:
                    answers.append(str(error))
            return [response]
        """
    )
    served.infer({"IN": X})
    refused = "tensor 'IN' is GPU memory, which only its consumer can copy"
    assert served.module.answers == [True, True, refused, refused]


def test_fortran_order_is_not_promised(serve):
    served = serve(
        """
        import ctypes
        answers = []
        @hookimpl
        def execute(requests):
            tensor = requests[0]["IN"]
            get = ctypes.pythonapi.PyObject_GetBuffer
            get.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_int]
            for order in (0x40, 0x80, 0x20):  # PyBUF_F_CONTIGUOUS, PyBUF_ANY_CONTIGUOUS, PyBUF_C_CONTIGUOUS
                buffer = ctypes.create_string_buffer(256)
                try:
                    get(tensor, buffer, order | 0x18)
                    ctypes.pythonapi.PyBuffer_Release(buffer)
                    answers.append("given")
                except BufferError as error:
                    answers.append(str(error))
            return [Response({"OUT": tensor})]
        """,
        inputs={"IN": ("FP32", [2, 2])},
        outputs={"OUT": ("FP32", [2, 2])},
    )
    served.infer({"IN": X.reshape(2, 2)})
    assert served.module.answers == ["tensor 'IN': it is not Fortran contiguous", "given", "given"]


def test_no_tensor_or_request_comes_from_nowhere(serve):
    served = serve(
        """
        import copy, pickle
        def attempts(thing):
            kind = type(thing)
            yield lambda: kind()
            yield lambda: kind.__new__(kind)
            yield lambda: object.__new__(kind)
            yield lambda: copy.copy(thing)
            yield lambda: copy.deepcopy(thing)
            yield lambda: pickle.dumps(thing)
            yield lambda: setattr(thing, "__class__", kind.__base__)
            yield lambda: type("Sub", (kind,), {})
        made = []
        @hookimpl
        def execute(requests):
            for thing in (requests[0], requests[0]["IN"]):
                for attempt in attempts(thing):
                    try:
                        made.append(attempt())
                    except TypeError:
                        pass
            return [Response({"OUT": requests[0]["IN"]})]
        """
    )
    served.infer({"IN": X})
    assert served.module.made == []

"""The ownership table of execute.c, the rows that need a Triton that fails: its functions are swapped in our table.

The other rows are in test_errors.py (plugin raised, request failed) and test_lifetime.py (views that outlive).
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from triton_backend_sdk import errors
from triton_backend_sdk._ffi.builder import table_header

ONE = {"IN": np.ones(2, np.float32)}
IDENTITY = "@hookimpl\ndef execute(requests): return [Response({'OUT': r['IN']}) for r in requests]"


@pytest.fixture
def swap():
    """Give ``swap(name, prototype, make)``: Triton's function becomes ``make(real)`` until the test ends."""
    restore, alive = [], []
    names = re.findall(r"#define (TRITON\w+)", table_header())

    def replace(name, prototype, make):
        native = sys.modules["triton_backend_sdk._native"]  # there once a backend has been loaded
        slots = table_address(Path(native.__spec__.origin or native.__file__))
        index = names.index(name)
        real = slots[index]
        function = prototype(make(prototype(real)))
        alive.append(function)
        restore.append((slots, index, real))
        slots[index] = ctypes.cast(function, ctypes.c_void_p).value

    yield replace
    for slots, index, real in restore:
        slots[index] = real


def table_address(library: Path):
    symbols = subprocess.run(["nm", str(library)], capture_output=True, text=True, check=True).stdout
    offset = int(re.search(r"^([0-9a-f]+) \w tb_api$", symbols, re.MULTILINE)[1], 16)
    real = library.resolve()
    base = next(
        int(line.split("-")[0], 16)
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(real))
    )
    return ctypes.cast(base + offset, ctypes.POINTER(ctypes.c_size_t))


POINTER = ctypes.c_void_p


def test_failure_before_the_first_response_leaves_the_requests_to_triton(serve, swap):
    served = serve(IDENTITY)
    served.infer(ONE)
    prototype = ctypes.CFUNCTYPE(POINTER, POINTER, ctypes.POINTER(ctypes.c_uint32))
    broken = [True]

    def make(real):
        def count(request, out):
            error = real(request, out)
            if broken[0]:
                out[0] = 0xFFFFFFFF  # so many inputs that no memory can hold them
            return error

        return count

    swap("TRITONBACKEND_RequestInputCount", prototype, make)
    with pytest.raises(errors.UnavailableError, match="no memory to gather the batch"):
        served.infer(ONE)
    broken[0] = False
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]
    assert served.core.wait_released(5)  # Triton answered and released: we touched nothing


def test_a_failing_send_is_logged_and_the_request_is_released(serve, swap):
    served = serve(IDENTITY)
    served.infer(ONE)
    import triton_backend_sdk._native as native

    prototype = ctypes.CFUNCTYPE(POINTER, POINTER, ctypes.c_uint32, POINTER)

    def make(real):
        def send(response, flags, error):
            real(response, flags, error)  # or the client would wait for ever
            made = native.lib.TRITONSERVER_ErrorNew(native.lib.TRITONSERVER_ERROR_INTERNAL, b"the wire broke")
            return int(native.ffi.cast("uintptr_t", made))

        return send

    swap("TRITONBACKEND_ResponseSend", prototype, make)
    for _ in range(3):
        assert served.infer(ONE)["OUT"].tolist() == [1, 1]
    assert served.core.wait_released(5)
    assert served.log.count("sending a response failed: the wire broke") == 3


def test_an_output_that_triton_refuses_fails_its_request(serve, swap):
    served = serve(IDENTITY)
    served.infer(ONE)
    import triton_backend_sdk._native as native

    prototype = ctypes.CFUNCTYPE(
        POINTER, POINTER, POINTER, ctypes.c_char_p, ctypes.c_int, POINTER, ctypes.c_uint32
    )

    def make(real):
        def output(response, out, name, dtype, shape, dims):
            made = native.lib.TRITONSERVER_ErrorNew(native.lib.TRITONSERVER_ERROR_UNAVAILABLE, b"no room")
            return int(native.ffi.cast("uintptr_t", made))

        return output

    swap("TRITONBACKEND_ResponseOutput", prototype, make)
    with pytest.raises(errors.TritonError, match="output 'OUT': no room"):
        served.infer(ONE)
    assert served.core.wait_released(5)

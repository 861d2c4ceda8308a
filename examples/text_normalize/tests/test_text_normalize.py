"""Text that is cleaned, and bytes that are no text."""

import numpy as np
import pytest
from text_normalize.plugin import normalize

from triton_backend_sdk import InvalidArgError

DIRTY, CLEAN = "  CAFE\u0301 \t Stra\u00dfe\n", "caf\u00e9 strasse"
NOT_UTF8 = b"caf\xe9"


def texts(*items):
    return np.array([items], dtype=object)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DIRTY, CLEAN),
        ("", ""),
        (" \u00a0\u2003 ", ""),
        ("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3"),
        ("abcdefghi jkl", "abcdefghi"),  # ten characters, of which the last is a space
        ("\u00e9" * 12, "\u00e9" * 10),  # characters, not bytes
        ("\U0001f600" * 12, "\U0001f600" * 10),
    ],
)
def test_normalize(text, expected):
    assert normalize(text, 14 if text == DIRTY else 10) == expected
    assert normalize(expected, 14) == expected


def test_one_request_that_is_not_utf8(fake_host):
    host = fake_host("text_normalize.plugin")

    batch = [{"TEXT": texts(DIRTY)}, {"TEXT": texts("fine", NOT_UTF8)}, {"TEXT": texts("A", "B")}]

    first, wrong, last = host.execute(batch, errors="return")

    assert first["NORMALIZED"].tolist() == [[CLEAN.encode()]]
    assert isinstance(wrong, InvalidArgError)
    assert str(wrong).startswith("TEXT is not UTF-8: 'utf-8' codec can't decode byte 0xe9 in position 3")
    assert last["NORMALIZED"].tolist() == [[b"a", b"b"]]


@pytest.mark.parametrize(("value", "message"), [("many", "must be an integer"), ("0", "at least 1")])
def test_a_bad_parameter(fake_host, value, message):
    with pytest.raises(InvalidArgError, match=message):
        fake_host("text_normalize.plugin", {"parameters": {"max_characters": {"string_value": value}}})


def test_in_the_real_triton(triton_core):
    core = triton_core()

    result = core.infer("text_normalize", {"TEXT": texts(DIRTY, "X" * 100, "")})

    assert result["NORMALIZED"].tolist() == [[CLEAN.encode(), b"x" * 40, b""]]
    assert core.infer("text_normalize", {"TEXT": np.empty((2, 0), object)})["NORMALIZED"].shape == (2, 0)
    with pytest.raises(InvalidArgError, match="TEXT is not UTF-8"):
        core.infer("text_normalize", {"TEXT": texts(NOT_UTF8)})


def test_over_http_and_grpc(tritonserver):
    http, grpc = (pytest.importorskip(f"tritonclient.{name}") for name in ("http", "grpc"))
    server = tritonserver()

    for api, url in ((http, server.http_url), (grpc, server.grpc_url)):
        with api.InferenceServerClient(url) as client:
            tensor = api.InferInput("TEXT", [1, 2], "BYTES")
            tensor.set_data_from_numpy(texts(DIRTY.encode(), b"\xf0\x9f\x98\x80 OK"))
            result = client.infer("text_normalize", [tensor]).as_numpy("NORMALIZED")
            assert result.tolist() == [[CLEAN.encode(), "\U0001f600 ok".encode()]]

            tensor.set_data_from_numpy(texts(b"fine", NOT_UTF8))
            with pytest.raises(Exception, match="TEXT is not UTF-8"):
                client.infer("text_normalize", [tensor])

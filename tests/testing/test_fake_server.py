"""model.server of the fake host: what a plugin that calls models sees in a unit test."""

import asyncio

import numpy as np
import pytest

from triton_backend_sdk import (
    CancelledError,
    InternalError,
    NotFoundError,
    Response,
    UnsupportedError,
    hookimpl,
)
from triton_backend_sdk.testing import FakeHost

CONFIG = {
    "name": "m",
    "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [-1]}],
    "output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [-1]}],
}
X = np.float32([1, 2])


def double(inputs):
    return {"OUT": inputs["IN"] * 2}


def count(inputs):
    for n in range(3):
        yield {"OUT": np.float32([n])}


def calling(function, **models):
    """Run a function of (server, request) inside execute, and give what is OUT."""

    class Plugin:
        @hookimpl
        def execute(self, instance, requests):
            return [Response({"OUT": function(instance.model.server, request)}) for request in requests]

    with FakeHost(Plugin, CONFIG, models=models) as host:
        [result] = host.execute({"IN": X})
    return result["OUT"].tolist(), host.server.calls


@pytest.mark.parametrize(
    "call",
    [
        lambda server, request: server.infer("double", request)["OUT"],
        lambda server, request: server.infer("double", {"IN": request["IN"]})["OUT"].numpy(),
        lambda server, request: server.start("double", {"IN": X}).result(timeout=1)["OUT"],
        lambda server, request: asyncio.run(server.infer_async("double", request))["OUT"],
        lambda server, request: next(server.stream("double", request))["OUT"],
    ],
)
def test_a_function_stands_in_for_a_model(call):
    result, [recorded] = calling(call, double=double)
    assert result == [2, 4]
    assert (recorded.model, recorded.inputs["IN"].tolist(), recorded.options) == ("double", [1, 2], {})


def test_a_generator_is_a_decoupled_model():
    def both(server, request):
        async def main():
            return [response["OUT"].numpy()[0] async for response in server.stream("count", request)]

        assert server.is_decoupled("count")
        return np.float32(
            [*asyncio.run(main()), *(r["OUT"].numpy()[0] for r in server.stream("count", request))]
        )

    assert calling(both, count=count)[0] == [0, 1, 2, 0, 1, 2]


def test_a_broken_off_stream_goes_no_further():
    def first(server, request):
        with server.stream("count", request) as stream:
            one = next(stream)["OUT"].numpy()
        assert stream.done()
        assert list(stream) == []
        return one

    assert calling(first, count=count)[0] == [0]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda s, r: s.infer("nobody", r), NotFoundError, "'nobody' is not found; the fake host has count"),
        (lambda s, r: s.infer("count", r), InternalError, "more than one response.*use stream"),
        (lambda s, r: s.infer("count", r, frobnicate=1), InternalError, "frobnicate"),
        (lambda s, r: s.infer("count", r, timeout=-1), InternalError, "above 0"),
        (lambda s, r: s.infer("wrong", r), NotFoundError, "no such file"),
        (lambda s, r: s.load("x"), UnsupportedError, "no model repository"),
    ],
)
def test_what_the_server_would_refuse(call, error, text):
    def wrong(inputs):
        raise FileNotFoundError("no such file")

    with pytest.raises(error, match=text):
        calling(call, count=count, wrong=wrong)


def test_a_cancelled_call_is_cancelled():
    def cancel(server, request):
        call = server.start("double", request)
        assert call.done()
        call.cancel()
        return call.result()["OUT"]

    with pytest.raises(CancelledError, match="the call to model 'double' was cancelled"):
        calling(cancel, double=double)


def test_a_response_is_a_mapping():
    def look(server, request):
        response = server.infer("double", request, request_id="7")
        assert (response.model, response.version, response.id, response.parameters) == ("double", 1, "7", {})
        assert (list(response), len(response), "OUT" in response) == (["OUT"], 1, True)
        with pytest.raises(NotFoundError, match="no output 'NO'"):
            response["NO"]
        return response["OUT"]

    assert calling(look, double=double)[0] == [2, 4]

import asyncio
import inspect

import numpy as np
import pluggy
import pytest

from triton_backend_sdk import Response, TritonError, batched, hookimpl, hookspecs
from triton_backend_sdk.plugins import batch_hooks
from triton_backend_sdk.testing import FakeHost

RULE = {"max_batch_elements": {"string_value": "10"}}
CONFIG = {
    "name": "m",
    "max_batch_size": 4,
    "dynamic_batching": {},
    "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [-1], "allow_ragged_batch": True}],
    "output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [-1]}],
}


class Plain:
    @hookimpl
    def execute(self, requests):
        return [Response({"OUT": request["IN"]}) for request in requests]


class Rising(Plain):
    @staticmethod
    @hookimpl
    def batch_include(batch, request):
        width = request["IN"].shape[1]
        rises = width >= getattr(batch, "width", 0)
        batch.width = width
        return rises


class Broken(Plain):
    @staticmethod
    @hookimpl
    def batch_include(request):
        raise ValueError(request["IN"].shape)


def widths(host, given, rows=1):
    batches = host.batches([{"IN": np.ones((rows, width), np.float32)} for width in given])
    return [[request["IN"].shape[1] for request in batch] for batch in batches]


@pytest.mark.parametrize(
    ("plugin", "more", "given", "expected"),
    [
        (Plain, {}, [1] * 6, [[1] * 4, [1] * 2]),
        (Plain, {"parameters": RULE}, [4, 4, 4, 30, 1], [[4, 4], [4], [30], [1]]),
        (Rising, {}, [1, 2, 1, 3], [[1, 2], [1, 3]]),
        (Rising, {"parameters": RULE}, [1, 9, 10, 1], [[1, 9], [10], [1]]),
        (Plain, {"input": [{**CONFIG["input"][0], "allow_ragged_batch": False}]}, [1, 1, 2], [[1, 1], [2]]),
        (Plain, {"dynamic_batching": None}, [1, 1], [[1], [1]]),
    ],
)
def test_batches_are_those_of_the_core(plugin, more, given, expected):
    config = {key: value for key, value in {**CONFIG, **more}.items() if value is not None}
    with FakeHost(plugin, config) as host:
        assert widths(host, given) == expected


def test_rows_count_for_the_batch_size():
    with FakeHost(Plain, CONFIG) as host:
        assert widths(host, [1, 2, 3], rows=2) == [[1, 2], [3]]


def test_requests_with_other_optional_inputs_are_kept_apart():
    extra = {"name": "BIAS", "data_type": "TYPE_FP32", "dims": [1], "optional": True}
    x = np.ones((1, 1), np.float32)
    with FakeHost(Plain, {**CONFIG, "input": [*CONFIG["input"], extra]}) as host:
        batches = host.batches([{"IN": x}, {"IN": x, "BIAS": x}, {"IN": x, "BIAS": x}])

    assert [len(batch) for batch in batches] == [1, 2]


def test_a_hook_that_raises_is_heard_of():
    with FakeHost(Broken, CONFIG) as host, pytest.raises(TritonError) as caught:
        widths(host, [1, 2])
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_batch_can_be_executed():
    class Ragged(Plain):
        @hookimpl
        @batched(ragged=True)
        def execute(self, instance, inputs):
            return {"OUT": inputs["IN"]}

    with FakeHost(Ragged, {**CONFIG, "parameters": RULE}) as host:
        [batch, _] = host.batches([{"IN": np.ones((1, width), np.float32)} for width in (4, 5, 6)])
        assert [result["OUT"].shape for result in host.execute(batch)] == [(1, 4), (1, 5)]


def test_an_async_function_makes_an_async_hook():
    calls = []

    @batched
    async def one(inputs):
        await asyncio.sleep(0)
        calls.append(inputs["IN"].shape)
        return {"OUT": inputs["IN"] * 2}

    class Several:
        @batched(ragged=True)
        async def execute(self, instance, inputs, requests):
            assert (instance, len(requests)) == ("it", 2)
            return {"OUT": inputs["IN"]}

    with FakeHost(Plain, CONFIG) as host:
        requests = [host.request({"IN": np.ones((1, width), np.float32)}) for width in (1, 2, 1)]
        assert inspect.iscoroutinefunction(one)
        responses = asyncio.run(one(requests))
        ragged = asyncio.run(Several().execute("it", requests[:2]))

    assert sorted(calls) == [(1, 2), (2, 1)]
    assert [response.outputs["OUT"].tolist() for response in responses] == [[[2]], [[2, 2]], [[2]]]
    assert [response.outputs["OUT"].shape for response in ragged] == [(1, 1), (1, 2)]
    assert list(inspect.signature(Several.execute).parameters) == ["self", "instance", "requests"]


def test_several_packages_may_have_batch_hooks():
    class First:
        @hookimpl
        def batch_include(self, request):
            return None if request == "pass" else request == "yes"

    class Second:
        @hookimpl
        def batch_include(self, batch):
            return batch

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(Second())
    manager.register(First())  # asked first, as the last to come
    include = batch_hooks(manager)["batch_include"]

    assert [include("model", 7, request) for request in ("yes", "no", "pass")] == [True, False, 7]

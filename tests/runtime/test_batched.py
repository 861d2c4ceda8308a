"""@batched in the real core: ragged inputs, optional ones, batch_input and batch_output."""

import re
from pathlib import Path

import numpy as np
import pytest

from triton_backend_sdk import InternalError

GUIDE = (Path(__file__).parents[2] / "docs" / "batching.md").read_text(encoding="utf-8")

DELAYED = {"batch": 64, "extra": "dynamic_batching { max_queue_delay_microseconds: 300000 }"}
RAGGED = {"IN": ("FP32", [-1], "allow_ragged_batch: true")}
OUT = {"OUT": ("FP32", [-1])}


def ramp(length, rows=1):
    return np.arange(rows * length, dtype=np.float32).reshape(rows, length)


def exchange(served, inputs, key="OUT"):
    futures = [served.send(one) for one in inputs]
    return [future.result(10)[key] for future in futures]


def test_ragged_rows_come_as_one_array_and_go_back(serve):
    served = serve(
        """
        seen = []
        @hookimpl
        @batched(ragged=True)
        def execute(inputs):
            x = inputs["IN"]
            seen.append((x.values.shape, x.offsets.tolist()))
            return {"OUT": x.like(x.values * 2)}
        """,
        RAGGED,
        OUT,
        **DELAYED,
    )
    given = [ramp(2), ramp(3, rows=2), ramp(0), ramp(5)]

    results = exchange(served, [{"IN": array} for array in given])

    for array, result in zip(given, results, strict=True):
        np.testing.assert_array_equal(result, array * 2)
    assert served.module.seen == [((13,), [0, 2, 5, 8, 8, 13])]


def test_one_request_is_not_copied(serve):
    served = serve(
        """
        seen = []
        @hookimpl
        @batched(ragged="IN")
        def execute(inputs):
            seen.append(inputs["IN"].values.ctypes.data)
            return {"OUT": inputs["IN"]}
        """,
        RAGGED,
        OUT,
        **DELAYED,
    )
    array = ramp(4)

    assert served.infer({"IN": array})["OUT"].tolist() == array.tolist()
    assert served.module.seen == [array.ctypes.data]


def test_padded_in_and_one_row_each_out(serve):
    served = serve(
        """
        shapes = []
        @hookimpl
        @batched(ragged=["IN"])
        def execute(instance, inputs, requests):
            assert instance is requests[0].instance
            x = inputs["IN"]
            padded = x.pad(-100.0)
            shapes.append(padded.shape)
            return {"OUT": np.where(x.mask, padded, 0).sum(axis=1, keepdims=True, dtype=np.float32)}
        """,
        RAGGED,
        OUT,
        **DELAYED,
    )

    results = exchange(served, [{"IN": ramp(2)}, {"IN": ramp(4, rows=2)}])

    assert [result.tolist() for result in results] == [[[1]], [[6], [22]]]
    assert served.module.shapes == [(3, 4)]


def test_ragged_strings(serve):
    served = serve(
        """
        calls = []
        @hookimpl
        @batched(ragged=True)
        def execute(inputs):
            calls.append(len(inputs["IN"]))
            return {"OUT": inputs["IN"].like(np.array([s.upper() for s in inputs["IN"].values], object))}
        """,
        {"IN": ("BYTES", [-1], "allow_ragged_batch: true")},
        {"OUT": ("BYTES", [-1])},
        **DELAYED,
    )

    results = exchange(served, [{"IN": np.array([words], object)} for words in ([b"a", b"bc"], [b"d"])])

    assert [result.tolist() for result in results] == [[[b"A", b"BC"]], [[b"D"]]]
    assert served.module.calls == [2]


def test_a_model_that_does_not_batch_has_one_row(serve):
    served = serve(
        """
        @hookimpl
        @batched(ragged=True)
        def execute(inputs):
            x = inputs["IN"]
            assert len(x) == 1
            return {"OUT": x.like(-x.values)}
        """,
        RAGGED,
        OUT,
    )

    assert served.infer({"IN": np.float32([1, 2])})["OUT"].tolist() == [-1, -2]


def test_lengths_that_make_no_tensor_fail_their_request_alone(serve):
    served = serve(
        """
        @hookimpl
        @batched
        def execute(inputs):
            rows = [np.ones(int(n), np.float32) for n in inputs["IN"][:, 0]]
            return {"OUT": Ragged.from_rows(rows)}
        """,
        **DELAYED,
    )
    futures = [served.send({"IN": np.float32(array)}) for array in ([[1], [2]], [[3], [3]])]

    with pytest.raises(
        Exception, match=r"'OUT' has rows of lengths \[1, 2\] for one request: they are no tensor"
    ):
        futures[0].result(10)
    assert futures[1].result(10)["OUT"].tolist() == [[1, 1, 1]] * 2


def test_what_is_no_dict_is_named(serve):
    served = serve("@hookimpl\n@batched\ndef execute(inputs): inputs['IN'] * 2")

    with pytest.raises(InternalError, match="a @batched execute returns a dict of outputs, not NoneType"):
        served.infer({"IN": np.float32([1])})


def test_too_few_ragged_rows(serve):
    served = serve(
        "@hookimpl\n@batched(ragged=True)\ndef execute(inputs): return {'OUT': inputs['IN'][:1]}",
        RAGGED,
        **DELAYED,
    )
    futures = [served.send({"IN": ramp(n)}) for n in (1, 2)]

    assert {str(f.exception(10)) for f in futures} == {"output 'OUT' has 1 rows for 2 rows of input"}


OPTIONAL = {"IN": ("FP32", [2]), "BIAS": ("FP32", [2], "optional: true")}


@pytest.mark.parametrize("default", ["3.0", "[3, 3]"])
def test_defaults_stand_in_for_optional_inputs(serve, default):
    served = serve(
        f"""
        calls = []
        @hookimpl
        @batched(defaults={{"BIAS": {default}}})
        def execute(inputs):
            calls.append(len(inputs["IN"]))
            return {{"OUT": inputs["IN"] + inputs["BIAS"]}}
        """,
        OPTIONAL,
        **DELAYED,
    )
    bias = np.float32([[10, 20]])
    futures = [
        served.send(one) for one in ({"IN": ramp(2)}, {"IN": ramp(2), "BIAS": bias}, {"IN": ramp(2, 2)})
    ]

    results = [future.result(10)["OUT"].tolist() for future in futures]

    assert results == [[[3, 4]], [[10, 21]], [[3, 4], [5, 6]]]
    # Triton itself keeps requests with other optional inputs apart; those that it joins are one call.
    assert sum(served.module.calls) == 4


def test_without_defaults_optional_inputs_are_missing_and_nothing_is_mixed(serve):
    served = serve(
        """
        @hookimpl
        @batched
        def execute(inputs):
            return {"OUT": inputs["IN"] + inputs.get("BIAS", 1)}
        """,
        OPTIONAL,
        **DELAYED,
    )
    bias = np.float32([[10, 20]])

    results = exchange(served, [{"IN": ramp(2)}, {"IN": ramp(2), "BIAS": bias}, {"IN": ramp(2)}])

    assert [result.tolist() for result in results] == [[[1, 2]], [[10, 21]], [[1, 2]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ragged=['NOPE']", "@batched names an input 'NOPE', but the config has ['IN']"),
        ("defaults={'IN': 0}", "its default must be an array of that many dimensions"),
        ("defaults={'IN': [[1]]}", "input 'IN' has dims [-1], its default is (1, 1)"),
    ],
)
def test_options_that_cannot_be(serve, options, message):
    served = serve(
        f"@hookimpl\n@batched({options})\ndef execute(inputs): return {{'OUT': inputs['IN']}}",
        RAGGED,
        **DELAYED,
    )

    with pytest.raises(Exception) as caught:
        served.infer({"IN": ramp(1)})
    assert message in str(caught.value)


KINDS = {
    "BATCH_ELEMENT_COUNT": [2, 6, 3],
    "BATCH_ACCUMULATED_ELEMENT_COUNT": [2, 8, 11],
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO": [0, 2, 8, 11],
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE": [0] * 6,
    "BATCH_ITEM_SHAPE": [[2], [3], [3], [3]],
    "BATCH_ITEM_SHAPE_FLATTEN": [2, 3, 3, 3],
}


@pytest.mark.parametrize("style", ["batched", "list"])
@pytest.mark.parametrize("dtype", ["INT32", "FP32"])
def test_batch_input(serve, style, dtype):
    entries = "\n".join(
        f'batch_input {{ kind: {kind} target_name: "{kind}" data_type: TYPE_{dtype} source_input: "IN" }}'
        for kind in KINDS
    )
    source = {
        "batched": """
            seen = []
            @hookimpl
            @batched(ragged=True)
            def execute(inputs):
                x = inputs.pop("IN")
                seen.append(inputs)
                return {"OUT": x}
            """,
        "list": """
            seen = []
            @hookimpl
            def execute(requests):
                seen.append(batch_inputs(requests))
                return [Response({"OUT": request["IN"]}) for request in requests]
            """,
    }[style]
    served = serve(source, RAGGED, OUT, batch=64, extra=f"{DELAYED['extra']}\n{entries}")

    exchange(served, [{"IN": ramp(2)}, {"IN": ramp(3, rows=2)}, {"IN": ramp(3)}])

    [seen] = served.module.seen
    assert {kind: array.tolist() for kind, array in seen.items()} == KINDS
    assert {array.dtype.name for array in seen.values()} == {"int32" if dtype == "INT32" else "float32"}


SCATTER = f"""{DELAYED["extra"]}
batch_output {{ kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "OUT" source_input: "IN" }}"""


@pytest.mark.parametrize("style", ["batched", "ragged", "list"])
def test_batch_output_follows_an_inputs_shape(serve, style):
    source = {
        "batched": """
            @hookimpl
            @batched(ragged=True)
            def execute(inputs):
                return {"OUT": inputs["IN"].values * 2}
            """,
        "ragged": """
            @hookimpl
            @batched(ragged=True)
            def execute(inputs):
                return {"OUT": inputs["IN"].like(inputs["IN"].values * 2)}
            """,
        "list": """
            @hookimpl
            def execute(requests):
                whole = np.concatenate([request["IN"].numpy().ravel() for request in requests]) * 2
                return [Response(outputs) for outputs in batch_outputs(requests, {"OUT": whole})]
            """,
    }[style]
    served = serve(source, RAGGED, OUT, batch=64, extra=SCATTER)
    given = [ramp(2), ramp(3, rows=2), ramp(3)]

    for array, result in zip(given, exchange(served, [{"IN": array} for array in given]), strict=True):
        np.testing.assert_array_equal(result, array * 2)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("{'OUT': np.ones(4, np.float32)}", "batch_output 'OUT' has 4 elements; the shapes of 'IN' need 5"),
        ("{'IN': np.ones(5, np.float32)}", "the config has no batch_output 'IN'; it has ['OUT']"),
    ],
)
def test_batch_output_of_another_size(serve, expression, message):
    source = f"""
        @hookimpl
        def execute(requests):
            return [Response(outputs) for outputs in batch_outputs(requests, {expression})]
        """
    served = serve(source, RAGGED, OUT, batch=64, extra=SCATTER)
    futures = [served.send({"IN": ramp(n)}) for n in (2, 3)]

    assert {str(future.exception(10)) for future in futures} == {message}


def test_batch_output_that_cannot_follow(serve):
    source = "@hookimpl\n@batched(ragged=True)\ndef execute(inputs): return {'OUT': inputs['IN'].values}"
    served = serve(source, RAGGED, {"OUT": ("FP32", [1, -1])}, batch=64, extra=SCATTER)

    with pytest.raises(
        Exception, match=r"'OUT' of shape \(-1, 1, -1\) cannot follow input 'IN' of shape \(1, 2\)"
    ):
        served.infer({"IN": ramp(2)})


@pytest.mark.parametrize("plugin", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_the_guides_plugins_work(serve, plugin):
    served = serve(plugin, RAGGED, OUT, **DELAYED)
    given = [ramp(2), ramp(3, rows=2)] if "ragged" in plugin else [ramp(2), ramp(2)]

    for array, result in zip(given, exchange(served, [{"IN": array} for array in given]), strict=True):
        assert result.tolist() in (array.tolist(), (array * 2).tolist())


@pytest.mark.parametrize("rule", [{}, {"max_batch_elements": "10"}])
def test_async_batches_run_at_the_same_time(serve, rule):
    source = """
        import asyncio
        sizes = []
        @hookimpl
        @batched(ragged=True)
        async def execute(instance, inputs):
            sizes.append(inputs["IN"].values.size)
            while len(sizes) < 3:  # each waits for the last
                await asyncio.sleep(0.01)
            return {"OUT": inputs["IN"].like(inputs["IN"].values * 2)}
        """
    served = serve(
        source, RAGGED, OUT, settings="batcher = true\n", parameters=rule, batch=2, extra=DELAYED["extra"]
    )
    given = [ramp(4) for _ in range(6)]

    for array, result in zip(given, exchange(served, [{"IN": array} for array in given]), strict=True):
        assert result.tolist() == (array * 2).tolist()
    assert served.module.sizes == [8, 8, 8]

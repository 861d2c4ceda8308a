"""Custom batching: what execute gets shows what the batcher decided, in the real core."""

import subprocess
import threading
import time

import numpy as np
import pytest

from triton_backend_sdk._ffi.builder import find_compiler

from .conftest import write_model

DELAYED = {"batch": 64, "extra": "dynamic_batching { max_queue_delay_microseconds: 300000 }"}
RAGGED = {"IN": ("FP32", [-1], "allow_ragged_batch: true")}
RECORD = """
    batches = []
    @hookimpl
    def execute(requests):
        batches.append([request["IN"].shape[1] for request in requests])
        return [Response({"OUT": request["IN"].numpy()}) for request in requests]
"""


def tokens(count, rows=1):
    return np.ones((rows, count), np.float32)


def send_all(served, widths):
    futures = [served.send({"IN": tokens(width)}) for width in widths]
    for width, future in zip(widths, futures, strict=True):
        assert future.result(10)["OUT"].shape == (1, width)


@pytest.mark.parametrize(
    ("parameters", "widths", "expected"),
    [
        ({"max_batch_elements": "10"}, [4, 4, 4, 4, 2, 9, 1, 30, 1], [[4, 4], [4, 4, 2], [9, 1], [30], [1]]),
        ({"max_batch_bytes": "40"}, [4, 4, 4, 4, 2], [[4, 4], [4, 4, 2]]),
        ({"max_batch_padded_elements": "10"}, [1, 1, 5, 2, 3, 4], [[1, 1], [5, 2], [3, 4]]),
        ({"max_batch_elements": "10", "max_batch_bytes": "20"}, [2, 2, 2], [[2, 2], [2]]),
        ({"max_batch_elements": "10", "max_batch_of": "IN"}, [6, 4, 6], [[6, 4], [6]]),
    ],
)
def test_the_rule_limits_a_batch(serve, parameters, widths, expected):
    served = serve(RECORD, RAGGED, settings="batcher = true\n", parameters=parameters, **DELAYED)

    send_all(served, widths)

    assert served.module.batches == expected


HOOKS = """
    import types
    log = []
    @hookimpl
    def batch_initialize(model):
        log.append("initialize")
        return types.SimpleNamespace(model=model, widths=[])
    @hookimpl
    def batch_include(batch, request):
        assert list(request) == ["IN"] and len(request) == 1 and "IN" in request and "X" not in request
        given = request["IN"]
        assert given == QueuedInput("IN", DataType.FP32, given.shape, 4 * given.shape[1])
        assert (request.batch_size, request.requested_outputs) == (1, ("OUT",))
        log.append((request.id, request.parameters.get("group")))
        if batch.widths and given.shape[1] < batch.widths[-1]:
            return False
        batch.widths.append(given.shape[1])
        return True
    @hookimpl
    def batch_finalize(model, batch):
        assert batch.model is model
        log.append("finalize")
"""


def test_hooks_decide_and_see_the_queued_request(serve):
    served = serve(RECORD + HOOKS, RAGGED, **DELAYED)
    assert served.module.log == []  # no batch is begun for nobody

    futures = [
        served.send({"IN": tokens(width)}, request_id=str(width), parameters={"group": width % 2})
        for width in (1, 3, 2, 4, 5, 1)
    ]
    for future in futures:
        future.result(10)

    assert served.module.batches == [[1, 3], [2, 4, 5], [1]]
    log = served.module.log
    assert log[:2] == ["initialize", ("1", 1)]
    assert {("3", 1), ("2", 0), ("4", 0)} < set(log)
    served.core.unload(served.name)
    assert log.count("initialize") == log.count("finalize") >= 3


def test_without_batch_initialize_a_batch_is_a_namespace_and_a_class_holds_static_hooks(serve):
    source = """
        batches = []
        class Plugin:
            @staticmethod
            @hookimpl
            def batch_include(request, batch):
                batch.count = getattr(batch, "count", 0) + 1
                return np.bool_(batch.count <= 2)
            @hookimpl
            def execute(self, requests):
                batches.append(len(requests))
                return [Response({"OUT": request["IN"].numpy()}) for request in requests]
    """
    served = serve(source, **DELAYED)

    send_all(served, [1] * 5)

    assert served.module.batches == [2, 2, 1]


def test_rule_first_then_hook(serve):
    hook = """
    asked = []
    @hookimpl
    def batch_include(request):
        asked.append(request["IN"].shape[1])
        return request["IN"].shape[1] != 2
    """
    served = serve(RECORD + hook, RAGGED, parameters={"max_batch_elements": "8"}, **DELAYED)

    send_all(served, [4, 4, 3, 2, 1])

    assert served.module.batches == [[4, 4], [3], [2, 1]]
    assert len(served.module.asked) >= 5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no idea')", "batch_include failed: ValueError: no idea"),
        ("raise SystemExit(3)", "batch_include failed: "),
        ("return None", "batch_include returned None; return True or False"),
        ("return 'yes'", "batch_include returned 'yes'; return True or False"),
        ("return request['NOPE']", "has no input 'NOPE'; it has ('IN',)"),
    ],
)
def test_a_hook_that_fails_is_logged_and_everybody_is_answered(serve, body, message):
    source = f"{RECORD}\n    @hookimpl\n    def batch_include(request):\n        {body}\n"
    served = serve(source, RAGGED, **DELAYED)

    send_all(served, [1, 2, 3])

    assert served.module.batches == [[1], [2], [3]]
    assert message in served.log
    # Once per batch; Triton may look through its queue again, with another.
    assert served.log.count("batch_include failed") >= 3


@pytest.mark.parametrize("hook", ["batch_initialize(model)", "batch_finalize(model, batch)"])
def test_the_other_hooks_may_fail_too(serve, hook):
    source = f"""{RECORD}
    @hookimpl
    def {hook}:
        raise RuntimeError("broken")
    @hookimpl
    def batch_include(request):
        return True
    """
    served = serve(source, RAGGED, **DELAYED)

    send_all(served, [1, 2])

    assert served.module.batches == ([[1], [2]] if "initialize" in hook else [[1, 2]])
    assert f"{hook.split('(')[0]} failed: RuntimeError: broken" in served.log


def test_a_hook_that_sleeps_only_delays(serve):
    source = f"""{RECORD}
    import time
    @hookimpl
    def batch_include(request):
        time.sleep(0.05)
        return request["IN"].shape[1] != 3
    """
    served = serve(source, RAGGED, **DELAYED)

    send_all(served, [1, 2, 3, 4])

    assert served.module.batches == [[1, 2], [3, 4]]


def test_a_queued_request_that_is_kept_says_so(serve):
    source = f"""{RECORD}
    kept = []
    @hookimpl
    def batch_include(request):
        kept.append(request)
        return True
    """
    served = serve(source, RAGGED, **DELAYED)
    send_all(served, [1])

    kept = served.module.kept[0]
    for use in (
        lambda: kept["IN"],
        lambda: list(kept),
        lambda: len(kept),
        lambda: "IN" in kept,
        lambda: kept.id,
        lambda: kept.parameters,
        lambda: kept.requested_outputs,
        lambda: kept.batch_size,
        kept.items,
    ):
        with pytest.raises(Exception, match="kept past its batch hook: copy what you need") as caught:
            use()
        assert type(caught.value).__name__ == "InternalError"
    with pytest.raises(TypeError):
        type(kept)()


def test_two_models_with_different_rules(serve):
    served = serve(
        RECORD, RAGGED, parameters={"max_batch_elements": "4"}, settings="batcher = true\n", **DELAYED
    )
    more = {"parameters": {"max_batch_elements": "6"}, **DELAYED}
    write_model(served.repository, "other", served.name, RAGGED, {"OUT": ("FP32", [-1])}, **more)
    write_model(served.repository, "free", served.name, RAGGED, {"OUT": ("FP32", [-1])}, **DELAYED)
    served.core.load("other")
    served.core.load("free")

    results = {}
    for model in (served.name, "other", "free"):
        served.module.batches.clear()
        futures = [served.core.infer_async(model, {"IN": tokens(2)}) for _ in range(6)]
        for future in futures:
            future.result(10)
        results[model] = list(served.module.batches)

    assert results == {served.name: [[2, 2]] * 3, "other": [[2, 2, 2]] * 2, "free": [[2] * 6]}


def test_unload_and_load_again(serve):
    served = serve(RECORD + HOOKS, RAGGED, parameters={"max_batch_elements": "6"}, **DELAYED)
    for _ in range(5):
        served.module.batches.clear()
        send_all(served, [2, 3, 4])
        assert served.module.batches == [[2, 3], [4]]
        served.core.unload(served.name)
        served.core.load(served.name)


def test_unload_right_after_the_last_request(serve):
    """Triton forgets a batcher's functions without a lock; see tb_batcher_finalize."""
    served = serve(
        RECORD,
        RAGGED,
        parameters={"max_batch_elements": "6"},
        settings="batcher = true\n",
        batch=8,
        extra="dynamic_batching { }",
    )
    for _ in range(30):
        served.infer({"IN": tokens(2)})
        served.core.unload(served.name)
        served.core.load(served.name)


SLOW = """
    import threading
    batches, gate = [], threading.Event()
    @hookimpl
    def execute(requests):
        gate.wait(10)
        batches.append([request["IN"].shape[1] for request in requests])
        return [Response({"OUT": request["IN"].numpy()}) for request in requests]
"""


@pytest.mark.parametrize(
    "hook",
    [
        "",
        "@hookimpl\n    def batch_include(batch, request):\n        batch.sum = getattr(batch, 'sum', 0) + request['IN'].shape[1]\n        return batch.sum <= 10",
    ],
)
def test_a_batch_that_waits_for_an_instance_is_not_overfilled(serve, hook):
    parameters = {} if hook else {"max_batch_elements": "10"}
    served = serve(
        f"{SLOW}\n    {hook}\n",
        RAGGED,
        settings="batcher = true\n",
        parameters=parameters,
        batch=64,
        extra="dynamic_batching { }",
    )

    futures = []
    for width in (1, 6, 6, 6, 4, 6):
        futures.append(served.send({"IN": tokens(width)}))
        time.sleep(0.05)  # one by one, while the instance is busy with the first
    served.module.gate.set()
    for future in futures:
        future.result(10)

    assert all(sum(batch) <= 10 for batch in served.module.batches), served.module.batches
    assert [width for batch in served.module.batches for width in batch] == [1, 6, 6, 6, 4, 6]
    assert [6, 4] in served.module.batches


def test_thousands_of_batches_leave_nothing(serve):
    hook = """
    import weakref
    class Batch: pass
    alive = weakref.WeakSet()
    @hookimpl
    def batch_initialize(model):
        batch = Batch()
        alive.add(batch)
        return batch
    @hookimpl
    def batch_include(batch, request):
        return request["IN"].shape[1] != 3
    """
    served = serve(RECORD + hook, RAGGED, batch=8, extra="dynamic_batching { }")

    def client():
        for i in range(500):
            served.infer({"IN": tokens(1 + i % 4)})

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()

    assert sum(map(len, served.module.batches)) == 2000
    assert len(served.module.alive) <= 1
    served.core.unload(served.name)
    assert len(served.module.alive) == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"max_batch_elements": "many"},
            "parameter 'max_batch_elements' of model '{}' is 'many'; it must be an integer",
        ),
        ({"max_batch_bytes": "0"}, "parameter 'max_batch_bytes' of model '{}' is 0; it must be positive"),
        ({"max_batch_elements": "9", "max_batch_of": "IN, ID"}, "names 'ID', but its inputs are ['IN']"),
    ],
)
def test_a_rule_that_cannot_be_is_told_at_load(serve, parameters, message):
    served = serve(RECORD, RAGGED, load=False, settings="batcher = true\n", parameters=parameters, **DELAYED)

    with pytest.raises(Exception) as caught:
        served.core.load(served.name)

    assert message.format(served.name) in str(caught.value)


def test_hooks_that_decide_nothing_are_told_at_load(serve):
    served = serve(RECORD + "\n    @hookimpl\n    def batch_finalize(batch): pass\n", load=False, **DELAYED)

    with pytest.raises(Exception, match="a hook 'batch_finalize' but no batch_include"):
        served.core.load(served.name)


@pytest.mark.parametrize(
    ("extra", "settings", "reason"),
    [
        ("sequence_batching { }", "batcher = true\n", "Triton knows none with sequence batching"),
        ("", "batcher = true\n", "the config has no dynamic_batching with a max_batch_size above 0"),
        (DELAYED["extra"], "batcher = false\n", "write `batcher = true` under [tool.tbsdk]"),
    ],
)
def test_a_batcher_that_is_not_asked_says_why(serve, extra, settings, reason):
    served = serve(
        RECORD,
        RAGGED,
        settings=settings,
        parameters={"max_batch_elements": "4"},
        batch=8,
        extra=extra + "\ninstance_group { count: 2 kind: KIND_CPU }",
    )

    if "sequence" not in extra:
        send_all(served, [3, 3])
        assert served.module.batches == [[3], [3]]  # before execute the rule holds all the same
    assert served.log.count(f"its rule and hooks for batches are not used: {reason}") <= 1
    assert reason in served.log


def test_a_copy_of_the_library_serves_as_well(serve):
    served = serve(
        RECORD,
        RAGGED,
        load=False,
        settings="batcher = true\n",
        parameters={"max_batch_elements": "4"},
        **DELAYED,
    )
    link = served.backends / served.name / "batchstrategy.so"
    library = link.resolve().read_bytes()
    link.unlink()
    link.write_bytes(library)
    served.core.load(served.name)

    send_all(served, [2, 2, 2])

    assert served.module.batches == [[2, 2], [2]]
    assert "not used" not in served.log


def test_requests_that_expire_in_the_queue_hold_nobody_up(serve):
    hook = """
    @hookimpl
    def batch_include(batch, request):
        batch.sum = getattr(batch, "sum", 0) + request["IN"].shape[1]
        return batch.sum <= 4
    """
    policy = "default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 1000000 }"
    extra = f"dynamic_batching {{ max_queue_delay_microseconds: 20000 {policy} }}"
    served = serve(SLOW + hook, RAGGED, batch=64, extra=extra)

    futures = [served.send({"IN": tokens(3)}) for _ in range(6)]
    time.sleep(1.5)
    served.module.gate.set()
    failed = [str(error) for future in futures if (error := future.exception(10)) is not None]

    assert failed
    assert set(failed) == {"Request timeout expired"}
    for _ in range(3):
        served.infer({"IN": tokens(3)})
    assert all(sum(batch) <= 4 for batch in served.module.batches)


def test_priorities_and_preferred_sizes(serve):
    extra = """dynamic_batching { max_queue_delay_microseconds: 200000 preferred_batch_size: [ 2, 4 ]
        priority_levels: 2 default_priority_level: 2 }"""
    served = serve(
        RECORD,
        RAGGED,
        settings="batcher = true\n",
        parameters={"max_batch_elements": "9"},
        batch=8,
        extra=extra,
    )

    futures = [
        served.core.infer_async(served.name, {"IN": tokens(width)}, priority=1 + width % 2)
        for width in (3, 4, 5) * 20
    ]
    for future in futures:
        future.result(10)

    assert all(sum(batch) <= 9 for batch in served.module.batches), served.module.batches
    assert sum(map(len, served.module.batches)) == 60


def test_what_fails_in_one_of_several_batches_fails_there_alone(serve):
    """Of a batch that Triton filled up while it waited, and that was taken apart before execute."""
    source = """
    import threading
    batches, gate = [], threading.Event()
    @hookimpl
    def execute(requests):
        gate.wait(10)
        batches.append([request["IN"].shape[1] for request in requests])
        if 7 in batches[-1]:
            raise ValueError("seven")
        if 8 in batches[-1]:
            return None
        return [Response({"OUT": request["IN"]}) for request in requests]
    """
    served = serve(
        source,
        RAGGED,
        settings="batcher = true\n",
        parameters={"max_batch_elements": "10"},
        batch=64,
        extra="dynamic_batching { }",
    )
    futures = []
    for width in (1, 5, 7, 8, 6):
        futures.append(served.send({"IN": tokens(width)}))
        time.sleep(0.05)
    served.module.gate.set()

    found = [future.exception(10) for future in futures]

    assert [error is None for error in found] == [True, True, False, False, True]
    assert "seven" in str(found[2])
    assert "execute returned NoneType" in str(found[3])


def test_a_reload_takes_the_new_rule_while_the_old_model_works(serve):
    served = serve(
        RECORD, RAGGED, settings="batcher = true\n", parameters={"max_batch_elements": "4"}, **DELAYED
    )
    before = [served.send({"IN": tokens(2)}) for _ in range(4)]
    config = served.core.model_config(served.name)
    config["parameters"]["max_batch_elements"]["string_value"] = "6"

    served.core.load(served.name, config)
    after = [served.send({"IN": tokens(2)}) for _ in range(6)]
    for future in (*before, *after):
        future.result(10)

    assert sorted(map(len, served.module.batches)) == [2, 2, 3, 3]


def test_another_batcher_in_the_models_directory_comes_first(serve, tmp_path):
    served = serve(
        RECORD,
        RAGGED,
        load=False,
        settings="batcher = true\n",
        parameters={"max_batch_elements": "4"},
        **DELAYED,
    )
    (tmp_path / "none.c").write_text("int nothing;")
    library = served.repository / served.name / "batchstrategy.so"
    subprocess.run([*find_compiler(), "-shared", "-o", library, tmp_path / "none.c"], check=True)
    served.core.load(served.name)

    send_all(served, [2, 2, 2])

    assert served.module.batches == [[2, 2], [2]]  # divided before execute
    assert "Triton found another batchstrategy.so before that of" in served.log

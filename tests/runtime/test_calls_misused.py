"""Calls from the wrong threads, at the wrong time, of odd tensors, and in circles: they end, or are refused."""

import gc
import threading

import numpy as np
import pytest

from .test_calls import DOUBLE, ONES, SLOW


def test_a_stream_is_iterated_by_many_threads(acting):
    caller, _ = acting(
        """
        def act(server, target, request):
            stream, got = server.stream(target, request), []
            threads = [threading.Thread(target=lambda: got.extend(r["OUT"].numpy()[0] for r in stream)) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join(20)
            assert not any(thread.is_alive() for thread in threads)
            return sorted(got)
        """,
        """
        @hookimpl
        def execute(request):
            for n in range(500):
                yield Response({"OUT": np.float32([n])})
        """,
        target={"extra": "model_transaction_policy { decoupled: true }"},
    )
    assert caller.infer(ONES)["OUT"].tolist() == list(range(500))


def test_results_are_asked_for_by_many_threads(acting):
    caller, _target = acting(
        """
        def act(server, target, request):
            got = []
            for n in range(50):
                array = np.ones(1000, np.float32)
                call = server.start(target, {"IN": array})
                del array
                threads = [threading.Thread(target=lambda: got.append(call.result()["OUT"].numpy().sum())) for _ in range(4)]
                for thread in threads: thread.start()
                for thread in threads: thread.join(20)
            return got
        """
    )
    assert caller.infer(ONES)["OUT"].tolist() == [2000] * 200


@pytest.mark.parametrize("end", ["cancel()", "__class__", "result(timeout=0.001)"])
def test_calls_that_race_with_their_answer(acting, end):
    caller, _ = acting(f"""
    def act(server, target, request):
        for n in range(300):
            call = server.start(target, {{"IN": np.ones(100, np.float32)}})
            threading.Thread(target=call.cancel).start() if n % 3 == 0 else None
            try:
                call.{end}
            except (TritonError, TimeoutError):
                pass
        return [1]
    """)
    assert caller.infer(ONES)["OUT"].tolist() == [1]


def test_a_callee_that_never_answers_does_not_keep_the_caller(acting):
    caller, target = acting(
        """
        def act(server, target, request):
            kept.append(server.start(target, {"IN": np.ones(4, np.float32)}))
            return [1]
        @hookimpl
        def finalize(instance):
            kept.clear()
        """,
        SLOW,
    )
    caller.infer(ONES)
    assert target.module.entered.wait(5)
    caller.core.unload(caller.name)
    assert caller.module.kept == []
    target.module.go.set()


@pytest.mark.parametrize("hook", ["finalize(instance)", "model_finalize(model)"])
def test_hooks_at_the_end_may_call(serve, hook):
    target = serve(DOUBLE)
    model = "instance.model" if "instance" in hook else "model"
    caller = serve(
        f"""
        got = []
        class Late:
            def __init__(self, server): self.server = server
            def __del__(self):
                try:
                    self.server.infer("{target.name}", {{"IN": np.ones(1, np.float32)}})
                except TritonError as error:
                    got.append(str(error))
        @hookimpl
        def initialize(instance):
            instance.model.state.late = Late(instance.model.server)
        @hookimpl
        def {hook}:
            got.append({model}.server.infer("{target.name}", {{"IN": np.ones(1, np.float32)}})["OUT"].numpy()[0])
            try:
                {model}.server.infer({model}.name, {{"IN": np.ones(1, np.float32)}})
            except TritonError as error:
                got.append(str(error))
        @hookimpl
        def execute(requests):
            return [Response({{"OUT": r["IN"]}}) for r in requests]
        """,
        beside=target,
    )
    caller.infer(ONES)
    caller.core.unload(caller.name)
    gc.collect()
    two, own, *late = caller.module.got
    assert two == 2
    assert caller.name in own
    assert all("unloaded" in text for text in late)


def test_a_batch_hook_cannot_call_its_own_model(serve):
    served = serve(
        """
        errors = []
        @hookimpl
        def batch_include(model, batch, request):
            for call in (model.server.infer, model.server.start, model.server.stream):
                try:
                    call(model.name, {"IN": np.ones((1, 4), np.float32)})
                except UnavailableError as error:
                    errors.append(str(error))
            return True
        @hookimpl
        def execute(requests):
            return [Response({"OUT": request["IN"]}) for request in requests]
        """,
        settings="batcher = true\n",
        batch=8,
        extra="dynamic_batching { max_queue_delay_microseconds: 1000 }",
    )
    assert served.infer({"IN": np.ones((1, 4), np.float32)})["OUT"].shape == (1, 4)
    assert len(served.module.errors) >= 3
    assert "a batch hook cannot call models" in served.module.errors[0]


def test_rings_of_three_models_under_load_end(serve):
    """Each calls the next with one instance less to spare: some are refused, none waits for ever."""
    ring = """
    @hookimpl
    def execute(instance, requests):
        server, following = instance.model.server, instance.model.parameters["next"]
        def answer(request):
            depth = request["IN"].numpy()[0]
            if depth <= 0:
                return Response({"OUT": request["IN"]})
            try:
                return Response({"OUT": server.infer(following, {"IN": np.float32([depth - 1])})["OUT"]})
            except UnavailableError:
                return Response({"OUT": np.float32([-1])})
        return [answer(request) for request in requests]
    """
    names = ["ring_a", "ring_b", "ring_c"]
    first = None
    for count, (name, following) in enumerate(zip(names, names[1:] + names[:1], strict=True), 1):
        group = f"instance_group {{ kind: KIND_CPU count: {count} }}"
        served = serve(ring, name=name, beside=first, parameters={"next": following}, extra=group)
        first = first or served
    futures = [first.core.infer_async(names[n % 3], {"IN": np.float32([n % 7])}) for n in range(300)]
    answers = [future.result(30)["OUT"][0] for future in futures]
    assert set(answers) <= {0.0, -1.0}
    assert 0.0 in answers


def test_odd_tensors_go_there_and_back(serve):
    kinds = {"A": ("FP32", [-1, -1]), "S": ("BYTES", [-1]), "O": ("FP32", [-1], "optional: true")}
    outputs = {name: spec[:2] for name, spec in kinds.items()}
    target = serve(
        "@hookimpl\ndef execute(requests):\n return [Response(dict(r)) for r in requests]", kinds, outputs
    )
    caller = serve(
        """
        @hookimpl
        def execute(instance, requests):
            server, target = instance.model.server, instance.model.parameters["target"]
            for rows in (0, 1, 3_000_000):
                given = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
                texts = [b"", b"x" * 100_000, "ü"] if rows else []
                answer = server.infer(target, {"A": given, "S": texts}, outputs=["A", "S"])
                assert list(answer) == ["A", "S"], list(answer)
                assert np.array_equal(answer["A"].numpy(), given)
                assert answer["S"].numpy().tolist() == [t if isinstance(t, bytes) else t.encode() for t in texts]
                answer["A"].numpy()[:] = 7  # it is the caller's
            answer = server.infer(target, {"A": given[::2, ::-1], "S": ["a"], "O": np.float32([])}, outputs=["O"])
            assert list(answer) == ["O"] and answer["O"].shape == (0,)
            return [Response({"OUT": r["IN"]}) for r in requests]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    caller.infer(ONES)


def test_arrays_changed_and_dropped_while_a_call_is_under_way(acting):
    caller, _target = acting(
        """
        def act(server, target, request):
            array = bytearray(4_000_000)
            call = server.start(target, {"IN": np.frombuffer(array, np.float32)})
            try:
                array.clear()  # Triton reads it
            except BufferError:
                kept.append("kept")
            array[:4] = b"abcd"
            del array
            target_module = __import__("sys").modules[f"{target}.plugin"]
            target_module.go.set()
            return [call.result()["OUT"].numpy().size]
        """,
        SLOW,
    )
    assert caller.infer(ONES)["OUT"].tolist() == [1_000_000]
    assert caller.module.kept == ["kept"]


def test_a_call_from_a_thread_that_ends_at_once(acting):
    before = threading.active_count()
    caller, _ = acting("""
    def act(server, target, request):
        def run():
            kept.append(server.start(target, {"IN": np.ones(4, np.float32)}))
        threads = [threading.Thread(target=run) for _ in range(20)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        total = sum(call.result()["OUT"].numpy().sum() for call in kept)
        kept.clear()
        return [total]
    """)
    assert caller.infer(ONES)["OUT"].tolist() == [160]
    assert threading.active_count() < before + 20


def test_a_call_outlives_the_model_that_made_it(acting):
    caller, target = acting(
        """
        def act(server, target, request):
            kept.append(server.start(target, {"IN": np.ones(4, np.float32)}))
            kept.append(server.stream(target, {"IN": np.ones(4, np.float32)}))
            return [1]
        """,
        SLOW,
    )
    caller.infer(ONES)
    assert target.module.entered.wait(5)
    call, stream = caller.module.kept
    caller.module.kept.clear()
    caller.core.unload(caller.name)
    target.module.go.set()
    assert call.result(5)["OUT"].numpy().tolist() == [2] * 4
    assert next(stream)["OUT"].numpy().tolist() == [2] * 4
    assert list(stream) == []
    with pytest.raises(TypeError):
        type(call)()
    caller.core.close()
    assert call.result(0)["OUT"].numpy().tolist() == [2] * 4


@pytest.mark.parametrize("given", ["request", "{'IN': request['IN']}", "{'IN': np.ones(4, np.float32)}"])
def test_a_request_that_was_lent_to_a_call_is_not_said_to_be_kept(acting, given):
    """Triton may let go of a call's inputs a moment after its response came."""
    caller, _ = acting(f"""
    def act(server, target, request):
        return [server.infer(target, {given}, parent=request)["OUT"].numpy().sum()]
    """)
    futures = [caller.send(ONES) for _ in range(300)]
    assert all(future.result(20)["OUT"].tolist() == [8] for future in futures)
    assert "still holds" not in caller.log

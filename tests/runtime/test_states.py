"""Implicit state: Triton keeps it, the plugin reads the old and gives the new."""

import threading
import time

import numpy as np
import pytest

from triton_backend_sdk.errors import InternalError, InvalidArgError, TritonError

STATE = """
    state {{ input_name: "{name}_IN" output_name: "{name}_OUT" data_type: TYPE_{dtype} dims: {dims} {more} }}
"""
SUM = """
    @hookimpl
    def execute(requests):
        return [answer(request) for request in requests]

    def answer(request):
        total = request["SUM_IN"].numpy() + request["IN"].numpy()
        if request.parameters.get("fail"):
            return Response({"OUT": total}, states={"SUM_OUT": total, "WRONG": total})
        return Response({"OUT": total}, states={"SUM_OUT": total})
"""
STRATEGIES = ["direct { }", "oldest { max_candidate_sequences: 4 }"]


def sequences(*states, strategy="direct { }"):
    return "sequence_batching { " + strategy + "".join(states) + " }"


def state(name="SUM", dtype="FP32", dims="[ 1 ]", more=""):
    return STATE.format(name=name, dtype=dtype, dims=dims, more=more)


def x(value, dtype=np.float32):
    return {"IN": np.array([value], dtype)}


def run(served, corrid, *values, **options):
    """Send a whole sequence; give the outputs."""
    last = len(values) - 1
    return [
        served.infer(
            value if isinstance(value, dict) else x(value),
            correlation_id=corrid,
            sequence_start=at == 0,
            sequence_end=at == last,
            **options,
        )["OUT"].tolist()
        for at, value in enumerate(values)
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_state_goes_from_request_to_request(serve, strategy):
    served = serve(SUM, extra=sequences(state(), strategy=strategy))

    assert run(served, 1, 1, 2, 3) == [[1], [3], [6]]
    assert run(served, "text", 5, 6) == [[5], [11]]
    assert run(served, 1, 7, 8) == [[7], [15]], "the id's next sequence starts at zero"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sequences_that_interleave_have_a_state_each(serve, strategy):
    served = serve(
        SUM, extra=sequences(state(), strategy=strategy) + "\ninstance_group { kind: KIND_CPU count: 3 }"
    )
    start = {"sequence_start": True}
    for corrid in (1, 2, "three"):
        served.infer(x(100), correlation_id=corrid, **start)
    for step in range(1, 4):
        for number, corrid in enumerate((1, 2, "three")):
            got = served.infer(x(number), correlation_id=corrid, sequence_end=step == 3)
            assert got["OUT"].tolist() == [100 + number * step]


def test_a_state_of_a_model_that_batches_has_the_batch_dimension(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            answers = []
            for request in requests:
                old = request["SUM_IN"].numpy()
                assert old.shape == (1, 1), old.shape
                answers.append(Response({"OUT": old + request["IN"].numpy()}, states={"SUM_OUT": old + request["IN"].numpy()}))
            return answers
        """,
        batch=4,
        extra=sequences(state()),
    )
    calls = [
        served.send({"IN": np.float32([[n]])}, correlation_id=n, sequence_start=True) for n in range(1, 5)
    ]
    assert [call.result(20)["OUT"].tolist() for call in calls] == [[[n]] for n in range(1, 5)]
    calls = [
        served.send({"IN": np.float32([[10]])}, correlation_id=n, sequence_end=True) for n in range(1, 5)
    ]
    assert [call.result(20)["OUT"].tolist() for call in calls] == [[[10 + n]] for n in range(1, 5)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_view_of_the_new_state_is_tritons_buffer(serve, strategy):
    served = serve(
        """
        addresses = []

        @hookimpl
        def execute(requests):
            answers = []
            for request in requests:
                old = request["SUM_IN"]
                new = request.state("SUM_OUT", [3], "FP32").numpy()
                addresses.append((old.numpy().ctypes.data, new.ctypes.data))
                np.add(old.numpy(), request["IN"].numpy(), out=new)
                answers.append(Response({"OUT": new}))
            return answers
        """,
        extra=sequences(state(dims="[ 3 ]"), strategy=strategy),
    )

    assert run(served, 1, 1, 2, 3)[-1] == [6, 6, 6]
    (_, first), (second, _), (third, _) = served.module.addresses
    assert second == first, "the next request reads what the last one wrote"
    assert third == served.module.addresses[1][1]


def test_a_state_of_variable_size_grows(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            answers = []
            for request in requests:
                old = request["SUM_IN"].numpy() if not request.flags & RequestFlag.SEQUENCE_START else np.empty(0, np.float32)
                if request.parameters.get("view"):
                    new = request.state("SUM_OUT", [old.size + 1]).numpy()
                    new[:-1], new[-1:] = old, request["IN"].numpy()
                else:
                    new = np.append(old, request["IN"].numpy())
                answers.append(Response({"OUT": new}, states=None if request.parameters.get("view") else {"SUM_OUT": new}))
            return answers
        """,
        extra=sequences(state(dims="[ -1 ]")),
    )
    for view in (False, True):
        got = run(served, 1, 1, 2, 3, 4, parameters={"view": view})
        assert got == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]


def test_a_state_may_be_empty(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            answers = []
            for request in requests:
                size = int(request["IN"].numpy()[0])
                answers.append(Response({"OUT": request["SUM_IN"].numpy()}, states={"SUM_OUT": np.full(size, size, np.float32)}))
            return answers
        """,
        extra=sequences(state(dims="[ -1 ]")),
    )
    assert run(served, 1, 0, 2, 0, 3, 1) == [[0], [], [2, 2], [], [3, 3, 3]]


def test_a_state_of_strings_and_of_every_datatype(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            answers = []
            for request in requests:
                old = request["TEXT_IN"].tolist()
                text = request["IN"].tolist()
                answers.append(Response({"OUT": old}, states={"TEXT_OUT": [old[0] + text[0], b"x" * 100]}))
            return answers
        """,
        {"IN": ("BYTES", [1])},
        {"OUT": ("BYTES", [2])},
        extra=sequences(state("TEXT", "STRING", "[ 2 ]")),
    )
    texts = [{"IN": [text]} for text in ("a", "ü", "")]
    assert run(served, "s", *texts) == [[b"", b""], [b"a", b"x" * 100], ["aü".encode(), b"x" * 100]]


@pytest.mark.parametrize("dtype", ["BOOL", "UINT8", "INT16", "INT64", "FP16", "FP64", "BF16"])
def test_a_state_may_have_any_datatype(serve, dtype):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            old = requests[0]["S_IN"]
            return [Response({"OUT": [str(old.numpy().tolist())]}, states={"S_OUT": np.ones((2, 2), old.numpy().dtype)})]
        """,
        {"IN": ("FP32", [1])},
        {"OUT": ("BYTES", [1])},
        extra=sequences(state("S", dtype, "[ 2, 2 ]")),
    )
    zero, one = run(served, 1, 1, 1)
    assert zero[0].lower().count(b"f" if dtype == "BOOL" else b"0") >= 4
    assert one[0].count(b"True" if dtype == "BOOL" else b"1") == 4


def test_a_sequence_starts_with_what_the_config_says(serve, tmp_path):
    more = 'initial_state { name: "start" data_type: TYPE_FP32 dims: [ 1 ] data_file: "seven" }'
    served = serve(SUM, extra=sequences(state(more=more)), load=False)
    folder = served.repository / served.name / "initial_state"
    folder.mkdir()
    (folder / "seven").write_bytes(np.float32([7]).tobytes())
    served.core.load(served.name)

    assert run(served, 1, 1, 2) == [[8], [10]]


def test_a_new_sequence_finds_zeros_and_not_what_the_memory_held(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            request = requests[0]
            found = request["SUM_IN"].numpy().sum(keepdims=True)
            return [Response({"OUT": found}, states={"SUM_OUT": np.full(4096, np.nan, np.float32)})]
        """,
        extra=sequences(state(dims="[ 4096 ]")),
    )
    for corrid in range(1, 20):
        first, second = run(served, corrid, 1, 2)
        assert first == [0]
        assert np.isnan(second[0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_failed_request_leaves_the_state_as_it_was(serve, strategy):
    served = serve(SUM, extra=sequences(state(), strategy=strategy))
    served.infer(x(1), correlation_id=1, sequence_start=True)
    with pytest.raises(InternalError, match="no state 'WRONG'; it has the output_name 'SUM_OUT'"):
        served.infer(x(10), correlation_id=1, parameters={"fail": True})
    assert served.infer(x(2), correlation_id=1, sequence_end=True)["OUT"].tolist() == [3]


def test_a_state_that_is_not_given_stays(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            request = requests[0]
            old = request["SUM_IN"].numpy()
            return [Response({"OUT": old}, states={"SUM_OUT": request["IN"].numpy()} if request["IN"].numpy()[0] else {})]
        """,
        extra=sequences(state()),
    )
    assert run(served, 1, 5, 0, 0, 6, 0) == [[0], [5], [5], [5], [6]]


def test_what_an_author_gets_wrong_is_named(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return [answer(request) for request in requests]

        def answer(request):
            case = request.parameters.get("case")
            out = {"OUT": request["SUM_IN"].numpy()}
            new = np.float32([1])
            if case == "shape": return Response(out, states={"SUM_OUT": np.zeros((2,), np.float32)})
            if case == "rank": request.state("SUM_OUT", [1, 1])
            if case == "dtype": return Response(out, states={"SUM_OUT": np.zeros(1, np.float64)})
            if case == "dtype of a view": request.state("SUM_OUT", [1], np.int32)
            if case == "input": request.state("SUM_IN", [1])
            if case == "twice": request.state("SUM_OUT", [1]), request.state("SUM_OUT", [1])
            if case == "other shape":
                request.state("LONG_OUT", [3])
                return Response(out, states={"LONG_OUT": np.zeros(2, np.float32)})
            if case == "strings": request.state("TEXT_OUT", [1])
            if case == "mapping": return Response(out, states=[1])
            if case == "name": return Response(out, states={1: new})
            if case == "junk": return Response(out, states={"SUM_OUT": object()})
            if case == "both":
                request.state("SUM_OUT", [1]).numpy()[:] = 5
                return Response(out, states={"SUM_OUT": np.float32([9])})
            return Response(out, states={"SUM_OUT": new})
        """,
        extra=sequences(state(), state("LONG", dims="[ -1 ]"), state("TEXT", "STRING")),
    )
    served.infer(x(1), correlation_id=1, sequence_start=True)
    for case, message in {
        "shape": r"state 'SUM_OUT' has shape \[2\], but the config says \[1\]",
        "rank": r"state 'SUM_OUT' has shape \[1, 1\], but the config says \[1\]",
        "dtype": "state 'SUM_OUT' is .*FP64, but the config says .*FP32",
        "dtype of a view": "state 'SUM_OUT': asked for as .*INT32",
        "input": "no state 'SUM_IN'; it has the output_name 'SUM_OUT', 'LONG_OUT', 'TEXT_OUT'",
        "twice": "state 'SUM_OUT' was already given",
        "other shape": "state 'LONG_OUT' was asked for with one shape by Request.state and returned with another",
        "strings": r"state 'TEXT_OUT' is BYTES, .*Response\(states=",
        "mapping": "mapping from state name to array, not list",
        "name": "1 is no name of a state",
        "junk": "state 'SUM_OUT': ",
    }.items():
        with pytest.raises(InternalError, match=message):
            served.infer(x(1), correlation_id=1, parameters={"case": case})
    served.infer(x(1), correlation_id=1, parameters={"case": "both"})
    assert served.infer(x(1), correlation_id=1, sequence_end=True)["OUT"].tolist() == [9]


def test_a_model_without_states_says_so(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return [Response({"OUT": requests[0]["IN"].numpy()}, states={"S": requests[0]["IN"].numpy()})]
        """
    )
    with pytest.raises(
        InternalError, match="state 'S': the model's config has no states; declare it in sequence_batching"
    ):
        served.infer(x(1))


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (
            [
                STATE.replace("{name}_IN", "B_IN"),
                STATE.replace("{name}_IN", "A_IN").replace("{name}_OUT", "B_OUT"),
            ],
            "alphabetical order, so 'A_OUT' would become 'A_IN'",
        ),
        ([STATE, STATE], "two states have the same"),
        (
            [STATE.replace("{more}", "use_same_buffer_for_input_output: true use_growable_memory: true")],
            "GPU memory",
        ),
    ],
)
def test_a_config_that_triton_would_misread_does_not_load(serve, states, message):
    states = [text.format(name="A", dtype="FP32", dims="[ 1 ]", more="") for text in states]
    served = serve(SUM, extra=sequences(*states), load=False)
    with pytest.raises(TritonError, match=message):
        served.core.load(served.name)


def test_one_buffer_may_serve_for_old_and_new(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            request = requests[0]
            new = request.state("SUM_OUT", [1]).numpy()
            same = new.ctypes.data == request["SUM_IN"].numpy().ctypes.data
            new += request["IN"].numpy()
            assert same
            return [Response({"OUT": new})]
        """,
        extra=sequences(state(more="use_same_buffer_for_input_output: true")),
    )
    assert run(served, 1, 1, 2, 3) == [[1], [3], [6]]


def test_one_buffer_cannot_change_its_shape(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            request = requests[0]
            size = int(request["IN"].numpy()[0])
            return [Response({"OUT": request["SUM_IN"].numpy()}, states={"SUM_OUT": np.full(size, size, np.float32)})]
        """,
        extra=sequences(state(dims="[ -1 ]", more="use_same_buffer_for_input_output: true")),
    )
    served.infer(x(1), correlation_id=1, sequence_start=True)
    with pytest.raises(InternalError, match="cannot change its shape with use_same_buffer"):
        served.infer(x(2), correlation_id=1)
    assert served.infer(x(1), correlation_id=1, sequence_end=True)["OUT"].tolist() == [1]


KEEP = """
    kept = []

    @hookimpl
    def execute(requests):
        answers = []
        for request in requests:
            new = request.state("SUM_OUT", [int(request.parameters.get("size", 64))]).numpy()
            new[:] = request["IN"].numpy()
            kept.append(new)
            kept.append(request["SUM_IN"].numpy())
            answers.append(Response({"OUT": request["IN"].numpy()}))
        return answers
"""


@pytest.mark.parametrize("dims", ["[ 64 ]", "[ -1 ]"])
def test_a_view_that_is_kept_never_looks_at_freed_memory(serve, dims):
    served = serve(KEEP, extra=sequences(state(dims=dims)))
    sizes = (64,) if dims == "[ 64 ]" else (64, 5, 100_000, 1, 64)
    for corrid in range(1, 6):
        for number, size in enumerate(sizes * 3):
            flags = {"sequence_start": number == 0, "sequence_end": number == 3 * len(sizes) - 1}
            served.infer(x(number), correlation_id=corrid, parameters={"size": size}, **flags)
    total = sum(float(array.sum()) for array in served.module.kept)
    for array in served.module.kept[::2]:
        array[:] = 1
    assert np.isfinite(total)
    del array
    served.module.kept.clear()


def test_a_state_given_after_execute_is_refused_where_triton_does_not_wait(serve):
    source = """
    import threading
    go = threading.Event()
    errors = []

    @hookimpl
    def execute(requests):
        for request in requests:
            threading.Thread(target=later, args=(request, request.response_sender())).start()
        return [None] * len(requests)

    def later(request, sender):
        with sender:
            total = request["SUM_IN"].numpy() + request["IN"].numpy()
            go.wait(10)
            try:
                sender.send(Response({"OUT": total}, states={"SUM_OUT": total}), final=True)
            except InternalError as error:
                errors.append(str(error))
                sender.send(error, final=True)
    """
    decoupled = "\nmodel_transaction_policy { decoupled: true }"
    served = serve(source, extra=sequences(state()) + decoupled)
    stream = served.stream(x(1), correlation_id=1, sequence_start=True)
    time.sleep(0.1)
    served.module.go.set()
    [error] = stream.collect()
    assert "direct strategy" in str(error)
    assert "oldest" in served.module.errors[0]

    served = serve(source, extra=sequences(state(), strategy=STRATEGIES[1]) + decoupled)
    served.module.go.set()
    for value, total in ((1, 1), (2, 3), (3, 6)):
        [response] = served.responses(
            x(value), correlation_id=1, sequence_start=value == 1, sequence_end=value == 3
        )
        assert response["OUT"].tolist() == [total]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_stream_gives_its_state_once(serve, strategy):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return [stream(request) for request in requests]

        def stream(request):
            total = request["SUM_IN"].numpy().copy()
            how = request.parameters["how"]
            for _ in range(3):
                total += request["IN"].numpy()
                yield Response({"OUT": total.copy()})
            if how == "last":
                yield Response({"OUT": total}, states={"SUM_OUT": total})
            if how == "end":
                request.state("SUM_OUT", [1]).numpy()[:] = total
            if how == "twice":
                yield Response({"OUT": total}, states={"SUM_OUT": total})
                yield Response({"OUT": total}, states={"SUM_OUT": total})
        """,
        extra=sequences(state(), strategy=strategy) + "\nmodel_transaction_policy { decoupled: true }",
    )

    def ask(how, **options):
        return served.responses(x(1), correlation_id=1, parameters={"how": how}, **options)

    assert [r["OUT"].tolist() for r in ask("last", sequence_start=True)] == [[1], [2], [3], [3]]
    assert [r["OUT"].tolist() for r in ask("end")] == [[4], [5], [6]]
    assert [r["OUT"].tolist() for r in ask("not")] == [[7], [8], [9]]
    twice = ask("twice")
    assert [r["OUT"].tolist() for r in twice[:-1]] == [[7], [8], [9], [9]]
    assert "already given" in str(twice[-1])


def test_states_are_not_mixed_up_by_many_at_once(serve):
    served = serve(
        SUM,
        extra=sequences(state(), strategy="oldest { max_candidate_sequences: 16 }")
        + "\ninstance_group { kind: KIND_CPU count: 2 }",
    )
    failures = []

    def one(corrid):
        got = run(served, corrid, *[corrid] * 20)
        if got != [[corrid * n] for n in range(1, 21)]:
            failures.append((corrid, got))

    threads = [threading.Thread(target=one, args=(corrid,)) for corrid in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_invalid_sequence_is_tritons_to_refuse(serve):
    served = serve(SUM, extra=sequences(state()))
    with pytest.raises(InvalidArgError, match="non-zero or non-empty correlation ID"):
        served.infer(x(1), sequence_start=True)
    with pytest.raises(InvalidArgError, match="must specify the START flag"):
        served.infer(x(1), correlation_id=3)


def test_triton_does_mix_up_states_whose_names_sort_differently(serve, monkeypatch):
    """Why the config is refused; where this fails, Triton has mended it and the check can go."""
    monkeypatch.setattr("triton_backend_sdk.states._check_pairs", lambda *_: None)
    served = serve(
        """
        @hookimpl
        def execute(requests):
            request = requests[0]
            return [Response({"OUT": request["B_IN"].numpy()}, states={"A_OUT": request["IN"].numpy()})]
        """,
        extra=sequences(
            STATE.format(name="A", dtype="FP32", dims="[ 1 ]", more="").replace("A_IN", "B_IN"),
            STATE.format(name="B", dtype="FP32", dims="[ 1 ]", more="").replace("B_IN", "A_IN"),
        ),
    )
    assert run(served, 1, 5, 6) == [[0], [0]], "the config says that B_IN brings A_OUT, which is 5"

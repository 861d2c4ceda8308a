"""Whatever a plugin does: each request gets one answer, with a code and a message, and the next one works."""

import numpy as np
import pytest

from triton_backend_sdk import InternalError, InvalidArgError, NotFoundError, UnavailableError, errors

ONE = {"IN": np.ones(2, np.float32)}
GOOD = '[Response({"OUT": r["IN"]}) for r in requests]'


def failing(serve, body, **config):
    """Serve a plugin whose module-level `broken` decides whether it misbehaves."""
    return serve(
        f"""
        import asyncio, concurrent.futures
        broken = True
        good = lambda requests: {GOOD}
        shared = Response()
        @hookimpl
        def execute(requests):
            if not broken:
                return good(requests)
            {body}
        """,
        **config,
    )


def works_again(served):
    served.module.broken = False
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        *[(f'{cls.__name__}("said so")', code, "said so") for code, cls in errors.CLASSES.items()],
        ('ValueError("x")', 3, "ValueError: x"),
        ('UnicodeDecodeError("utf-8", b"", 0, 1, "x")', 3, "UnicodeDecodeError"),
        ('TypeError("x")', 1, "TypeError: x"),
        ('KeyError("x")', 1, "KeyError: 'x'"),
        ('IndexError("x")', 1, "IndexError: x"),
        ('ZeroDivisionError("x")', 1, "ZeroDivisionError: x"),
        ('FileNotFoundError("x")', 2, "FileNotFoundError: x"),
        ('FileExistsError("x")', 6, "FileExistsError: x"),
        ('TimeoutError("x")', 4, "TimeoutError: x"),
        ('ConnectionRefusedError("x")', 4, "ConnectionRefusedError: x"),
        ('MemoryError("x")', 4, "MemoryError: x"),
        ('NotImplementedError("x")', 5, "NotImplementedError: x"),
        ('asyncio.CancelledError("x")', 7, "CancelledError: x"),
        ('concurrent.futures.CancelledError("x")', 7, "CancelledError: x"),
        ("SystemExit(3)", 1, "SystemExit: 3"),
        ("KeyboardInterrupt()", 1, "KeyboardInterrupt"),
        ("GeneratorExit()", 1, "GeneratorExit"),
        ('ExceptionWithoutStr()', 1, "ExceptionWithoutStr"),
        ('ValueError("\\ud800 \\0 zero")', 3, "ValueError: ? \\0 zero"),
        ("ValueError()", 3, "ValueError"),
        ("TritonError()", 1, "TritonError"),
    ],
)  # fmt: skip
def test_an_exception_reaches_the_client_with_its_code_and_name(serve, raised, code, message):
    served = failing(
        serve,
        f"""
            class ExceptionWithoutStr(Exception):
                def __str__(self):
                    raise RuntimeError("no text")
            raise {raised}""",
    )
    with pytest.raises(errors.TritonError) as caught:
        served.infer(ONE)
    assert (caught.value.code, caught.value.message[: len(message)]) == (
        code,
        message,
    ) or message in caught.value.message
    assert caught.value.code == code
    assert "Traceback" in served.log
    assert "plugin.py" in served.log
    works_again(served)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "execute returned NoneType; return a list"),
        ("return good(requests)[0]", "execute returned Response; return a list"),
        ("return (r for r in good(requests))", "execute returned generator; return a list"),
        ("return []", "0 responses for 1 requests"),
        ("return good(requests) * 2", "2 responses for 1 requests"),
        ("return [None]", "execute returned NoneType for request 0; give a Response or an exception"),
        ("return [{'OUT': requests[0]['IN']}]", "execute returned dict for request 0"),
        ("return [ValueError]", "execute returned type for request 0"),
        ("return [shared]", "lacks output 'OUT'"),
    ],
)
def test_what_execute_must_not_return(serve, body, message):
    served = failing(serve, body)
    with pytest.raises(InternalError, match=message):
        served.infer(ONE)
    works_again(served)


def test_a_response_is_sent_once(serve):
    served = failing(serve, "shared.outputs = {'OUT': np.ones(2, np.float32)}; return [shared]")
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]
    with pytest.raises(InternalError, match="already answered a request: make one Response per request"):
        served.infer(ONE)
    works_again(served)


def test_the_same_response_for_two_requests_answers_the_first_and_fails_the_second(serve):
    served = failing(
        serve,
        "one = Response({'OUT': requests[0]['IN']}); return [one] * len(requests)",
        batch=4,
        extra="dynamic_batching { preferred_batch_size: [2] max_queue_delay_microseconds: 2000000 }",
    )
    row = {"IN": np.ones((1, 2), np.float32)}
    answers = [f.exception(10) for f in [served.send(row), served.send(row)]]
    assert [type(a) for a in answers] == [type(None), InternalError]


BATCH = {
    "batch": 8,
    "extra": "dynamic_batching { preferred_batch_size: [3] max_queue_delay_microseconds: 2000000 }",
}


def test_one_failing_request_does_not_fail_its_neighbours(serve):
    served = serve(
        """
        sizes = []
        @hookimpl
        def execute(requests):
            sizes.append(len(requests))
            answers = [Response({"OUT": r["IN"]}) for r in requests]
            for i, r in enumerate(requests):
                if r.id == "bad":
                    answers[i] = Response(error=NotFoundError("no such thing"))
                if r.id == "worse":
                    answers[i] = ValueError("not so")
            return answers
        """,
        **BATCH,
    )
    row = np.ones((1, 2), np.float32)
    futures = [
        served.send({"IN": row * i}, request_id=name) for i, name in enumerate(["bad", "good", "worse"])
    ]
    results = [future.exception(10) for future in futures]
    assert served.module.sizes == [3]
    assert isinstance(results[0], NotFoundError)
    assert results[1] is None
    assert isinstance(results[2], InvalidArgError)
    assert futures[1].result()["OUT"].tolist() == [[1, 1]]


def test_an_exception_fails_the_whole_batch_with_one_traceback(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            raise LookupError("all of you")
        """,
        **BATCH,
    )
    row = np.ones((1, 2), np.float32)
    results = [future.exception(10) for future in [served.send({"IN": row}) for _ in range(3)]]
    assert [str(result) for result in results] == ["LookupError: all of you"] * 3
    assert served.log.count("Traceback") == 1


def test_bad_outputs_of_one_request_fail_it_alone(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return [Response({"OUT": r["IN"] if r.id else 3}) for r in requests]
        """,
        **BATCH,
    )
    row = np.ones((1, 2), np.float32)
    results = [
        f.exception(10) for f in [served.send({"IN": row}, request_id=name) for name in ("a", "", "b")]
    ]
    assert [type(result) for result in results] == [type(None), InternalError, type(None)]


def test_a_failed_execute_counts_as_failure_in_triton_statistics(serve):
    served = failing(serve, "raise ValueError('x')")
    with pytest.raises(InvalidArgError):
        served.infer(ONE)
    works_again(served)
    assert served.core.wait_released(5)  # statistics come before the release, but after the response
    stats = served.core.statistics(served.name)["inference_stats"]
    assert (stats["success"]["count"], stats["fail"]["count"]) == (1, 1)


def test_threads_that_race_for_outputs_of_one_request_do_no_harm(serve):
    served = serve(
        """
        import threading
        problems = []
        def make(request, name):
            try:
                request.output(name, [1 << 20]).numpy()[:] = 1
            except RuntimeError as error:
                problems.append(str(error))
        @hookimpl
        def execute(requests):
            threads = [threading.Thread(target=make, args=(requests[0], f"O{i}")) for i in range(8)]
            [t.start() for t in threads]; [t.join() for t in threads]
            rest = {o: np.ones(1 << 20, np.float32) for o in requests[0].requested_outputs}
            return [Response(rest)]
        """,
        outputs={f"O{i}": ("FP32", [-1]) for i in range(8)},
    )
    for _ in range(5):
        result = served.infer(ONE)
        assert all((result[f"O{i}"] == 1).all() for i in range(8))
    assert set(served.module.problems) <= {
        p for p in served.module.problems if "one after another" in p or "already handed out" in p
    }


LOAD_FAILURES = {
    "import": ("import nonexistent_module_x", "ModuleNotFoundError: No module named 'nonexistent_module_x'"),
    "syntax": ("def broken(:", "SyntaxError"),
    "misspelt": ("@hookimpl\ndef exceute(requests): ...", "it has a hook 'exceute': did you mean 'execute'?"),
    "no hook": ("def execute(requests): return []", "no execute hook found in"),
    "unknown hook": ("@hookimpl\ndef execute(requests): ...\n@hookimpl\ndef initialise(instance): ...", "hook 'initialise' that does not exist; did you mean 'initialize'?"),
    "no such hook": ("@hookimpl\ndef execute(requests): ...\n@hookimpl\ndef xyz(instance): ...", "hook 'xyz' that does not exist; there are backend_initialize, "),
    "request and batch": ("@hookimpl\ndef execute(request, requests): ...", "takes both `request` and `requests`: take one"),
    "signature": ("@hookimpl\ndef execute(reqs): ...", r"hook 'execute' can take (instance, requests); yours takes (reqs)"),
    "initialize": ("@hookimpl\ndef execute(requests): ...\n@hookimpl\ndef initialize(): raise FileNotFoundError('no weights')", "FileNotFoundError: no weights"),
    "model_initialize": ("@hookimpl\ndef execute(requests): ...\n@hookimpl\ndef model_initialize(model): raise UnavailableError('no licence')", "no licence"),
    "exit": ("raise SystemExit(1)", "SystemExit: 1"),
    "two classes": ("class A:\n  @hookimpl\n  def execute(self, requests): ...\nclass B:\n  @hookimpl\n  def execute(self, requests): ...", "several classes with an execute hook (A, B)"),
    "instance method for model": ("class A:\n  @hookimpl\n  def execute(self, requests): ...\n  @hookimpl\n  def model_initialize(self, model): ...", "make it a staticmethod"),
    "hook beside class": ("class A:\n  @hookimpl\n  def execute(self, requests): ...\n@hookimpl\ndef initialize(instance): ...", "stands beside class A"),
    "constructor": ("class A:\n  def __init__(self, x): ...\n  @hookimpl\n  def execute(self, requests): ...", "TypeError"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOAD_FAILURES)
def test_what_fails_at_load_makes_the_model_unavailable_with_the_authors_message(serve, kind):
    source, message = LOAD_FAILURES[kind]
    served = serve("", load=False)
    plugin = served.project.package / "plugin.py"
    plugin.write_text(f"from triton_backend_sdk import *\n{source}\n")
    with pytest.raises(errors.TritonError) as caught:
        served.core.load(served.name)
    assert message in caught.value.message
    (entry,) = served.core.index()
    assert entry["state"] == "UNAVAILABLE"
    assert ("Traceback" if kind != "syntax" else "def broken(:") in served.log
    if kind in ("import", "exit", "syntax"):  # the author's line comes first, not ours
        assert "importlib" not in served.log
        assert "loading.py" not in served.log.split("Traceback")[-1]
    plugin.write_text(f"from triton_backend_sdk import *\n@hookimpl\ndef execute(requests): return {GOOD}\n")
    served.core.load(served.name)
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]


def test_a_missing_package_says_to_build(serve):
    served = serve("", load=False)
    (served.backends / served.name / served.name).unlink()
    with pytest.raises(errors.TritonError, match="run `tbsdk build`"):
        served.core.load(served.name)


def test_finalize_that_raises_does_not_stop_the_unload(serve):
    served = serve(
        f"""
        @hookimpl
        def execute(requests): return {GOOD}
        @hookimpl
        def finalize(instance): raise RuntimeError("will not go")
        @hookimpl
        def model_finalize(model): raise RuntimeError("neither will I")
        """
    )
    served.core.unload(served.name)
    assert "will not go" in served.log
    assert "neither will I" in served.log
    assert f"{served.name}_0_0: instance_finalize failed: RuntimeError: will not go" in served.log
    assert f"{served.name}: model_finalize failed: RuntimeError: neither will I" in served.log
    served.core.load(served.name)
    assert served.infer(ONE)["OUT"].tolist() == [1, 1]


def test_the_error_table_names_every_code_of_tritons(serve):
    import re
    from pathlib import Path

    import triton_backend_sdk

    header = Path(triton_backend_sdk.__file__).parent / "_ffi/decl/tritonserver.h"
    names = re.findall(r"TRITONSERVER_ERROR_(\w+)", header.read_text())
    assert [
        cls.__doc__.split("_ERROR_")[1].split(".")[0].split(":")[0]
        for _, cls in sorted(errors.CLASSES.items())
    ] == names
    assert UnavailableError.code == names.index("UNAVAILABLE")

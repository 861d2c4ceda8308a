"""Models whose execute is a coroutine."""

from __future__ import annotations

import numpy as np
import pytest

from triton_backend_sdk import InternalError

FLOATS = {"IN": np.arange(3, dtype=np.float32)}


def test_a_coroutine_answers_and_the_batch_waits_for_it(serve_model):
    served = serve_model(
        """
        import asyncio

        class TritonPythonModel:
            async def execute(self, requests):
                await asyncio.sleep(0.01)
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.float32([7]))]) for r in requests]
        """
    )
    assert served.infer(FLOATS)["OUT"].tolist() == [7]


def test_a_coroutines_exception_is_told_with_its_innermost_frame(serve_model):
    served = serve_model(
        """
        import asyncio

        async def inner():
            await asyncio.sleep(0.01)
            raise ValueError("no good")

        class TritonPythonModel:
            async def execute(self, requests):
                await inner()
        """
    )
    with pytest.raises(InternalError) as raised:
        served.infer(FLOATS)
    file = served.repository / served.name / "1" / "model.py"
    # From Python 3.12 on, the frames of those who await are behind it.
    assert raised.value.message.startswith(
        f"Failed to process the request(s) for model '{served.name}_0_0', message: ValueError: no good\n\n"
        f"At:\n  {file}(8): inner\n"
    )


def test_what_a_coroutine_returns_is_checked(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            async def execute(self, requests):
                return "x"
        """
    )
    with pytest.raises(
        InternalError, match="Expected a list in the execute return, found type '<class 'str'>'"
    ):
        served.infer(FLOATS)


STREAM = """
import asyncio

class TritonPythonModel:
    async def execute(self, requests):
        await asyncio.gather(*(self.answer(request) for request in requests))

    async def answer(self, request):
        sender = request.get_response_sender()
        for item in request.inputs()[0].as_numpy():
            await asyncio.sleep(0.001)
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([item]))]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""


def test_a_decoupled_coroutine_streams_in_the_background(serve_model):
    served = serve_model(STREAM, decoupled=True)
    assert [float(response["OUT"][0]) for response in served.stream(FLOATS)] == [0, 1, 2]


def test_a_background_exception_ends_the_requests_it_leaves_open(serve_model):
    served = serve_model(
        """
        import asyncio

        class TritonPythonModel:
            async def execute(self, requests):
                requests[0].get_response_sender().send(pb_utils.InferenceResponse([]))
                await asyncio.sleep(0.01)
                raise KeyError("lost")
        """,
        decoupled=True,
    )
    responses = served.responses(FLOATS)
    assert len(responses) == 2
    assert "message: KeyError: 'lost'" in str(responses[1])
    assert "KeyError: 'lost'" in served.log


def test_a_coroutine_that_forgets_a_request_leaves_nobody_waiting(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            async def execute(self, requests):
                pass
        """,
        decoupled=True,
    )
    with pytest.raises(InternalError, match="dropped the request's ResponseSender"):
        list(served.stream(FLOATS))


@pytest.mark.parametrize("exception", ["SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()"])
@pytest.mark.parametrize("decoupled", [False, True])
def test_the_loop_survives_what_ends_loops(serve_model, exception, decoupled):
    served = serve_model(
        f"""
        class TritonPythonModel:
            async def execute(self, requests):
                raise {exception}
        """,
        decoupled=decoupled,
    )
    for _ in range(2):
        with pytest.raises(InternalError, match=exception.partition("(")[0]):
            list(served.stream(FLOATS))


def test_an_unload_ends_coroutines_after_drain_seconds(serve_model):
    served = serve_model(
        """
        import asyncio

        class TritonPythonModel:
            async def execute(self, requests):
                await asyncio.sleep(1000)

            def finalize(self):
                pb_utils.Logger.log_info("finalized here")
        """,
        decoupled=True,
        parameters={"drain_seconds": "0.1"},
    )
    pending = served.send(FLOATS)
    served.core.unload(served.name)
    with pytest.raises(InternalError, match="CancelledError"):
        pending.result(10)
    assert "finalized here" in served.log


def test_a_coroutine_that_swallows_its_cancellation_does_not_hold_the_unload(serve_model):
    served = serve_model(
        """
        import asyncio

        class TritonPythonModel:
            async def execute(self, requests):
                while True:
                    try:
                        await asyncio.sleep(1000)
                    except asyncio.CancelledError:
                        pass
        """,
        decoupled=True,
        parameters={"drain_seconds": "0.1"},
    )
    pending = served.send(FLOATS)
    served.core.unload(served.name)
    with pytest.raises(InternalError, match="CancelledError"):
        pending.result(10)

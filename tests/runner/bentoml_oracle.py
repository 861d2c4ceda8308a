"""Replays what test_bentoml_defects.py says of BentoML's Triton Runner against that Runner itself.

No test of ours: it needs BentoML 1.1.11, the last one whose guide had the Runner, in a Python of its own:

    python3.10 -m venv old && old/bin/pip install 'setuptools<81' bentoml==1.1.11 'tritonclient[all]==2.73.0'
    python -m tests.runner.bentoml_oracle old/bin/python
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CLAIMS = []


def claim(function):
    """Note a claim; the function gives what happened, and the docstring holds what must be in it."""
    CLAIMS.append(function)
    return function


async def caught(awaitable):
    try:
        return str(await awaitable)
    except BaseException as error:  # AssertionError, too, and whatever anyio raises
        return f"{type(error).__name__}: {error}"


def tried(function, *given, **named):
    try:
        return repr(function(*given, **named))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@claim
async def a_name_that_is_no_tag(old):
    """ValueError: Runner name 'a b!' is not valid; it must be a valid BentoML Tag name"""
    return tried(old.make, "a b!", "models")


@claim
async def a_name_in_capitals(old):
    """mine, 1 logged"""
    with old.logged("bentoml._internal.runner.runner") as records:
        name = old.make("MINE", "models").name
    return f"{name}, {len(records)} logged"


@claim
async def a_type_that_does_not_exist(old):
    """ValueError: ("'tritonserver_type' must be in ['grpc', 'http']"""
    return tried(old.make, "it", "models", tritonserver_type="smtp")


@claim
async def an_argument_without_dashes(old):
    """ValueError: cli_args should be a list of strings starting with '--' for TritonRunner."""
    return tried(old.make, "it", "models", cli_args=["log-verbose=1"])


@claim
async def the_list_that_was_given_is_changed(old):
    """--log-verbose=1 --model-repository=models --reuse-grpc-port=1 --allow-http=False --grpc-address=0.0.0.0"""
    given = ["--log-verbose=1"]
    old.make("it", "models", cli_args=given)
    return " ".join(given)


@claim
async def a_model_before_init_client(old):
    """AttributeError: '_TritonRunner' object has no attribute 'pair'"""
    return tried(getattr, old.make("it", "models"), "pair")


@claim
async def in_development(old):
    """TritonRunner 'it' will not be available for development mode."""
    with old.logged("bentoml.triton") as records:
        old.make("it", "models").init_local()
    return records[0].getMessage()


@claim
async def a_second_init(old):
    """StateException: Runner already initialized"""
    return tried(old.grpc.init_client)


@claim
async def streams(old):
    """NotImplementedError"""
    return tried(old.grpc.many.async_stream, old.one)


@claim
async def run_outside_of_a_worker_thread(old):
    """NoEventLoopError: Not running inside an AnyIO worker thread"""
    return tried(old.http.pair.run, old.one, old.two)


@claim
async def arrays_over_grpc(old):
    """module 'tritonclient.grpc.aio' has no attribute 'np_to_triton_dtype'"""
    return await caught(old.grpc.pair.async_run(old.one, old.two))


@claim
async def position_and_name(old):
    """AssertionError: Inputs for model 'pair' can be given either as positional (args) or keyword arguments"""
    return await caught(old.grpc.pair.async_run(old.one, IN1=old.two))


@claim
async def too_few(old):
    """ValueError: Number of provided arguments (2) does not match the number of inputs (1)"""
    return await caught(old.grpc.pair.async_run(old.one))


@claim
async def an_optional_input_left_out(old):
    """ValueError: Number of provided arguments (2) does not match the number of inputs (1)"""
    return await caught(old.grpc.maybe.async_run(old.one))


@claim
async def keywords_in_another_order(old):
    """[3.0, 4.0]"""
    result = await old.grpc.pair.async_run(IN1=old.ready("IN0", old.two), IN0=old.ready("IN1", old.one))
    return result.as_numpy("OUT0").tolist()


@claim
async def names_that_do_not_exist(old):
    """[1.0, 2.0]"""
    result = await old.grpc.pair.async_run(foo=old.ready("IN0", old.one), bar=old.ready("IN1", old.two))
    return result.as_numpy("OUT0").tolist()


@claim
async def a_list(old):
    """NotImplementedError: DefaultContainer doesn't support converting to Triton payload."""
    return await caught(old.grpc.pair.async_run([1.0, 2.0], [3.0, 4.0]))


@claim
async def float64_into_fp32(old):
    """data-type is 'FP64', but model 'pair' expects 'FP32'"""
    doubles = (old.ready(f"IN{at}", array.astype("float64")) for at, array in enumerate((old.one, old.two)))
    return await caught(old.grpc.pair.async_run(*doubles))


@claim
async def metadata_is_asked_for_each_time(old):
    """3"""
    asked, real = [], old.grpc._runner_handle.grpc_client.get_model_metadata
    old.grpc._runner_handle.grpc_client.get_model_metadata = lambda **given: (
        asked.append(given) or real(**given)
    )
    for _ in range(3):
        await old.grpc.pair.async_run(old.ready("IN0", old.one), old.ready("IN1", old.two))
    return len(asked)


@claim
async def all_outputs_are_asked_for(old):
    """['OUT0', 'OUT1']"""
    result = await old.grpc.pair.async_run(old.ready("IN0", old.one), old.ready("IN1", old.two))
    return [output.name for output in result.get_response().outputs]


@claim
async def an_output_as_json(old):
    """None"""
    result = await old.grpc.pair.async_run(old.ready("IN0", old.one), old.ready("IN1", old.two))
    return result.get_output("OUT0", as_json=True)


@claim
async def an_unknown_model_over_grpc(old):
    """[StatusCode.NOT_FOUND] Request for unknown model: 'nosuch' is not found"""
    return await caught(old.grpc.nosuch.async_run(old.one))


@claim
async def an_unknown_model_over_http(old):
    """[404] Request for unknown model: 'nosuch' is not found"""
    return await caught(old.http.nosuch.async_run(old.one))


@claim
async def a_stream_over_http(old):
    """AttributeError"""
    return tried(lambda: old.http.stream_infer)


@claim
async def a_model_is_unloaded(old):
    """explicit model load / unload is not allowed"""
    return await caught(old.http.unload_model("grow"))


@claim
async def a_server_that_is_not_there(old):
    """False"""
    gone = old.make("gone", "models")
    gone.init_client()
    return await gone.runner_handle_is_ready(timeout=1)


@claim
async def an_error_of_a_coroutine_is_not_logged(old):
    """0 logged"""
    with old.logged("bentoml._internal.runner.runner_handle.remote") as records:
        await caught(old.grpc.nosuch.async_run(old.one))
    return f"{len(records)} logged"


class Old:
    """BentoML's Runners on a server that runs."""

    def __init__(self, grpc: str, http: str) -> None:
        import bentoml.triton
        import numpy as np
        import tritonclient.grpc.aio as client
        from bentoml._internal.configuration.containers import BentoMLContainer
        from tritonclient.utils import np_to_triton_dtype

        self.make = bentoml.triton.Runner
        BentoMLContainer.remote_runner_mapping.set({"grpc": grpc, "http": http, "gone": "127.0.0.1:1"})
        self.grpc, self.http = (
            self.make(kind, "models", tritonserver_type=kind) for kind in ("grpc", "http")
        )
        for runner in (self.grpc, self.http):
            runner.init_client()
        self.one, self.two = np.float32([1, 2]), np.float32([3, 4])

        def ready(name, array):
            made = client.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            made.set_data_from_numpy(array)
            return made

        self.ready = ready

    @contextlib.contextmanager
    def logged(self, name):
        records = []
        handler = logging.Handler()
        handler.emit = records.append
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        try:
            yield records
        finally:
            logger.removeHandler(handler)


async def replay(grpc: str, http: str) -> int:
    old, wrong = Old(grpc, http), 0
    for function in CLAIMS:
        happened = str(await function(old))
        true = function.__doc__ in happened
        wrong += not true
        print("as claimed" if true else "NOT SO   ", function.__name__, "->", happened[:160])
    for runner in (old.grpc, old.http):
        await runner._runner_handle.client.close()
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("python", nargs="?", help="that has BentoML 1.1.11")
    parser.add_argument("--replay", nargs=2, metavar=("GRPC", "HTTP"), help="in that Python")
    given = parser.parse_args()
    if given.replay:
        return asyncio.run(replay(*given.replay))
    from tests.runner.conftest import write_repository
    from triton_backend_sdk.runner import Runner

    with tempfile.TemporaryDirectory() as folder:
        models = write_repository(Path(folder))
        backends = Path(folder) / "backends"
        with Runner(models, backend_directory=backends, model_control_mode="none") as runner:
            urls = [runner.server.grpc_url, runner.server.http_url]
            environ = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": f"{folder}/bentoml"}
            command = [given.python, __file__, "--replay", *urls]
            return subprocess.run(command, env=environ, timeout=120, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

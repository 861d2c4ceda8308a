"""The benchmark's own load generator counts right answers of the real core, and refuses wrong ones."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the installed package

from benchmarks import inprocess, parts  # noqa: E402
from benchmarks.cc import compile_client  # noqa: E402
from benchmarks.ground import Ground  # noqa: E402
from benchmarks.layout import place_backend, write_models  # noqa: E402
from benchmarks.rows import (  # noqa: E402
    COMPAT,
    FLOOR,
    IN_PROCESS,
    OURS,
    ROWS,
    SMALL,
    STREAM,
    Model,
    Row,
    models,
)
from triton_backend_sdk.tools.errors import HandledError  # noqa: E402
from triton_backend_sdk.tools.install import install_server  # noqa: E402
from triton_backend_sdk.tools.server import find_server  # noqa: E402

NOWHERE = Model("nowhere", "FP32", 16)
LOADED = [row for row in ROWS if row.own_client]


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    server = find_server(install_server()).binary.parent.parent
    libraries = f"{server / 'lib'}:{parts.libpython_directory()}"
    ground = Ground(root, Path("unused"), {**os.environ, "LD_LIBRARY_PATH": libraries})
    compile_client(ground.client, server)
    for peer in (FLOOR, OURS, COMPAT):
        write_models(peer, ground.client_repository(peer), models(peer, own_client=True))
        for work in {model.work for model in models(peer, own_client=True)}:
            place_backend(peer, work, ground.backends, server)
    return ground


def measure(ground, peer, row, window_ms=40):
    return inprocess.run(ground.command(row, peer, None), row, ground.env, window_ms)


@pytest.mark.parametrize("row", [row for row in LOADED if FLOOR in row.peers], ids=lambda row: row.key)
def test_the_floors_answer_rightly_and_are_counted(ground, row):
    sample = measure(ground, FLOOR, row)
    assert sample.rate > 0
    assert sample.p99_us > 0


@pytest.mark.parametrize("row", LOADED, ids=lambda row: row.key)
def test_this_sdk_answers_rightly_and_is_counted(ground, row):
    assert measure(ground, OURS, row, window_ms=150).rate > 0


@pytest.mark.parametrize("row", [row for row in LOADED if COMPAT in row.peers], ids=lambda row: row.key)
def test_the_stock_backends_model_py_answers_rightly_in_process_and_is_counted(ground, row):
    assert measure(ground, COMPAT, row, window_ms=150).rate > 0


def test_what_answers_too_little_is_not_measured(ground):
    row = Row("echo", "an echo, asked for a stream", SMALL, IN_PROCESS, responses=3, own_client=True)
    with pytest.raises(HandledError, match="status 1") as caught:
        measure(ground, FLOOR, row)
    assert any("a wrong answer" in line or "too few" in line for line in caught.value.details)


def test_what_answers_wrongly_is_not_measured(ground):
    row = Row("stream", "a stream, asked for an echo", STREAM, IN_PROCESS, own_client=True)
    with pytest.raises(HandledError, match="status 1") as caught:
        measure(ground, FLOOR, row)
    assert any("too few responses, or too many" in line for line in caught.value.details)


def test_a_model_that_is_not_there_is_named(ground):
    row = Row("none", "no such model", NOWHERE, IN_PROCESS, own_client=True)
    with pytest.raises(HandledError) as caught:
        measure(ground, FLOOR, row)
    assert any("nowhere" in line for line in caught.value.details)

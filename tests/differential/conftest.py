"""A pair of servers for each process of the tests; a module's table begins to run when its first test does."""

from __future__ import annotations

import sys

import pytest

from tests.differential.pair import running_pair
from tests.differential.table import Answers
from triton_backend_sdk.testing.pytest_plugin import _give_up
from triton_backend_sdk.tools.errors import HandledError


def pytest_generate_tests(metafunc):
    """Make a test of each step of each model in the module's TABLE."""
    if {"model", "name"} <= set(metafunc.fixturenames):
        ids = [pair for case in metafunc.module.TABLE for pair in case.ids()]
        metafunc.parametrize(("model", "name"), ids, ids=["-".join(pair) for pair in ids])


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    if sys.version_info >= (3, 13):
        pytest.skip("the stock Python backend needs a NumPy older than 2, and there is none for this Python")
    try:
        with running_pair(tmp_path_factory.mktemp("differential")) as running:
            yield running
    except HandledError as error:
        _give_up(str(error))


@pytest.fixture(scope="module")
def answers(pair, request):
    """Give the answers to the module's TABLE; only models that some chosen test is about are run."""
    table = {case.model: case for case in request.module.TABLE}
    found = Answers(pair, table)
    mine = [item for item in request.session.items if item.module is request.module]
    wanted = {item.callspec.params["model"] for item in mine if hasattr(item, "callspec")}
    found.start([model for model in table if model in wanted])
    yield found
    found.close()

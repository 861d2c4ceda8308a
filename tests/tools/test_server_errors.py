"""What a program reads from the errors of a server that did not start."""

import pickle

import pytest

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_errors import start_error, status_text
from triton_backend_sdk.tools.server_options.checks import OptionsError
from triton_backend_sdk.tools.server_options.probe import UnsupportedFlagError

LOG = [
    "E1 model_lifecycle.cc:1] \"failed to load 'a' version 1: Internal: no weights\"",
    "error: creating server: Internal - failed to load all models",
]


def test_a_traceback_shows_why_and_what_to_do():
    text = str(start_error(LOG, 1))
    assert text.splitlines()[1] == "  failed to load 'a' version 1: Internal: no weights"
    assert "--exit-on-error=false" in text


def test_models_of_the_python_backend_without_its_stub_are_told_what_runs_them():
    text = (
        "failed to load 'a' version 1: Not found: triton_python_backend_stub is not found. Searched paths: /b"
    )
    error = start_error([f'E1 model_lifecycle.cc:1] "{text}"', LOG[1]], 1)
    assert "tbsdk serve --compat REPOSITORY" in error.next_step
    assert "tbsdk build --compat --name python -o backends" in error.next_step


@pytest.mark.parametrize(
    "error",
    [
        start_error(LOG, -9),
        OptionsError(["one", "two"]),
        UnsupportedFlagError("allow-client-shm", (2, 68), "2.51.0"),
        HandledError("message", "step", details=["evidence"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_another_process_gets_all_of_an_error(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit status 0"), (-9, "signal SIGKILL"), (-40, "signal 40"), (None, "exit status None")],
)
def test_how_a_process_ended(status, text):
    assert status_text(status) == text

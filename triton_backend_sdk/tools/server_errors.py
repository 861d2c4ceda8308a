"""How a start of tritonserver, or its life, can end: as errors that a program can read, too."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from triton_backend_sdk.tools import server_log
from triton_backend_sdk.tools.errors import HandledError

#: `creating server: Internal - failed to load all models`
_REASON = re.compile(r"^(?:.*?: )?(?P<code>[A-Z][A-Za-z ]+) - (?P<text>.*)$", re.DOTALL)
#: What is said of a repository in a cloud; of a folder it is found out before a start.
_BUCKET = re.compile(r"filesystem client|repository path is not a valid directory")
_NO_STUB = "triton_python_backend_stub is not found"


@dataclass(frozen=True)
class ModelFailure:
    """A model that did not load."""

    name: str
    #: None where it came to none: its config cannot be read, or no version is there.
    version: int | None
    #: In the server's words.
    reason: str


class StartError(HandledError):
    """tritonserver did not start."""

    def __init__(
        self,
        message: str,
        next_step: str | None = None,
        *,
        details: Sequence[str] = (),
        returncode: int | None = None,
        log: Sequence[str] = (),
    ) -> None:
        super().__init__(message, next_step, details=details)
        #: Its exit status, -N where signal N ended it; None where it was not even started.
        self.returncode = returncode
        #: The last lines of its output.
        self.log = tuple(log)
        said = server_log.start_error(log)
        reason = _REASON.match(said or "")
        #: The code of Triton's error, such as Internal; None where it gave none.
        self.code = reason["code"] if reason else None
        #: The text of Triton's error.
        self.reason = reason["text"] if reason else said
        #: The models that failed.
        self.failures = model_failures(log)


def start_error(lines: Sequence[str], returncode: int | None) -> StartError:
    """Make the error of a start, from the server's last lines."""
    reason = server_log.start_error(lines)
    if reason is None:
        message = f"tritonserver ended before it was ready ({status_text(returncode)})"
        return StartError(message, next_step(lines), returncode=returncode, log=lines, details=lines[-10:])
    failures = server_log.model_failures(lines)
    step = "tbsdk serve --help tells its options"
    if _BUCKET.search(reason):
        step = "tbsdk check s3://... reads the bucket with the same credentials, and says more"
    if failures:
        step = "mend the model (see tbsdk check); --exit-on-error=false lets the server live with the others"
    if any(_NO_STUB in each for each in failures):
        step = (
            "this server lacks the stub of Triton's Python backend: tbsdk serve --compat REPOSITORY runs its "
            "models without it; elsewhere tbsdk build --compat --name python -o backends, and "
            "--backend-directory=backends"
        )
    message = f"tritonserver did not start: {reason.removeprefix('creating server: ')}"
    return StartError(message, step, returncode=returncode, log=lines, details=failures)


def not_ready(timeout: float, lines: Sequence[str]) -> HandledError:
    """Make the error of a start that takes too long."""
    return HandledError(
        f"tritonserver was not ready after {timeout:.0f} s",
        "see its last lines; a model that loads slowly needs a longer timeout",
        details=lines[-10:],
    )


def ended(how: str, returncode: int | None, lines: Sequence[str]) -> HandledError:
    """Make the error of a server that is no more."""
    said = [line for line in lines if line and not line.startswith(("+-", "| "))]  # no tables
    return HandledError(f"tritonserver {how} ({status_text(returncode)})", details=said[-10:])


def model_failures(lines: Sequence[str]) -> tuple[ModelFailure, ...]:
    """Give the models that failed, from the server's last lines."""
    return tuple(_model_failure(text) for text in server_log.model_failures(lines))


def _model_failure(text: str) -> ModelFailure:
    match = server_log.FAILURE.match(text)
    assert match is not None
    name, version = match["name"], match["version"]
    if name is None:
        return ModelFailure(match["ensemble"] or match["last"], None, text)
    return ModelFailure(name, int(version) if version else None, text[match.end() :])


def status_text(status: int | None) -> str:
    """Say how a process ended."""
    if status is None or status >= 0:
        return f"exit status {status}"
    known = {each.value: each.name for each in signal.Signals}
    return f"signal {known.get(-status, -status)}"


def next_step(lines: Sequence[str]) -> str | None:
    """Say what to do about a program that the dynamic loader ended, or a library in it."""
    if any("error while loading shared libraries" in line or "symbol lookup error" in line for line in lines):
        return (
            "a library of the server's, or one that is preloaded, lacks another: see ldd, "
            "and put the folder of the other into LD_LIBRARY_PATH"
        )
    return None

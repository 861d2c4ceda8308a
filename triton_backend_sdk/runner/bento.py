"""What a BentoML service wants of a Runner: errors with the status that fits, and whether it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from triton_backend_sdk.errors import InvalidArgError, NotFoundError, UnavailableError, UnsupportedError
from triton_backend_sdk.runner.runner import Runner
from triton_backend_sdk.tools.server_errors import StartError

#: Seconds: who probes a service waits for about that long.
_PROBE_LIMIT_S = 1.0


@contextmanager
def http_errors() -> Iterator[None]:
    """Answer 400, 404, 503 or 504 where a Runner refuses a call or its server does not answer; else 500.

    BentoML tells a client the words of a 4xx; the others' are in its log.
    """
    from bentoml import exceptions  # noqa: PLC0415  only in a service of BentoML

    try:
        yield
    except NotFoundError as error:
        raise exceptions.NotFound(str(error)) from error
    except (InvalidArgError, UnsupportedError, TypeError, ValueError) as error:
        raise exceptions.InvalidArgument(str(error)) from error
    except (UnavailableError, StartError) as error:
        raise exceptions.ServiceUnavailable(str(error)) from error
    except TimeoutError as error:
        raise exceptions.BentoMLException(str(error), error_code=HTTPStatus.GATEWAY_TIMEOUT) from error


async def is_ready(runner: Runner) -> bool:
    """Tell whether the Runner's server would answer now: not while it is started again."""
    try:
        return bool(await asyncio.wait_for(runner.aio.is_server_ready(), _PROBE_LIMIT_S))
    except Exception:  # whatever keeps it from answering
        return False

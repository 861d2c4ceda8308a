"""What a service of BentoML takes from the SDK: errors with the status that fits, and whether it is ready."""

from __future__ import annotations

import asyncio

import pytest

from triton_backend_sdk.errors import InternalError, InvalidArgError, NotFoundError, UnsupportedError
from triton_backend_sdk.runner import Runner, ServerLostError, StartError
from triton_backend_sdk.runner.bento import http_errors, is_ready

bentoml = pytest.importorskip("bentoml", reason="pip install 'bentoml>=1.4'")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgError("said"), 400),
        (TypeError("said"), 400),
        (UnsupportedError("said"), 400),
        (NotFoundError("said"), 404),
        (ServerLostError("said"), 503),
        (StartError("said"), 503),
        (TimeoutError("said"), 504),
    ],
)
def test_errors_get_the_status_that_fits(error, status):
    with pytest.raises(bentoml.exceptions.BentoMLException, match="said") as caught, http_errors():
        raise error
    assert caught.value.error_code == status
    assert caught.value.__cause__ is error


def test_other_errors_are_bentomls_500():
    with pytest.raises(InternalError, match="said"), http_errors():
        raise InternalError("said")


def test_a_service_is_ready_while_its_server_is(started):
    assert asyncio.run(is_ready(started))
    assert not asyncio.run(is_ready(Runner(url="grpc://127.0.0.1:1")))

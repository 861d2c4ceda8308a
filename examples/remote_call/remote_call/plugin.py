"""Asks a service over HTTP how warm it is in some places; one instance serves hundreds of requests."""

import asyncio
import json
from array import array
from urllib.parse import quote

from triton_backend_sdk import (
    Model,
    ModelInstance,
    NotFoundError,
    Request,
    Response,
    UnavailableError,
    hookimpl,
)


@hookimpl
def model_initialize(model: Model) -> None:
    parameters = model.parameters
    model.state.service = Service(parameters["service"], parameters.get_int("connections", 100))
    model.state.seconds = parameters.get_float("seconds", 5.0)


@hookimpl
async def execute(instance: ModelInstance, request: Request) -> Response:
    state = instance.model.state
    left = request.deadline.remaining()  # None if the client gave no timeout
    seconds = state.seconds if left is None else min(left, state.seconds)
    asked = asyncio.gather(*(state.service.celsius(place.decode()) for place in request["PLACE"].tolist()))
    try:
        values = await asyncio.wait_for(asked, seconds)
    except asyncio.TimeoutError:
        raise UnavailableError(f"{state.service.address} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise UnavailableError(f"{state.service.address} cannot be reached: {error}") from None
    return Response({"CELSIUS": array("f", values)})


class Service:
    """The other side; at most so many connections at the same time."""

    def __init__(self, address: str, connections: int) -> None:
        self.address = address
        self._host, _, self._port = address.rpartition(":")
        self._free = asyncio.Semaphore(connections)

    async def celsius(self, place: str) -> float:
        async with self._free:
            status, body = await self._get(f"/{quote(place)}")
        if status == 404:
            raise NotFoundError(f"the service knows no place {place!r}")
        if status != 200:
            raise UnavailableError(f"{self.address} answered with status {status}")
        return float(json.loads(body)["celsius"])

    async def _get(self, path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(self._host, int(self._port))
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {self.address}\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        return int(head.split(maxsplit=2)[1]), body

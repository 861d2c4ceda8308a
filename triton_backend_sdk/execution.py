"""The ways in which an author may write ``execute``, made into the one that C calls: requests in, a list out.

| written as | means |
|---|---|
| ``def execute(requests)`` | a batch: one Response per request |
| ``def execute(request)`` | called for each request; one that raises fails alone |
| ``def execute(request)`` with ``yield`` | a stream of Responses (decoupled models) |
| ``async def execute(request)`` | requests are served at the same time, on the model's event loop |
| ``async def execute(request)`` with ``yield`` | the same, as streams |
| ``async def execute(requests)`` | batches are served at the same time |
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.errors import InternalError, InvalidArgError
from triton_backend_sdk.event_loop import EventLoop, Job
from triton_backend_sdk.instance_thread import wants_own_thread

if TYPE_CHECKING:
    from triton_backend_sdk.model_instance import ModelInstance
    from triton_backend_sdk.request import Request
    from triton_backend_sdk.sender import ResponseSender

Function = Callable[..., Any]
#: What a plugin may raise without ending the thread that runs it.
_PLUGIN_ERRORS = (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)


def adapt(
    function: Function,
    instance: ModelInstance,
    loop: Callable[[], EventLoop],
    describe: Callable[[BaseException], tuple[int, str]],
) -> Function:
    """Give ``execute(requests)`` or ``execute(instance, requests)`` for a function of any of these kinds.

    :param loop: gives the model's event loop, for coroutines.
    :param describe: gives an exception's code and message, and logs it.
    :raises InvalidArgError: it takes a request and a batch, or it is a generator over a batch or in a model
        that is not decoupled.
    """
    names = tuple(inspect.signature(function).parameters)
    if {"request", "requests"} <= set(names):
        raise InvalidArgError(
            "execute takes both `request` and `requests`: take one, each request or the batch"
        )
    streams = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if streams and "request" not in names:
        raise InvalidArgError(
            "execute is a generator over a batch: let it take `request` instead of `requests`, "
            "and it is called for each"
        )
    if streams and not instance.model.decoupled:
        raise InvalidArgError(
            f"execute yields responses, but model '{instance.model.name}' is not decoupled: add "
            "`model_transaction_policy { decoupled: true }` to its config.pbtxt"
        )
    asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if not asynchronous and "request" not in names:
        return function
    if asynchronous and wants_own_thread(instance.model):
        raise InvalidArgError(
            f"an async execute runs on the model's event loop, not on a thread of the instance's: take the "
            f"parameter 'instance_thread' out of the config of model '{instance.model.name}'"
        )
    call = functools.partial(function, instance=instance) if "instance" in names else function
    if asynchronous:
        concurrent = _Concurrent(call, instance, loop(), describe, single="request" in names, streams=streams)
        instance._drain = concurrent.drain
        return lambda requests: concurrent.execute(requests)  # noqa: PLW0108  a method takes no marker
    if streams:
        return lambda requests: [call(request=request) for request in requests]
    return lambda requests: [_call_single(call, request) for request in requests]


def run_on(loop: EventLoop, function: Function) -> Function:
    """Make a hook about an instance that is a coroutine into one that waits for it."""
    if inspect.signature(function).parameters:
        return lambda instance: loop.run(function(instance=instance))
    return lambda: loop.run(function())


def _call_single(call: Function, request: Request) -> Any:
    try:
        return call(request=request)
    except _PLUGIN_ERRORS as error:
        return error


class _Concurrent:
    """An execute that hands its requests to the event loop and returns.

    It waits while ``max_concurrent_requests`` (a parameter of the model's config) are being served.
    """

    def __init__(
        self,
        call: Function,
        instance: ModelInstance,
        loop: EventLoop,
        describe: Callable[[BaseException], tuple[int, str]],
        *,
        single: bool,
        streams: bool,
    ) -> None:
        self._call = call
        self._loop = loop
        self._describe = describe
        self._single = single
        self._streams = streams
        self._limit = instance.model.parameters.get_int("max_concurrent_requests", 1000)
        if self._limit < 1:
            raise InvalidArgError(
                f"parameter 'max_concurrent_requests' of model '{instance.model.name}' is {self._limit}; "
                "it must be 1 or more"
            )
        self._drain_s = instance.model.parameters.get_float("drain_seconds", 30.0)
        self._name, self._logger = instance.name, instance.logger
        self._watchdog = instance._watchdog
        if self._watchdog is not None:
            self._watchdog.starts_coroutines = True
        self._active = 0
        self._changed = threading.Condition()

    def execute(self, requests: list[Request]) -> list[None]:
        """Start serving a batch."""
        groups = [[request] for request in requests] if self._single else [requests]
        for group in groups:
            self._admit(len(group))
            try:
                self._start(group)
            except BaseException:
                self._done(len(group))
                raise
        return [None] * len(requests)

    def _admit(self, count: int) -> None:
        with self._changed:
            # A batch that is larger than the limit is served alone.
            self._changed.wait_for(lambda: self._active <= max(self._limit - count, 0))
            self._active += count

    def drain(self) -> None:
        """Wait for what is being served: Triton may take one instance of several away while it is."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._active == 0, self._drain_s):
                self._logger.error("%s: %d request(s) outlive their instance", self._name, self._active)

    def _start(self, requests: list[Request]) -> None:
        senders = [request._response_sender() for request in requests]
        if not self._single:
            serve = functools.partial(self._serve_batch, requests, senders)
        elif self._streams:
            serve = functools.partial(self._serve_stream, requests[0], senders[0])
        else:
            serve = functools.partial(self._serve_one, requests[0], senders[0])
        self._loop.start(Job(requests, senders, serve, functools.partial(self._done, len(requests))))

    def _done(self, count: int) -> None:
        with self._changed:
            self._active -= count
            self._changed.notify_all()

    async def _serve_one(self, request: Request, sender: ResponseSender) -> None:
        with self._watched([request], self._call(request=request)) as coroutine:
            await self._answer(sender, coroutine)

    @contextlib.contextmanager
    def _watched(self, requests: list[Request], coroutine: Any) -> Iterator[Any]:
        if self._watchdog is None:
            yield coroutine
            return
        run = self._watchdog.begin(requests)
        run.coroutine = coroutine
        try:
            yield coroutine
        finally:
            self._watchdog.end(run)

    @staticmethod
    async def _answer(sender: ResponseSender, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            sender.send(await coroutine, final=True)
        except _PLUGIN_ERRORS as error:
            _fail(sender, error)

    async def _serve_stream(self, request: Request, sender: ResponseSender) -> None:
        try:
            async with contextlib.aclosing(self._call(request=request)) as responses:
                async for response in responses:
                    sender.send(response)
            sender.close()
        except _PLUGIN_ERRORS as error:
            _fail(sender, error)

    async def _serve_batch(self, requests: list[Request], senders: list[ResponseSender]) -> None:
        try:
            with self._watched(requests, self._call(requests=requests)) as coroutine:
                results = await coroutine
            if not isinstance(results, (list, tuple)) or len(results) != len(senders):
                given = len(results) if isinstance(results, (list, tuple)) else type(results).__name__
                raise InternalError(
                    f"execute returned {given} for {len(senders)} requests; return a list, one each"
                )
        except _PLUGIN_ERRORS as error:
            code, message = self._describe(error)
            for sender in senders:
                sender._fail(code, message)
            return
        for sender, result in zip(senders, results, strict=True):
            try:
                sender.send(result, final=True)
            except _PLUGIN_ERRORS as error:
                _fail(sender, error)


def _fail(sender: ResponseSender, error: BaseException) -> None:
    if not sender.closed:
        sender.send(error, final=True)

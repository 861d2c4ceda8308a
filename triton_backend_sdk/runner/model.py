"""One model of a Runner: called like a function of its inputs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.runner.arguments import (
    as_headers,
    as_name,
    as_request_id,
    as_timeout,
    as_version,
    request_parameters,
)
from triton_backend_sdk.runner.arrays import CASTS
from triton_backend_sdk.runner.binding import BATCHES, Signature
from triton_backend_sdk.runner.errors import NotSupportedError
from triton_backend_sdk.runner.messages import InferRequest, output_wishes
from triton_backend_sdk.runner.result import Result

if TYPE_CHECKING:
    from triton_backend_sdk.runner.core import RunnerCore
    from triton_backend_sdk.runner.transport import Stream

_PARAMETERS = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "parameters")
_COMPRESSION = ("compression", "response_compression")
#: What a call may say beside its tensors.
OPTIONS = (
    "outputs", "request_id", "version", *_PARAMETERS, "headers", "query_params", "client_timeout",
    *_COMPRESSION, "cast", "batch",
)  # fmt: skip


class Model:
    """A model, or one version of it: ``runner["my-model"].run(x)``.

    Tensors go by position, in the order of the model's config, or by name. What else a keyword can be:

    - ``outputs``: names wanted; all if not given.
    - ``request_id``, ``parameters`` (dict), ``headers`` (dict), ``query_params`` (HTTP).
    - ``timeout``: microseconds in the model's queue; ``client_timeout``: seconds until the caller gives up.
    - ``sequence_id``, ``sequence_start``, ``sequence_end``, ``priority``.
    - ``version``: for this call; ``compression`` and ``response_compression``: "gzip" or "deflate".
    - ``cast``: "safe", "same_kind", "unsafe" or "no" by NumPy's rules; ``batch``: "exact", or "auto", which
      gives an input without the batch dimension one of size 1.

    An input that is called like one of these is the input; :meth:`options` says the option then.
    """

    def __init__(
        self,
        core: RunnerCore,
        name: str,
        version: int | str | None = "",
        given: Mapping[str, Any] | None = None,
    ) -> None:
        self._core = core
        self.name = as_name(name)
        #: "": the newest that the model's policy serves.
        self.version = as_version(version)
        self._given = dict(given or {})

    @property
    def versions(self) -> list[str]:
        """The versions that are ready."""
        return list(self._core.fresh_signature(self.name, "").model.versions)

    @property
    def signature(self) -> Signature:
        """The inputs and outputs, from the server."""
        return self._core.signature(self.name, self.version)

    def options(self, **options: Any) -> Model:
        """Give the model with options for every call."""
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise TypeError(f"no option {unknown[0]!r}; there are {', '.join(OPTIONS)}")
        return Model(self._core, self.name, self.version, {**self._given, **options})

    def run(self, /, *tensors: Any, **named: Any) -> Result:
        """Send a request and wait for its response, from any thread.

        :raises TypeError: tensors that are not the model's; the message has the signature.
        :raises ValueError: a shape or a value that does not fit.
        :raises TritonError: of the class of the error's code.
        :raises TimeoutError: no answer within ``client_timeout``.
        """
        signature, request = self._bound(tensors, named, once=True)
        try:
            return self._core.infer(request)
        except InvalidArgError:
            fresh = self._core.fresh_signature(self.name, request.version)
            if _same(fresh, signature):
                raise
        return self._core.infer(self._request(fresh, tensors, named, once=True))

    __call__ = run

    async def async_run(self, /, *tensors: Any, **named: Any) -> Result:
        """Be :meth:`run` for coroutines, in any event loop."""
        signature, request = await self._abound(tensors, named, once=True)
        try:
            return await self._core.ainfer(request)
        except InvalidArgError:
            fresh = await self._core.afresh_signature(self.name, request.version)
            if _same(fresh, signature):
                raise
        return await self._core.ainfer(self._request(fresh, tensors, named, once=True))

    def stream(self, /, *tensors: Any, **named: Any) -> Stream[Result]:
        """Send a request whose model gives any number of responses, and iterate over them.

        Leaving a ``with`` block early, or ``cancel()``, cancels the request. Over HTTP a request is one flat
        row: that is what Triton's generate endpoint takes.
        """
        return self._core.stream(self._bound(tensors, named)[1])

    async def async_stream(self, /, *tensors: Any, **named: Any) -> AsyncIterator[Result]:
        """Be :meth:`stream` for coroutines: ``async for result in model.async_stream(x)``."""
        _, request = await self._abound(tensors, named)
        async for result in self._core.astream(request):
            yield result

    # What is known of a model may be old: somebody else may have loaded it anew, with other inputs. What does
    # not fit, or is refused, is looked at once more with what the server says now.

    def _bound(
        self, tensors: tuple[Any, ...], named: Mapping[str, Any], *, once: bool = False
    ) -> tuple[Signature, InferRequest]:
        version = self._version(self._given)
        if "version" in named and "version" not in self._core.signature(self.name, version).inputs:
            version = self._version(named)
        signature = self._core.signature(self.name, version)
        try:
            return signature, self._request(signature, tensors, named, once=once)
        except (TypeError, ValueError, NotSupportedError):
            fresh = self._core.fresh_signature(self.name, version)
            if _same(fresh, signature):
                raise
        return fresh, self._request(fresh, tensors, named, once=once)

    async def _abound(
        self, tensors: tuple[Any, ...], named: Mapping[str, Any], *, once: bool = False
    ) -> tuple[Signature, InferRequest]:
        version = self._version(self._given)
        if "version" in named and "version" not in (await self._core.asignature(self.name, version)).inputs:
            version = self._version(named)
        signature = await self._core.asignature(self.name, version)
        try:
            return signature, self._request(signature, tensors, named, once=once)
        except (TypeError, ValueError, NotSupportedError):
            fresh = await self._core.afresh_signature(self.name, version)
            if _same(fresh, signature):
                raise
        return fresh, self._request(fresh, tensors, named, once=once)

    def _version(self, given: Mapping[str, Any]) -> str:
        return as_version(given["version"]) if given.get("version") is not None else self.version

    def _request(
        self, signature: Signature, tensors: tuple[Any, ...], named: Mapping[str, Any], *, once: bool
    ) -> InferRequest:
        core = self._core
        if once and signature.model.decoupled:
            raise NotSupportedError(
                f"{self.name} gives any number of responses: take stream() or async_stream(): {signature}"
            )
        if not named and not self._given:
            inputs = signature.bind(tensors, named, cast=core.cast, batch=core.batch)
            return InferRequest(
                self.name, inputs, self.version, headers=core.headers, client_timeout=core.client_timeout
            )
        options, values = dict(self._given), dict(named)
        for name in OPTIONS:
            if name in values and name not in signature.inputs:
                options[name] = values.pop(name)
        cast, batch = options.get("cast", core.cast), options.get("batch", core.batch)
        if cast not in CASTS or batch not in BATCHES:
            raise ValueError(
                f"cast is one of {', '.join(CASTS)}, batch exact or auto: got {cast!r}, {batch!r}"
            )
        said = {name: options[name] for name in _PARAMETERS if name in options}
        headers = options.get("headers")
        wishes = output_wishes(options.get("outputs"))
        for wish in wishes or ():
            if wish.name not in signature.outputs:
                raise ValueError(f"{self.name} has no output {wish.name!r}: {signature}")
        return InferRequest(
            self.name,
            signature.bind(tensors, values, cast=cast, batch=batch),
            self._version(options),
            wishes,
            as_request_id(options.get("request_id", "")),
            request_parameters(**said),
            {**(core.headers or {}), **as_headers(headers)} if headers else core.headers,
            options.get("query_params"),
            as_timeout(options.get("client_timeout", core.client_timeout)),
            (options.get("compression"), options.get("response_compression")),
        )

    def __repr__(self) -> str:
        return f"<Model {self.name}{f' version {self.version}' if self.version else ''}>"


def _same(one: Signature, other: Signature) -> bool:
    return str(one) == str(other)

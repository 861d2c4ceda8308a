"""The Runner: any model on any Triton from three lines of Python."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.runner import metrics, settings, starting
from triton_backend_sdk.runner.arrays import Cast
from triton_backend_sdk.runner.binding import Batch
from triton_backend_sdk.runner.client_methods import ClientMethods, operation, stream_request
from triton_backend_sdk.runner.core import RunnerCore
from triton_backend_sdk.runner.lifecycle import Attached, Backing
from triton_backend_sdk.runner.messages import InferRequest
from triton_backend_sdk.runner.model import Model
from triton_backend_sdk.runner.result import Result
from triton_backend_sdk.runner.shared_memory import SharedMemoryTransport
from triton_backend_sdk.runner.supervised import Restart, Supervised
from triton_backend_sdk.runner.transport import Answer, Stream, Transport
from triton_backend_sdk.tools.server_options.options import ServerOptions

if TYPE_CHECKING:
    from triton_backend_sdk.runner.tail import Tail

_START_TIMEOUT_S = 60.0


class Runner(ClientMethods):
    """Models of a Triton: ``Runner("models")["my-model"].run(x)["OUT"]``.

    A server that it starts listens on loopback, on free ports, and ends with this process however that ends;
    it loads all models unless the options say which. The first call starts it, or ``with``, or :meth:`start`.

    :param model_repository: a folder, several, or s3://, gs://, as:// roots: start a server on them.
    :param url: grpc://HOST:PORT or http://HOST:PORT (or grpcs, https): use a server that runs.
    :param in_process: run Triton's core in this process instead of a server.
    :param protocol: "grpc" (the default) or "http"; TBSDK_RUNNER_PROTOCOL says it too.
    :param options: tritonserver's options; ``fields`` are more of them, one by one: ``log_verbose=1``.
    :param cli_args: more, as ``--flag=value``; ``triton_options`` as ``flag=value``.
    :param name: a label: of the metrics, in messages.
    :param metrics: serve metrics on a free port, for :meth:`metrics`.
    :param metrics_url: with ``url``: where they are, as in http://127.0.0.1:8002/metrics.
    :param shared_memory: large tensors go through system shared memory; the server must be on this machine.
    :param cast: how tensors of another dtype are converted; NumPy's "safe", "same_kind", "unsafe" or "no".
    :param batch: "auto" gives an input that lacks the batch dimension one.
    :param headers: sent with every request; ``client_timeout``: seconds for every request.
    :param start_timeout: seconds until the server must be ready.
    :param restart: how often it is started again when it dies.
    :param on_line: called with each line of its log, on another thread.
    :raises ValueError: arguments that do not go together.
    :raises TypeError: there is no such option.
    """

    def __init__(
        self,
        model_repository: settings.Repository | None = None,
        *,
        url: str | None = None,
        in_process: bool = False,
        protocol: str | None = None,
        options: ServerOptions | Mapping[str, Any] | None = None,
        cli_args: Sequence[str] = (),
        triton_options: Sequence[str] = (),
        name: str = "runner",
        metrics: bool = True,
        metrics_url: str | None = None,
        shared_memory: bool = False,
        cast: Cast = "safe",
        batch: Batch = "exact",
        headers: Mapping[str, str] | None = None,
        client_timeout: float | None = None,
        start_timeout: float = _START_TIMEOUT_S,
        restart: Restart | None = None,
        server: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        **fields: Any,
    ) -> None:
        if (model_repository is None) == (url is None):
            raise ValueError("a Runner takes either a model repository, or the url of a server that runs")
        self.name = name
        wrap: Callable[[Transport], Transport] = _as_it_is
        if shared_memory:
            wrap = functools.partial(SharedMemoryTransport, headers=headers)
        self._supervised: Supervised | None = None
        given: dict[str, Any] = {"server": server, "env": env, "on_line": on_line, "restart": restart}
        given["start_timeout"] = start_timeout != _START_TIMEOUT_S
        backing: Backing
        if model_repository is None:
            given |= {"in_process": in_process, "options": options or cli_args or triton_options or fields}
            if wrong := [name for name, value in given.items() if value]:
                raise ValueError(f"{wrong[0]}: the server at {url} runs already")
            chosen, address = settings.choose_protocol(protocol, url)
            secure = str(url).strip().lower().startswith(("grpcs://", "https://"))
            backing = Attached(chosen, address, secure=secure, metrics_url=metrics_url, wrap=wrap)
        else:
            if metrics_url is not None:
                raise ValueError(
                    "metrics_url goes with url: a server that is started tells where its metrics are"
                )
            roots = settings.repositories(model_repository)
            given_options = settings.server_options(options, cli_args, triton_options, fields)
            plan = starting.Plan(roots, given_options, server, metrics, shared_memory, env, on_line)
            if in_process:
                given |= {"protocol": protocol, "shared_memory": shared_memory}
                backing = starting.in_process(plan, [name for name, value in given.items() if value])
            else:
                chosen, _ = settings.choose_protocol(protocol)
                backing = self._supervised = starting.supervised(
                    plan, chosen, start_timeout=start_timeout, restart=restart or Restart(), wrap=wrap
                )
        self._core = RunnerCore(
            backing, cast=cast, batch=batch, headers=headers, client_timeout=client_timeout
        )
        #: The client methods as coroutines: ``await runner.aio.load_model("m")``.
        self.aio = AsyncClientMethods(self._core)

    # -- models --

    def model(self, name: str, version: int | str | None = None) -> Model:
        """Give a model, or one version of it; the server is asked at its first call."""
        return Model(self._core, name, version)

    def __getitem__(self, name: str) -> Model:
        return self.model(name)

    def __getattr__(self, name: str) -> Model:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self.model(name)

    def __dir__(self) -> Iterable[str]:
        found = set(super().__dir__())
        if self._core.backing.ready:
            with contextlib.suppress(Exception):  # a server that is away is none of dir()'s
                found |= {name for name in self.models() if name.isidentifier()}
        return sorted(found)

    def models(self) -> list[str]:
        """List the models that are ready."""
        rows = self.get_model_repository_index()
        return list(dict.fromkeys(row["name"] for row in rows if row.get("state") == "READY"))

    # -- the server --

    def start(self) -> Runner:
        """Start the server now, if it is not; wait until it is ready.

        :raises StartError: it did not start; says why in its words.
        """
        self._core.backing.transport()
        return self

    def close(self) -> None:
        """Stop what this Runner started, and let go of connections; harmless when done already.

        Calls under way get the server's exit timeout, streams are cancelled.
        """
        self._core.close()

    def __enter__(self) -> Runner:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the server is, with the protocol; "" in process."""
        return self._core.backing.address

    @property
    def server(self) -> Any:
        """The server that this Runner started: ``http_url``, ``grpc_url``, ``metrics_url``, ``pid``, ...

        :raises ValueError: it started none.
        """
        if self._supervised is None:
            raise ValueError("this Runner has started no server")
        return self._supervised.server

    @property
    def restarts(self) -> int:
        """How often the server died and was started again."""
        return self._supervised.restarts if self._supervised is not None else 0

    def log_lines(self) -> list[str]:
        """Give the last lines of the log of what this Runner started."""
        return self._core.backing.log_lines()

    def metrics(self) -> metrics.Metrics:
        """Read the server's metrics; each sample has the label ``runner`` with this one's name."""
        return metrics.parse(self._core.backing.metrics_text(), self.name)

    def stream_infer(
        self,
        inputs_iterator: Iterable[Mapping[str, Any]],
        stream_timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        compression_algorithm: str | None = None,
    ) -> Stream[Answer]:
        """Send requests over one stream (gRPC only), each a dict of ``infer``'s arguments.

        :return: pairs of a result and an error, one of which is None, as they come.
        """
        requests = (stream_request(each) for each in inputs_iterator)
        return self._core.exchange(requests, stream_timeout, headers, compression_algorithm)

    def _do(self, what: str, tail: Tail, /, **arguments: Any) -> Any:
        return self._core.call(self._core.completed(operation(what, tail, arguments)))

    def _infer(self, request: InferRequest) -> Any:
        return self._core.infer(self._core.completed(request))

    def __reduce__(self) -> Any:
        return self._core.__reduce__()

    def __repr__(self) -> str:
        return f"<Runner {self.name}>"


class AsyncClientMethods(ClientMethods):
    """The client methods of a Runner as coroutines, for any event loop."""

    def __init__(self, core: RunnerCore) -> None:
        self._core = core

    def _do(self, what: str, tail: Tail, /, **arguments: Any) -> Coroutine[Any, Any, Any]:
        return self._core.acall(self._core.completed(operation(what, tail, arguments)))

    def _infer(self, request: InferRequest) -> Coroutine[Any, Any, Result]:
        return self._core.ainfer(self._core.completed(request))

    def stream_infer(
        self,
        inputs_iterator: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        stream_timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        compression_algorithm: str | None = None,
    ) -> AsyncIterator[Answer]:
        """Send requests over one stream (gRPC only); see the Runner's. Requests may come from a coroutine."""
        if isinstance(inputs_iterator, AsyncIterable):
            given = _blocking(inputs_iterator, asyncio.get_running_loop())
        else:
            given = iter(inputs_iterator)
        requests = (stream_request(each) for each in given)
        return self._core.aexchange(requests, stream_timeout, headers, compression_algorithm)


def _blocking(
    items: AsyncIterable[Mapping[str, Any]], loop: asyncio.AbstractEventLoop
) -> Iterator[Mapping[str, Any]]:
    """Iterate on another thread over what a loop makes."""
    iterator = items.__aiter__()
    while True:
        try:
            yield asyncio.run_coroutine_threadsafe(_next(iterator), loop).result()
        except StopAsyncIteration:
            return


async def _next(iterator: AsyncIterator[Mapping[str, Any]]) -> Mapping[str, Any]:
    return await iterator.__anext__()


def _as_it_is(transport: Transport) -> Transport:
    return transport

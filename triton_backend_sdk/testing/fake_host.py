"""A plugin's hooks run on NumPy arrays, without server or compiler: what the real thing does and says.

What it checks is what Triton's core and the SDK's C code check; ``tests/testing`` compares the three.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from triton_backend_sdk.caretaker import Caretaker
from triton_backend_sdk.configure import check, completed, declare
from triton_backend_sdk.enums import InstanceGroupKind, RequestFlag
from triton_backend_sdk.errors import InvalidArgError, TritonError
from triton_backend_sdk.lifecycle import InstanceLife
from triton_backend_sdk.metric_registry import MetricRegistry
from triton_backend_sdk.metrics import Metrics
from triton_backend_sdk.model import Backend, Model
from triton_backend_sdk.model_instance import ModelInstance
from triton_backend_sdk.plugins import Plugin
from triton_backend_sdk.testing.fake_batcher import FakeBatcher
from triton_backend_sdk.testing.fake_input import check_inputs
from triton_backend_sdk.testing.fake_memory import FakePool
from triton_backend_sdk.testing.fake_metrics import FakeStore
from triton_backend_sdk.testing.fake_output import OutputSpecs
from triton_backend_sdk.testing.fake_reply import PLUGIN_ERRORS, FakeResponse, FakeResponses, as_client_sees
from triton_backend_sdk.testing.fake_request import FakeRequest
from triton_backend_sdk.testing.fake_sender import Exchanges
from triton_backend_sdk.testing.fake_sequence import FakeSequences
from triton_backend_sdk.testing.fake_server import FakeModel, FakeServer
from triton_backend_sdk.testing.fake_trace import FakeTrace
from triton_backend_sdk.tools.config_text import parse_config
from triton_backend_sdk.watchdog import Watchdogs

if TYPE_CHECKING:
    import numpy.typing as npt

    Given = Mapping[str, Any] | FakeRequest
    Result = FakeResponse | FakeResponses | TritonError


class FakeHost:
    """One model with one instance, driven as Triton would drive it.

    :param plugin: the plugin's module, its name, or a class with hooks.
    :param config: the model's config: a dict, the text of a config.pbtxt, or the Path of one.
    :param backend_config: what ``--backend-config=<name>,key=value`` says.
    :param directory: the model's directory, for plugins that read files; the config file's if not given.
    :param name: the model's name; the config's, or its directory's, if not given.
    :param version: the model's version.
    :param kind: what the instance runs on.
    :param device_id: the device of a GPU instance.
    :param models: what ``model.server`` calls, by name: functions from a dict of arrays to one, generators of
        dicts for decoupled models. ``host.server.calls`` tells what was called.
    :param answer_timeout: seconds after which a request that the plugin leaves unanswered fails the test.
    :raises TritonError: model_initialize or initialize raised; code and message are what the server reports.
    """

    def __init__(
        self,
        plugin: str | ModuleType | type,
        config: Mapping[str, Any] | str | Path,
        *,
        backend_config: Mapping[str, str] | None = None,
        directory: Path | None = None,
        name: str | None = None,
        version: int = 1,
        kind: InstanceGroupKind = InstanceGroupKind.CPU,
        device_id: int = 0,
        models: Mapping[str, FakeModel] | None = None,
        answer_timeout: float = 10.0,
    ) -> None:
        module = _module(plugin)
        parsed = read_config(config)
        if directory is None:
            directory = config.absolute().parent if isinstance(config, Path) else Path.cwd()
        name = name or parsed.get("name") or directory.name
        backend = Backend(
            parsed.setdefault("backend", module.__name__.partition(".")[0]),
            dict(backend_config or {}),
            Path(module.__file__ or ".").absolute().parent.parent,
        )
        parsed["name"] = name
        #: What the plugin's metrics say: ``host.metrics.series("tokens_total", {}).number``.
        self.metrics = FakeStore()
        self.model = Model(
            name=name,
            version=version,
            directory=directory,
            config=parsed,
            backend=backend,
            metrics=Metrics(MetricRegistry(self.metrics), name, version),
        )
        self.server = self.model.server = FakeServer(models or {})
        self.instance = ModelInstance(
            name=f"{name}_0", kind=kind, device_id=device_id, model=self.model, _pool=FakePool()
        )
        self._answer_timeout = answer_timeout
        self._open = False
        self._plugin = Plugin(module)
        try:
            self._start()
        except PLUGIN_ERRORS as error:
            self._plugin.close()
            raise as_client_sees(error) from error
        self._open = True

    def _start(self) -> None:
        plugin = self._plugin
        self._backend_hooks = plugin.backend_manager().hook
        self._backend_hooks.backend_initialize(backend=self.model.backend)
        manager = plugin.model_manager()
        self._model_hooks = manager.hook
        declare(self.model, plugin.signature)
        self.model.config = completed(self.model, plugin.signature, self._model_hooks)
        check(self.model, plugin.signature)
        self._specs = OutputSpecs(self.model)
        self._sequences = FakeSequences(self.model)
        self._model_hooks.model_initialize(model=self.model)
        self._batcher = FakeBatcher(self.model, manager)
        self._life = InstanceLife(plugin, self.instance, Watchdogs(Caretaker(), watch_gil=False))
        self._life.start()
        self._specs.as_given = self.instance.outputs_as_given
        self._execute = self._life.execute()

    def __enter__(self) -> FakeHost:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def not_ready(self) -> str | None:
        """Ask the is_ready hook: give why the instance takes no requests, or None where it does."""
        return self._life.not_ready()

    def close(self) -> None:
        """Call finalize, model_finalize and backend_finalize; harmless when done already."""
        if not self._open:
            return
        self._open = False
        try:
            self._life.stop()
        finally:
            try:
                self._model_hooks.model_finalize(model=self.model)
            finally:
                self._plugin.close()
                self.model.let_go()
                self._backend_hooks.backend_finalize(backend=self.model.backend)

    def request(
        self,
        inputs: Mapping[str, Any],
        *,
        id: str = "",  # noqa: A002  Request's own word
        parameters: Mapping[str, str | int | bool | float] | None = None,
        outputs: Sequence[str] | None = None,
        trace: FakeTrace | None = None,
        timeout_us: int = 0,
        correlation_id: int | str = 0,
        sequence_start: bool = False,
        sequence_end: bool = False,
        states: Mapping[str, Any] | None = None,
    ) -> FakeRequest:
        """Make a request, for :meth:`execute` or to be handed to a function of the plugin.

        :param inputs: as for :meth:`TritonCore.infer`.
        :param outputs: names wanted; all if not given.
        :param trace: records what the plugin reports; without one the request is not traced.
        :param timeout_us: what ``request.deadline`` is made of.
        :param states: by input_name, what it finds instead of what its sequence's last request left.
        :return: a request, whose ``cancel()`` says that its client no longer waits.
        :raises InvalidArgError: the core would refuse it.
        """
        tensors, batch_size = check_inputs(self.model, inputs)
        for name in outputs or ():
            if name not in self._specs.names:
                raise InvalidArgError(f"unexpected inference output '{name}' for model '{self.model.name}'")
        iterative = self.model.config.get("sequence_batching", {}).get("iterative_sequence")
        starts = sequence_start or (iterative and not correlation_id)  # Triton makes it a sequence
        start = RequestFlag.SEQUENCE_START if starts else RequestFlag.NONE
        end = RequestFlag.SEQUENCE_END if sequence_end else RequestFlag.NONE
        return FakeRequest(
            tensors,
            self._specs,
            self.instance,
            self._sequences.request(correlation_id, start | end, states or {}),
            batch_size=batch_size,
            id=id,
            parameters=parameters or {},
            requested_outputs=tuple(sorted(outputs or self._specs.names)),  # as Triton gives them
            trace=trace,
            correlation_id=correlation_id,
            flags=start | end,
            timeout_us=timeout_us,
        )

    def states(self, correlation_id: int | str) -> dict[str, npt.NDArray[Any]]:
        """Give what a sequence's next request will find, by the states' output_name."""
        return self._sequences.of(correlation_id)

    def execute(
        self,
        requests: Given | Sequence[Given],
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Any]:
        """Call the execute hook with one batch, and wait until all is answered; give what each client gets.

        That is, per request, its outputs: a dict from name to array, with ``.parameters``. In a decoupled
        model it is a list of these, with ``.finals`` (how often the final flag was sent: once) and
        ``.empty_final`` (it came alone).

        :param requests: the batch: inputs by name, or a list of these, or what :meth:`request` makes.
        :param errors: "return" puts the TritonError of a failed request, or of one response, in its place,
            where its neighbours are of interest.
        :raises TritonError: the first that failed; the plugin's own exception is its ``__cause__``.
        :raises AssertionError: a request was not answered within ``answer_timeout``.
        """
        single = isinstance(requests, (Mapping, FakeRequest))
        batch = [requests] if single else list(requests)
        exchanges = Exchanges(self._execute, self._made(batch), self._answer_timeout)  # type: ignore[arg-type]
        replies = exchanges.run()
        failed = next(
            (one for reply in replies for one in reply.results if isinstance(one, TritonError)), None
        )
        if failed is not None and errors == "raise":
            raise failed
        return [FakeResponses(reply) if reply.decoupled else reply.results[0] for reply in replies]

    def stream(self, request: Given) -> Iterator[FakeResponse]:
        """Execute one request; give its responses as they come, from a generator one by one.

        Leaving the loop cancels the request, as a client does that goes away. An error is raised at its
        place, and ends the loop.
        """
        for response in Exchanges(self._execute, self._made([request]), self._answer_timeout).follow():
            if isinstance(response, TritonError):
                raise response
            yield response

    def _made(self, requests: Sequence[Given]) -> list[FakeRequest]:
        return [one if isinstance(one, FakeRequest) else self.request(one) for one in requests]

    def batches(self, requests: Sequence[Mapping[str, Any] | FakeRequest]) -> list[list[FakeRequest]]:
        """Divide requests into batches, by rule and hooks, as Triton would if all of them were queued.

        Each can be given to :meth:`execute`.

        :raises TritonError: a batch hook raised, which a server would log.
        """
        try:
            return self._batcher.form(self._made(requests))
        except PLUGIN_ERRORS as error:
            raise as_client_sees(error) from error


def read_config(config: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Give a model's config as a dict of its own.

    :raises InvalidArgError: the file is not there, or is no text format.
    """
    if isinstance(config, Path):
        if not config.is_file():
            raise InvalidArgError(f"no model config: {config} is missing")
        config = config.read_text(encoding="utf-8")
    return parse_config(config) if isinstance(config, str) else dict(config)


def _module(plugin: str | ModuleType | type) -> ModuleType:
    if isinstance(plugin, str):
        return importlib.import_module(plugin)
    if isinstance(plugin, ModuleType):
        return plugin
    # The class alone, as a module may hold others of a test's.
    home = sys.modules[plugin.__module__]
    module = ModuleType(home.__name__)
    module.__file__ = getattr(home, "__file__", None) or f"<{home.__name__}>"
    setattr(module, plugin.__name__, plugin)
    return module

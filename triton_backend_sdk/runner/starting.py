"""From a Runner's arguments to a server, or to Triton's core in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.runner.errors import NotSupportedError, start_error
from triton_backend_sdk.runner.lifecycle import Process
from triton_backend_sdk.runner.settings import check_folders, with_our_defaults
from triton_backend_sdk.runner.supervised import Restart, Supervised
from triton_backend_sdk.runner.transport import Transport
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.remote import check_root
from triton_backend_sdk.tools.server import TritonServer, find_server
from triton_backend_sdk.tools.server_options.options import ServerOptions, is_uri
from triton_backend_sdk.tools.server_options.probe import known_flags

if TYPE_CHECKING:
    from triton_backend_sdk.testing.core import TritonCore

#: Options that the core knows; the others are the network's, or nobody has needed them.
_CORE_OPTIONS = (
    "allow_metrics", "backend_config", "backend_directory", "disable_auto_complete_config", "exit_on_error",
    "exit_timeout_secs", "host_policy", "load_model", "log_file", "log_verbose", "model_control_mode",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What to start."""

    roots: Sequence[str]
    options: ServerOptions
    server: Path | str | None
    metrics: bool
    shared_memory: bool
    env: Mapping[str, str] | None
    on_line: Callable[[str], None] | None


def supervised(
    plan: Plan,
    protocol: str,
    *,
    start_timeout: float,
    restart: Restart,
    wrap: Callable[[Transport], Transport],
) -> Supervised:
    """Give a server that is started at the first call.

    :raises ValueError: with these options the server would not understand the Runner.
    """
    if getattr(plan.options, f"allow_{protocol}") is False:
        raise ValueError(
            f"allow_{protocol}=False, but this Runner speaks {protocol}: choose the other protocol"
        )
    if protocol == "grpc" and (plan.options.grpc_use_ssl or plan.options.grpc_use_ssl_mutual):
        raise ValueError(
            'grpc_use_ssl=True, but this Runner speaks to its own server without TLS: protocol="http" leaves '
            "gRPC to others"
        )
    return Supervised(
        lambda: _server(plan), protocol, start_timeout=start_timeout, restart=restart, wrap=wrap
    )


def _server(plan: Plan) -> TritonServer:
    check_folders(plan.roots)
    installation = find_server(Path(plan.server) if plan.server is not None else None)
    known = known_flags(installation.binary)
    options = with_our_defaults(
        plan.options, metrics=plan.metrics, shared_memory=plan.shared_memory, known=known
    )
    return TritonServer(plan.roots, options, server=installation, env=plan.env, on_line=plan.on_line)


def in_process(plan: Plan, given: Sequence[str]) -> Process:
    """Give a core that is made at the first call.

    :param given: arguments of the Runner that only a server has a use for.
    :raises NotSupportedError: there are any, or such options.
    """
    foreign = [*given, *sorted(set(plan.options.given()) - set(_CORE_OPTIONS))]
    if foreign:
        raise NotSupportedError(
            f"{foreign[0]} has no meaning in process; the options are: {', '.join(_CORE_OPTIONS)}"
        )
    return Process(lambda: _core(plan))


def _core(plan: Plan) -> TritonCore:
    from triton_backend_sdk.testing.core import TritonCore  # noqa: PLC0415  needs cffi

    options = plan.options
    try:
        check_folders(plan.roots)
        server = find_server()
        for root in filter(is_uri, plan.roots):
            check_root(root, server)
        backends = options.backend_directory or server.backends
    except HandledError as error:
        raise start_error(error) from error
    if backends is None:
        raise NotSupportedError("this server has no folder of backends: give backend_directory=")
    core = TritonCore(
        list(plan.roots),
        backends,
        backend_config=_settings(options.backend_config),
        log_verbose=options.log_verbose or 0,
        log_file=Path(options.log_file) if options.log_file else None,
        metrics=plan.metrics if options.allow_metrics is None else options.allow_metrics,
        auto_complete=not options.disable_auto_complete_config,
        host_policy=_settings(options.host_policy),
        exit_timeout=options.exit_timeout_secs if options.exit_timeout_secs is not None else 30,
    )
    try:
        _load(core, options)
    except BaseException:
        core.close()
        raise
    return core


def _load(core: TritonCore, options: ServerOptions) -> None:
    wanted = list(options.load_model or ())
    explicit = (options.model_control_mode or "").lower() == "explicit"
    if "*" in wanted or not (wanted or explicit):
        wanted = list(dict.fromkeys(row["name"] for row in core.index()))
    for name in wanted:
        try:
            core.load(name)
        except Exception:
            if options.exit_on_error is not False:
                raise


def _settings(given: Any) -> dict[str, dict[str, str]]:
    return {
        name: {key: str(value) for key, value in settings.items()} for name, settings in (given or {}).items()
    }

"""What tritonserver would say of its options, said before it starts; and what it would not say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.flags import RESTRICTED, SWITCH, Flag
from triton_backend_sdk.tools.server_options.options import ServerOptions, flags, is_uri
from triton_backend_sdk.tools.server_options.values import texts, value

_SERVICES = (("http", "HTTP", 8000), ("grpc", "GRPC", 8001), ("metrics", "metrics", 8002))
_RESTRICTED = [
    "health",
    "metadata",
    "inference",
    "shared-memory",
    "model-config",
    "model-repository",
    "statistics",
    "trace",
    "logging",
]
_TRACE_MODES = ("triton", "opentelemetry")


class OptionsError(HandledError):
    """Options that tritonserver would refuse, or take for others.

    :param faults: all that is wrong, in its words where it has some.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        message = faults[0] if len(faults) == 1 else f"{len(faults)} of tritonserver's options are wrong"
        super().__init__(message, details=faults if len(faults) > 1 else ())


def check(options: ServerOptions) -> None:
    """Refuse options of which tritonserver would say that they are wrong.

    :raises OptionsError: says all that is wrong.
    """
    found = faults(options)
    if found:
        raise OptionsError(found)


def faults(options: ServerOptions) -> list[str]:
    """Give all that is wrong with options, in tritonserver's words where it has some; [] if nothing is."""
    given = options.given()
    found = [
        text for name, each in given.items() if name in flags() for text in _value_faults(flags()[name], each)
    ]
    for look in (_models, _ports, _repositories, _files, _ssl):
        found += look(options)
    return found


def _value_faults(flag: Flag, given: Any) -> Iterator[str]:
    if flag.form is SWITCH:
        return
    try:
        value(flag, texts(flag, given))
    except (TypeError, ValueError, AttributeError) as error:
        yield str(error)
        return
    if flag.choices and str(given).lower() not in [choice.lower() for choice in flag.choices]:
        yield f"invalid argument for --{flag.name}: {given!r}; it can be {', '.join(flag.choices)}"
    low, high = flag.bounds
    if isinstance(given, (int, float)) and not (low is None or low <= given) & (
        high is None or given <= high
    ):
        upto = f"{low} or more" if high is None else f"{low} to {high}"
        yield f"--{flag.name}={given} is out of bounds; it can be {upto}"
    if flag.form is RESTRICTED:
        yield from _restricted(flag, given)
    if flag.name == "trace-config":
        yield from _trace(given)
    if flag.name == "model-load-gpu-limit":
        for fraction in given.values():
            if not 0 <= fraction <= 1:
                yield f"expects limit fraction to be in range [0.0, 1.0], got {fraction:f}"


def _restricted(flag: Flag, given: Any) -> Iterator[str]:
    kind = "api" if flag.name.startswith("http") else "protocol"
    seen: set[str] = set()
    for name in itertools.chain.from_iterable(group.split(",") for group in given):
        if name not in _RESTRICTED:
            yield f"unknown restricted {kind} '{name}'; there are {', '.join(_RESTRICTED)}"
        elif name in seen:
            yield f"restricted {kind} '{name}' can not be specified in multiple config groups"
        seen.add(name)


def _trace(given: Any) -> Iterator[str]:
    general = given.get("", {}).get("mode")
    for mode in [name for name in given if name] + [general] * (general is not None):
        if str(mode).lower() not in _TRACE_MODES:
            yield (
                f"invalid value for trace mode option: {mode}. Available options are "
                '"triton" and "opentelemetry"'
            )


def _models(options: ServerOptions) -> Iterator[str]:
    models = list(options.load_model or ())
    mode = (options.model_control_mode or "none").lower()
    if models and mode != "explicit":
        yield "Error: Use of '--load-model' requires setting '--model-control-mode=explicit' as well."
    if "*" in models and len(set(models)) > 1:
        yield "Wildcard model name '*' must be the ONLY startup model if specified at all."
    if options.repository_poll_secs is not None and mode != "poll":
        yield "--repository-poll-secs has no effect without --model-control-mode=poll"
    if options.model_config_name == "":
        yield "Error: empty argument for --model-config-name"


def _ports(options: ServerOptions) -> Iterator[str]:
    used: list[tuple[str, str, int]] = []
    http_address = options.http_address or "0.0.0.0"  # noqa: S104  tritonserver's own default
    for service, label, default in _SERVICES:
        if getattr(options, f"allow_{service}") is False:
            continue
        address = getattr(options, f"{service}_address")
        address = address or (http_address if service == "metrics" else "0.0.0.0")  # noqa: S104
        port = getattr(options, f"{service}_port")
        port = default if port is None else port
        for other, at, taken in used:
            if port == taken and (at == address or "0.0.0.0" in (at, address)):  # noqa: S104
                yield (
                    f"The server cannot listen to {other} requests and {label} requests at the same address "
                    f"and port {address}:{port}"
                )
        used.append((label, address, port))


def _repositories(options: ServerOptions) -> Iterator[str]:
    if not options.model_repository:
        yield "Invalid argument - --model-repository must be specified"
    for place in options.model_repository or ():
        if not is_uri(place) and not Path(place).is_dir():
            yield f"failed to stat file {place}: there is no such model repository"


def _files(options: ServerOptions) -> Iterator[str]:
    names: Sequence[str] = ("backend_directory", "cache_directory", "repoagent_directory")
    for name in names:
        place = getattr(options, name)
        if place is not None and not Path(place).is_dir():
            yield f"--{name.replace('_', '-')}: there is no folder {place}"
    for name in ("grpc_server_cert", "grpc_server_key", "grpc_root_cert"):
        place = getattr(options, name)
        if place is not None and not Path(place).is_file():
            yield f"--{name.replace('_', '-')}: there is no file {place}"
    for place in options.preload or ():
        if not Path(place).is_file():
            yield f"preload: there is no library {place}; the system would ignore that and go on without it"


def _ssl(options: ServerOptions) -> Iterator[str]:
    wanted = bool(options.grpc_use_ssl or options.grpc_use_ssl_mutual)
    for name in ("grpc_server_cert", "grpc_server_key", "grpc_root_cert"):
        if getattr(options, name) is not None and not wanted:
            yield f"--{name.replace('_', '-')} has no effect without --grpc-use-ssl=true"

"""What tritonserver would say of its options, said before it starts; and what it would not say."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.deprecated import level
from triton_backend_sdk.tools.server_options.flags import RESTRICTED, SETTINGS, SWITCH, Flag
from triton_backend_sdk.tools.server_options.options import ServerOptions, flags, is_uri
from triton_backend_sdk.tools.server_options.values import (
    InvalidOptionError,
    plain,
    plain_text,
    texts,
    value,
)

#: Flag's name, tritonserver's name, default port, whether it is on by default.
_SERVICES = (
    ("http", "HTTP", 8000, True),
    ("grpc", "GRPC", 8001, True),
    ("metrics", "metrics", 8002, True),
    ("sagemaker", "SageMaker", 8080, False),
    ("vertex_ai", "Vertex AI", 8080, False),
)
_EVERYWHERE = "0.0.0.0"  # noqa: S104  tritonserver's own default
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
#: Settings of a mode, or of none, that are whole numbers.
_TRACE_NUMBERS = {
    "": ("rate", "count"),
    "triton": ("log-frequency",),
    "opentelemetry": ("bsp_max_queue_size", "bsp_schedule_delay", "bsp_max_export_batch_size"),
}
_HOST_POLICY = ("numa-node", "cpu-cores")


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
    given = {name: value for name, value in options.given().items() if name in flags()}
    wrong = {name: list(_value_faults(flags()[name], value)) for name, value in given.items()}
    found = list(itertools.chain.from_iterable(wrong.values()))
    sound = options.replaced(**{name: None for name, texts in wrong.items() if texts})
    for look in (_models, _addresses, _ports, _repositories, _files, _ssl):
        found += look(sound)
    return found


def _value_faults(flag: Flag, given: Any) -> Iterator[str]:
    if flag.form is SWITCH:
        if not isinstance(given, bool):
            yield f"--{flag.name} is true or false, not {given!r}"
        return
    try:
        read = value(flag, texts(flag, given))
    except InvalidOptionError as error:
        yield str(error)
        return
    if flag.form in (SETTINGS, RESTRICTED) and _as_texts(read) != _as_texts(given):
        yield f"--{flag.name}: tritonserver would read {read} from what is written for {given}"
    yield from _bounds(flag, read)
    if flag.form is RESTRICTED:
        yield from _restricted(flag, given)
    if flag.name == "trace-config":
        yield from _trace(read)
    if flag.name == "host-policy":
        for setting in itertools.chain.from_iterable(read.values()):
            if setting not in _HOST_POLICY:
                yield (
                    f"Unsupported host policy setting '{setting}' is specified, supported settings are "
                    "'numa-node', 'cpu-cores'"
                )


def _as_texts(value: Any) -> Any:
    """Give settings as a command line has them."""
    if isinstance(value, Mapping):
        return {str(name): _as_texts(each) for name, each in value.items() if each != {}}
    if isinstance(value, (list, tuple)):
        return _as_texts(value[0]) if len(value) == 1 else [_as_texts(each) for each in value]
    return plain_text(value)


def _bounds(flag: Flag, given: Any) -> Iterator[str]:
    low, high = flag.bounds
    for number in given.values() if isinstance(given, dict) else [given]:
        if flag.name == "model-load-gpu-limit" and not 0 <= number <= 1:
            yield f"expects limit fraction to be in range [0.0, 1.0], got {number:f}"
        elif isinstance(number, (int, float)) and not (
            (low is None or low <= number) and (high is None or number <= high)
        ):
            upto = f"{low} or more" if high is None else f"{low} to {high}"
            yield f"--{flag.name}={number} is out of bounds; it can be {upto}"


def _restricted(flag: Flag, given: Any) -> Iterator[str]:
    kind = "api" if flag.name.startswith("http") else "protocol"
    seen: set[str] = set()
    for name in itertools.chain.from_iterable(group.split(",") for group in given):
        if name not in _RESTRICTED:
            yield f"unknown restricted {kind} '{name}'; there are {', '.join(_RESTRICTED)}"
        elif name in seen:
            yield f"restricted {kind} '{name}' can not be specified in multiple config groups"
        seen.add(name)


def _trace(given: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    chosen = [text for name, setting, text in _settings(given) if (name, setting) == ("", "mode")]
    wrong = [mode for mode in (*filter(None, given), *chosen) if mode.lower() not in _TRACE_MODES]
    for mode in wrong:
        yield (
            f"invalid value for trace mode option: {mode.lower()}. Available options are "
            '"triton" and "opentelemetry"'
        )
    mode = chosen[-1].lower() if chosen else "triton"
    for name, setting, text in _settings(given):
        if (name, setting) == ("", "level"):
            yield from _refused(setting, level, text)
        # What belongs to the other mode is not looked at.
        elif name.lower() in ("", mode) and setting in _TRACE_NUMBERS.get(name.lower(), ()):
            yield from _refused(f"{name},{setting}" if name else setting, _whole, text)


def _settings(given: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for name, settings in given.items():
        for setting, several in settings.items():
            for text in several if isinstance(several, list) else [several]:
                yield name, setting, text


def _whole(text: str) -> int:
    return int(plain(Flag("trace-config", (2, 4), "", "", int), int, text))


def _refused(setting: str, read: Callable[[str], Any], text: str) -> Iterator[str]:
    try:
        read(text)
    except InvalidOptionError as error:
        yield f'Bad option: "--trace-config {setting}". {error}'


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


def _addresses(options: ServerOptions) -> Iterator[str]:
    for name in ("http_address", "metrics_address"):
        address = getattr(options, name)
        # A name such as localhost is among what it takes for 255.255.255.255.
        if address is not None and not _is_address(address):
            yield (
                f"--{name.replace('_', '-')}={address}: tritonserver would listen where nobody reaches it; "
                "write an address such as 127.0.0.1, or ipv6:::1"
            )
    grpc = options.grpc_address
    if grpc is not None and ":" in grpc and not grpc.startswith("["):
        yield f"--grpc-address={grpc}: an IPv6 address is written as [{grpc}]"


def _is_address(text: str) -> bool:
    before, v6, after = text.partition("ipv6:")
    try:
        ipaddress.IPv6Address(after) if v6 and not before else ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _ports(options: ServerOptions) -> Iterator[str]:
    used: list[tuple[str, str, int]] = []
    low, high = options.sagemaker_safe_port_range or (0, 65535)
    for service, label, default, on in _SERVICES:
        allowed = getattr(options, f"allow_{service}")
        if not (on if allowed is None else allowed):
            continue
        address = getattr(options, f"{service}_address", None)
        if address is None:
            address = (options.http_address if service == "metrics" else None) or _EVERYWHERE
        port = getattr(options, f"{service}_port")
        port = default if port is None else port
        for other, at, taken in used:
            if port == taken and (at == address or _EVERYWHERE in (at, address)):
                yield (
                    f"The server cannot listen to {other} requests and {label} requests at the same address "
                    f"and port {address}:{port}"
                )
        if options.allow_sagemaker and service != "sagemaker" and not low <= port <= high:
            yield (
                f"The server cannot listen to {label} requests at port {port}, allowed port range is "
                f"[{low}, {high}]"
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

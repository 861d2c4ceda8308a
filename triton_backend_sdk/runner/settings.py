"""How a Runner is set up: protocol, repositories and options, from arguments and the environment."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.options import ServerOptions, flags, is_uri
from triton_backend_sdk.tools.server_options.values import InvalidOptionError

Protocol: TypeAlias = Literal["grpc", "http"]
Repository: TypeAlias = str | Path | Sequence[str | Path]

_SCHEMES = {"grpc": "grpc", "grpcs": "grpc", "http": "http", "https": "http"}
#: What belongs to the Runner itself; the values say what to write instead.
_OURS = {
    "model_repository": "give the repository as Runner's first argument",
    "model_store": "give the repository as Runner's first argument",
}


def choose_protocol(given: str | None, url: str | None = None) -> tuple[Protocol, str]:
    """Give the protocol and the address: the argument's, the URL's, the environment's, or gRPC.

    TBSDK_RUNNER_PROTOCOL is ``grpc`` or ``http``; BENTOML_USE_HTTP_TRITONSERVER asks for HTTP.

    :raises ValueError: there is no such protocol, or argument and URL differ.
    """
    scheme, address = _parts(url) if url is not None else (None, "")
    chosen = given or _SCHEMES.get(scheme or "") or _of_environment()
    if chosen not in ("grpc", "http"):
        raise ValueError(f"protocol must be 'grpc' or 'http', not {chosen!r}")
    if scheme is not None and _SCHEMES[scheme] != chosen:
        raise ValueError(f"protocol {chosen!r} contradicts url {url!r}")
    return ("grpc" if chosen == "grpc" else "http"), address


def _parts(url: str) -> tuple[str | None, str]:
    """Give the scheme, if there is one, and HOST:PORT."""
    expected = f"url {url!r}: expected grpc://HOST:PORT or http://HOST:PORT"
    if not isinstance(url, str):
        raise TypeError(f"{expected}, as a str")
    text = url.strip()
    scheme = None
    if "://" in text:
        scheme, _, text = text.partition("://")
        if scheme.lower() not in _SCHEMES:
            raise ValueError(f"{expected}, or grpcs:// or https://")
    parts = urlsplit(f"//{text.rstrip('/')}")
    try:
        complete = parts.hostname and parts.port
    except ValueError:  # no number, or too large
        complete = None
    if not complete:
        raise ValueError(expected + (" (an IPv6 address in brackets)" if text.count(":") > 1 else ""))
    if parts.username is not None:
        raise ValueError(f"{expected}; a password goes by headers={{'authorization': ...}}")
    if parts.path or parts.query or parts.fragment:
        raise ValueError(f"{expected}, and nothing behind it")
    return scheme and scheme.lower(), parts.netloc


def _of_environment() -> str:
    named = os.environ.get("TBSDK_RUNNER_PROTOCOL", "").lower()
    if named:
        if named not in ("grpc", "http"):
            raise ValueError(f"TBSDK_RUNNER_PROTOCOL must be 'grpc' or 'http', not {named!r}")
        return named
    http = os.environ.get("BENTOML_USE_HTTP_TRITONSERVER", "").lower()
    return "http" if http not in ("", "0", "false", "no") else "grpc"


def repositories(given: Repository) -> list[str]:
    """Give the roots, local ones as absolute paths, so that a later chdir changes nothing."""
    several = [given] if isinstance(given, (str, Path)) else list(given)
    if not several:
        raise ValueError("a Runner needs a model repository, or a url")
    return [str(each) if is_uri(each) else str(Path(each).expanduser().absolute()) for each in several]


def check_folders(roots: Sequence[str]) -> None:
    """Look whether the roots that are folders are there, before a server does.

    :raises HandledError: one is not.
    """
    for root in roots:
        if not is_uri(root) and not Path(root).is_dir():
            raise HandledError(
                f"there is no model repository {root}", "the path of a folder of models was expected"
            )


def server_options(
    options: ServerOptions | Mapping[str, Any] | None,
    cli_args: Sequence[str],
    triton_options: Sequence[str],
    fields: Mapping[str, Any],
) -> ServerOptions:
    """Put together what tritonserver is started with; later sources win, nothing given is changed or dropped.

    :param cli_args: ``--flag=value``, as BentoML's Runner takes them.
    :param triton_options: ``flag=value``, as its command line took them; TBSDK_RUNNER_OPTIONS likewise.
    :param fields: options one by one.
    :raises TypeError: there is no such option.
    :raises InvalidOptionError: there is no such flag, or its value cannot be.
    :raises ValueError: it is the Runner's to set.
    """
    wrong = [text for text in cli_args if not isinstance(text, str) or not text.startswith("--")]
    if isinstance(cli_args, str) or wrong:
        raise ValueError(
            "cli_args takes strings that start with '--', such as '--log-verbose=1', "
            f"not {wrong or cli_args!r}"
        )
    environ = shlex.split(os.environ.get("TBSDK_RUNNER_OPTIONS", ""))
    argv = [*cli_args, *(_as_flag(text) for text in (*environ, *triton_options))]
    given: dict[str, Any] = {}
    if options is not None:
        made = options if isinstance(options, ServerOptions) else ServerOptions.from_dict(options)
        given |= made.given()
    given |= ServerOptions.from_argv(argv).given()
    given |= ServerOptions(**{name: value for name, value in fields.items() if value is not None}).given()
    for name, instead in _OURS.items():
        if name in given:
            raise ValueError(f"{name} cannot be given among the options: {instead}")
    return ServerOptions(**given)


def _as_flag(text: str) -> str:
    """Read ``model-control-mode=explicit`` or ``model_control_mode:explicit``."""
    cut = min((at for at in (text.find("="), text.find(":")) if at >= 0), default=-1)
    if cut < 0:
        raise InvalidOptionError(f"triton option {text!r}: expected NAME=VALUE")
    name = text[:cut].strip().lstrip("-").replace("_", "-")
    if name.replace("-", "_") in _OURS:
        raise ValueError(f"triton option {name!r} is not for here: {_OURS[name.replace('-', '_')]}")
    return f"--{name}={text[cut + 1 :]}"


def with_our_defaults(
    options: ServerOptions, *, metrics: bool, shared_memory: bool, known: frozenset[str]
) -> ServerOptions:
    """Add what a Runner's server has unless told otherwise: all models, which can be loaded and unloaded.

    :param known: the flags of the server at hand.
    """
    given = options.given()
    defaults: dict[str, Any] = {}
    if "model_control_mode" not in given:
        defaults["model_control_mode"] = "explicit"
        if "load_model" not in given:
            defaults["load_model"] = ["*"]
    if "allow_metrics" not in given:
        defaults["allow_metrics"] = metrics
    if shared_memory and "allow-client-shm" in known and "allow_client_shm" in flags():
        defaults["allow_client_shm"] = True
    return options.with_defaults(**defaults)

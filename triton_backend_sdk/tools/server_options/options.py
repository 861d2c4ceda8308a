"""tritonserver's command line as an object."""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.server_options import values
from triton_backend_sdk.tools.server_options.deprecated import DEPRECATED, modern
from triton_backend_sdk.tools.server_options.fields import Fields
from triton_backend_sdk.tools.server_options.flags import SWITCH, Flag, flags_of
from triton_backend_sdk.tools.server_options.values import InvalidOptionError, plain_text


@dataclass(kw_only=True)
class ServerOptions(Fields):
    """What tritonserver is started with: a field per flag, ``http_port`` for ``--http-port``.

    ::

        ServerOptions(model_repository=["models"], http_port=8000, backend_config={"python": {"a": 1}})

    :raises TypeError: there is no such flag; says which one is close.
    """

    #: Libraries that the server loads before all others (LD_PRELOAD), such as custom operations.
    preload: Sequence[Path | str] | None = None

    def __new__(cls, **fields: Any) -> ServerOptions:
        """Refuse an unknown name in words that help."""
        for name in fields:
            _refuse_unknown(name, names())
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Take one for several where several may be given, and ``"8000"`` for 8000."""
        for name, value in self.given().items():
            flag = flags().get(name)
            if name in _SEVERAL and isinstance(value, (str, Path)):
                setattr(self, name, [value])
            elif flag and flag.type in (bool, int, float) and flag.form in (None, SWITCH):
                with contextlib.suppress(InvalidOptionError):  # the checks tell
                    setattr(self, name, values.plain(flag, flag.type, plain_text(value)))

    def given(self) -> dict[str, Any]:
        """Give the fields that are set, by name."""
        found = {name: getattr(self, name) for name in names()}
        return {name: value for name, value in found.items() if value is not None}

    def to_argv(self) -> list[str]:
        """Give the flags as ``--flag=value``, in the order of tritonserver's help."""
        return [
            text for name, value in self.given().items() if name in flags() for text in _written(name, value)
        ]

    @classmethod
    def from_argv(cls, argv: Sequence[str], *, strict: bool = False) -> ServerOptions:
        """Read a command line of tritonserver's, without the program's name; old flags are translated.

        :param strict: refuse old flags; otherwise each is a DeprecationWarning.
        :raises InvalidOptionError: a flag that does not exist, or a value that tritonserver would refuse.
        """
        given: dict[str, list[str]] = {}
        for name, text in modern(list(_flags_in(argv)), strict):
            given.setdefault(name.replace("-", "_"), []).append(text)
        return cls(**{name: read(flags()[name], each) for name, each in given.items()})

    def to_dict(self) -> dict[str, Any]:
        """Give the fields that are set as plain values, for YAML or JSON."""
        return {name: _plain(value) for name, value in self.given().items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ServerOptions:
        """Make options of what :meth:`to_dict` gave; names may have dashes, as in tritonserver's help.

        :raises TypeError: a name does not exist.
        """
        return cls(**{field_of(name): value for name, value in fields.items()})

    def with_defaults(self, **defaults: Any) -> ServerOptions:
        """Give a copy in which the fields that are not set have these values."""
        return type(self)(**{**defaults, **self.given()})

    def replaced(self, **fields: Any) -> ServerOptions:
        """Give a copy in which these fields have these values; None leaves one to the server."""
        return type(self)(**{**self.given(), **fields})

    def absolute(self, base: Path) -> ServerOptions:
        """Give a copy in which no path depends on the folder that the server is started in.

        :param base: what relative paths are relative to.
        """
        return type(self)(
            **{
                name: _absolute(base, value) if name in _PATHS else value
                for name, value in self.given().items()
            }
        )


def names() -> list[str]:
    """Give the names of all fields."""
    return [*flags(), "preload"]


def field_of(name: str) -> str:
    """Give the field that a name stands for, in which dashes may be written as in tritonserver's help.

    :raises TypeError: there is none; says which one is close, in the same spelling.
    """
    spelt = names() if "_" in name else [each.replace("_", "-") for each in names()]
    field = name.replace("-", "_")
    if field not in names():
        _refuse_unknown(name, spelt)
    return field


def _refuse_unknown(name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        raise TypeError(f"tritonserver has no option '{name}'{meant}")


@functools.cache
def flags() -> Mapping[str, Flag]:
    """Give all flags, by the names of their fields."""
    return flags_of(Fields)


#: Fields with several plain values, each of which may be given alone.
_SEVERAL = ("model_repository", "load_model", "preload")
_PATHS = (
    *("model_repository", "preload", "log_file"),
    *("backend_directory", "repoagent_directory", "cache_directory"),
    *("grpc_server_cert", "grpc_server_key", "grpc_root_cert"),
)


def _absolute(base: Path, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_absolute(base, each) for each in value]
    # absolute() keeps links and `..`: the server shall show the path that was given
    return value if is_uri(value) else (base / Path(value).expanduser()).absolute()


def is_uri(place: str | Path) -> bool:
    """Tell whether a model repository is no folder of this machine: s3://, gs://, as://."""
    return "://" in str(place)


def read(flag: Flag, given: list[str]) -> Any:
    """Give a flag's value from what followed it on a command line.

    :raises InvalidOptionError: tritonserver would refuse it, or read something else from it.
    """
    return True if flag.form is SWITCH else values.value(flag, given)


def _written(name: str, value: Any) -> Iterator[str]:
    flag = flags()[name]
    if flag.form is SWITCH:
        if value:
            yield f"--{flag.name}"
        return
    if name == "grpc_use_ssl_mutual" and value is False:
        return  # tritonserver would turn TLS on for that, too
    for text in values.texts(flag, value):
        yield f"--{flag.name}={text}"


def _flags_in(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Take a command line apart as getopt_long does: ``--flag=value``, ``--flag value``, clear prefixes."""
    following = iter(itertools.pairwise([*argv, "--"]))
    for argument, after in following:
        if not argument.startswith("--") or argument == "--":
            raise InvalidOptionError(f"Unexpected argument: {argument}")
        name, equals, text = argument[2:].partition("=")
        name = _full_name(name)
        flag = flags().get(name.replace("-", "_"))
        switch = flag is not None and flag.form is SWITCH
        if equals and switch:
            raise InvalidOptionError(f"option '--{name}' doesn't allow an argument")
        if not equals and not switch:
            if after == "--":
                raise InvalidOptionError(f"--{name} needs a value: --{name}=...")
            text = after
            next(following)
        yield name, text


def _full_name(given: str) -> str:
    names = [flag.name for flag in flags().values()] + list(DEPRECATED)
    if given in names:
        return given
    begun = [name for name in names if name.startswith(given)]
    if len(begun) == 1:
        return begun[0]
    close = begun[:3] or difflib.get_close_matches(given, names, n=1)
    meant = f"; did you mean --{' or --'.join(close)}?" if close else ""
    raise InvalidOptionError(f"tritonserver has no option --{given}{meant}")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value

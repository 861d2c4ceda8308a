"""What is known of a flag of tritonserver: since when there is one, its group in the help, its form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The groups of tritonserver's help, in its order.
GROUPS = (
    "Server",
    "Logging",
    "Model repository",
    "HTTP",
    "gRPC",
    "Sagemaker",
    "Vertex",
    "Metrics",
    "Tracing",
    "Backend",
    "Repository agent",
    "Response cache",
    "Rate limiter",
    "Memory and devices",
    "Shared memory",
)


@dataclass(frozen=True)
class Form:
    """How a flag's value is written where it is no plain one: ``name`` and ``setting`` around delimiters."""

    #: As tritonserver's help shows it.
    metavar: str
    #: Between the first part and the rest; "" where there is no first part.
    first: str = ""
    #: Between the last two parts.
    second: str = ""


SETTINGS = Form("NAME,SETTING=VALUE", ",", "=")
RESTRICTED = Form("API,...:KEY=VALUE", ":", "=")
BY_DEVICE = Form("DEVICE:NUMBER", "", ":")
RESOURCES = Form("NAME:COUNT[:DEVICE]", ":", ":")
RANGE = Form("FIRST-LAST", "", "-")
SWITCH = Form("")


@dataclass(frozen=True)
class Flag:
    """One flag, as the field of :class:`ServerOptions` that stands for it declares it."""

    #: Its name on the command line, without the dashes.
    name: str
    #: The first server version that has it.
    since: tuple[int, int]
    group: str
    help: str
    #: The type of its value, or of each where it repeats: str, int, bool, float, Path.
    type: type
    form: Form | None = None
    #: It may be given several times.
    repeats: bool = False
    #: What it can be, where that is fixed.
    choices: tuple[str, ...] = ()
    #: From, to: where it is bounded.
    bounds: tuple[float | None, float | None] = (None, None)


def flag(since: str, group: str, help: str, type: type = str, **more: Any) -> Any:  # noqa: A002  the words for it
    """Declare a field of :class:`ServerOptions`; its name gives the flag's."""
    major, minor = since.split(".")
    metadata = {"since": (int(major), int(minor)), "group": group, "help": help, "type": type, **more}
    return dataclasses.field(default=None, metadata=metadata)


def flags_of(cls: type) -> Mapping[str, Flag]:
    """Give the flags that a class declares, by the names of its fields."""
    return {
        field.name: Flag(name=field.name.replace("_", "-"), **field.metadata)
        for field in dataclasses.fields(cls)
        if "since" in field.metadata
    }

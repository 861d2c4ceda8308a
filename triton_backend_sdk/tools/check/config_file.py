"""A config.pbtxt, read with Triton's own schema, and where each of its fields stands."""

from __future__ import annotations

import functools
import re
from typing import Any

from triton_backend_sdk.tools.check.dialect import DialectError, for_python, in_decimals
from triton_backend_sdk.tools.check.finding import Place
from triton_backend_sdk.tools.check.positions import FieldPath, Position, positions
from triton_backend_sdk.tools.errors import HandledError

_ERROR = re.compile(r"(?P<line>\d+):(?P<column>\d+) : (?P<said>.*)", re.DOTALL)


class ConfigFile:
    """One config.pbtxt.

    :param path: as findings show it.
    :param error: why there is no text.
    """

    def __init__(self, path: str, text: str, error: str | None = None) -> None:
        self.path = path
        self.text = text
        #: An ``inference.ModelConfig``; None where the text is none.
        self.message: Any = None
        #: Why it is none, and where.
        self.error = error
        self.error_place = Place(path)
        if error is None:
            self._read()

    def _read(self) -> None:
        try:
            text = for_python(self.text)
        except DialectError as error:
            line = self.text.count("\n", 0, error.at) + 1
            self.error = str(error)
            self.error_place = Place(self.path, line, error.at - self.text.rfind("\n", 0, error.at))
            return
        while (other := self._parse(text)) is not None:
            text = other

    def _parse(self, text: str) -> str | None:
        """Read a text, and give what to read in its place where that is only how Python reads numbers."""
        model_config, text_format = _schema()
        try:
            self.message = text_format.Parse(text, model_config())
        except text_format.ParseError as error:
            return self._refuse(str(error), text)
        except ValueError as error:  # a number that no enumeration can hold
            self.error = str(error)
        return None

    def _refuse(self, said: str, text: str) -> str | None:
        place = Place(self.path)
        if match := _ERROR.fullmatch(said):
            line, column = int(match["line"]), int(match["column"])
            place = Place(self.path, line, column)
            # Some of its sentences begin with the line itself, which may be long.
            said = match["said"].removeprefix(f"'{text.split(chr(10))[line - 1]}': ")
            if (other := in_decimals(text, line, column, said)) is not None:
                return other
        self.error, self.error_place = said, place
        return None

    def place(self, *path: str | int) -> Place:
        """Give the place of a field, or of the nearest one around it that is written."""
        for length in range(len(path), 0, -1):
            if (found := self._positions.get(path[:length])) is not None:
                return Place(self.path, *found)
        return Place(self.path)

    @functools.cached_property
    def _positions(self) -> dict[FieldPath, Position]:
        return {} if self.message is None else positions(self.text, self.message)


@functools.cache
def _schema() -> tuple[Any, Any]:
    try:
        from google.protobuf import text_format  # noqa: PLC0415  only where configs are read
        from tritonclient.grpc import model_config_pb2  # noqa: PLC0415
    except ImportError as error:
        raise HandledError(
            "Triton's schema of config.pbtxt is not installed: it comes with tritonclient",
            "pip install 'tritonclient[grpc]'",
        ) from error
    return model_config_pb2.ModelConfig, text_format

"""The parameters of a model, as a plugin reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from triton_backend_sdk.errors import InvalidArgError, NotFoundError
from triton_backend_sdk.specs import Parameter

T = TypeVar("T")
V = TypeVar("V", str, int, float, bool)
_REQUIRED: Any = object()
_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


class Parameters(Mapping[str, str]):
    """The ``parameters`` of a model's config: strings, as Triton has them, with typed access.

    ``model.parameters.get_int("threads", 4)`` reads
    ``parameters { key: "threads" value { string_value: "8" } }``.
    """

    def __init__(self, values: Mapping[str, str], model: str) -> None:
        self._values = dict(values)
        self._model = model

    def __getitem__(self, name: str) -> str:
        try:
            return self._values[name]
        except KeyError:
            known = ", ".join(sorted(self._values)) or "none"
            raise NotFoundError(
                f"model '{self._model}' needs the parameter '{name}' in its config.pbtxt; it has {known}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_str(self, name: str, default: str = _REQUIRED) -> str:
        """Give a parameter.

        :raises NotFoundError: it is not there and has no default.
        """
        return self._get(name, default, str, "a string")

    def get_int(self, name: str, default: int = _REQUIRED) -> int:
        """Give a parameter as an int; see :meth:`get_str`.

        :raises InvalidArgError: the value is none.
        """
        return self._get(name, default, int, "an integer")

    def get_float(self, name: str, default: float = _REQUIRED) -> float:
        """Give a parameter as a float; see :meth:`get_int`."""
        return self._get(name, default, float, "a number")

    def get_bool(self, name: str, default: bool = _REQUIRED) -> bool:
        """Give a parameter as a bool (true, false, yes, no, on, off, 1, 0); see :meth:`get_int`."""
        return self._get(name, default, lambda text: _BOOLEANS[text.strip().lower()], "a boolean")

    def read(self, parameter: Parameter[V]) -> V:
        """Give a declared parameter as its type; see :meth:`get_int`."""
        default = _REQUIRED if parameter.default is None else parameter.default
        value: V = getattr(self, f"get_{parameter.kind.__name__}")(parameter.name, default)
        return value

    def declare(self, parameters: Iterable[Parameter[Any]]) -> None:
        """Check what a plugin's Signature declares, and give the defaults of what the config leaves out.

        :raises InvalidArgError: a value is not of its type.
        :raises NotFoundError: one is not there and has no default.
        """
        for parameter in parameters:
            self.read(parameter)
            self._values.setdefault(parameter.name, parameter.text())

    def _get(self, name: str, default: T, convert: Any, kind: str) -> T:
        if name not in self._values and default is not _REQUIRED:
            return default
        text = self[name]
        try:
            value: T = convert(text)
        except (ValueError, KeyError):
            raise InvalidArgError(
                f"parameter '{name}' of model '{self._model}' is '{text}'; it must be {kind}"
            ) from None
        return value

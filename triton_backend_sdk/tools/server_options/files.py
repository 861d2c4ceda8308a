"""tritonserver's options in a YAML file: the names of the flags and their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.deprecated import DEPRECATED, modern
from triton_backend_sdk.tools.server_options.options import ServerOptions, field_of, flags, read
from triton_backend_sdk.tools.server_options.values import InvalidOptionError, plain_text


def load(file: Path, *, strict: bool = False) -> ServerOptions:
    """Read options; relative paths are relative to the file's folder, old flags are translated.

    :param strict: refuse old flags; otherwise each is a DeprecationWarning.
    :raises HandledError: it cannot be read, or names a flag that does not exist.
    """
    try:
        contents = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        step = "mend the path; tbsdk serve --save-config writes such a file"
        raise HandledError(f"cannot read {file}: {error.strerror}", step) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise HandledError(f"cannot read {file}: {error}", f"mend {file}") from error
    if contents is None:
        contents = {}
    if not isinstance(contents, dict) or not all(isinstance(name, str) for name in contents):
        raise HandledError(
            f"{file} holds no options: expected lines such as `http-port: 8000`", f"mend {file}"
        )
    try:
        options = ServerOptions.from_dict(_translated(contents, strict))
    except (TypeError, InvalidOptionError) as error:
        raise HandledError(f"{file}: {error}", f"mend {file}") from error
    return options.absolute(file.absolute().parent)


def save(options: ServerOptions, file: Path) -> None:
    """Write options that :func:`load` reads; their paths become absolute.

    :raises HandledError: it cannot be written.
    """
    fields = options.absolute(Path.cwd()).to_dict()
    contents = {name.replace("_", "-"): value for name, value in fields.items()}
    try:
        file.write_text(yaml.safe_dump(contents, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise HandledError(f"cannot write {file}: {error.strerror}") from error


def _translated(contents: dict[str, Any], strict: bool) -> dict[str, Any]:
    """Give the contents with what stands for the old flags today."""
    given = [(name.replace("_", "-"), value) for name, value in contents.items()]
    found = {
        field_of(name): value for name, value in contents.items() if name.replace("_", "-") not in DEPRECATED
    }
    old = [(name, plain_text(each)) for name, value in given if name in DEPRECATED for each in _list(value)]
    new = [(name, "") for name, _ in given if name not in DEPRECATED]
    texts: dict[str, list[str]] = {}
    for name, text in modern([*old, *new], strict):
        if (name, text) not in new:
            texts.setdefault(name.replace("-", "_"), []).append(text)
    for name, each in texts.items():
        found[name] = _joined(read(flags()[name], each), found.get(name))
    return found


def _joined(old: Any, new: Any) -> Any:
    """Put what is said in today's words over what stands for the old ones."""
    if isinstance(old, list):
        return old + _list(new)
    if not isinstance(old, dict):
        return old
    return old | {name: old.get(name, {}) | settings for name, settings in (new or {}).items()}


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]

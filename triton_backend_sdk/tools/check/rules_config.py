"""C03 to C05, C35: whether there is a config.pbtxt, and whether it can be read."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.check.completed import COMPLETED
from triton_backend_sdk.tools.check.data import one_of
from triton_backend_sdk.tools.check.finding import Finding, Fix
from triton_backend_sdk.tools.check.repository import CONFIG, ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, closest, config_rule, declare, folder_rule
from triton_backend_sdk.tools.check.schema import foreign_field

C03 = declare("C03", "no config.pbtxt, and nothing that stands for one")
C04 = declare("C04", "a config.pbtxt that cannot be read")
C05 = declare("C05", "a name that is not the folder's")
C35 = declare("C35", "a config that is asked for by name and not there", "warning", "ours")
_UNKNOWN = re.compile(r'Message type "(?P<message>[\w.]+)" has no field named "(?P<field>[\w-]+)"')
_NAME = re.compile(r"""name\s*:\s*(?:"[^"\\\n]*"|'[^'\\\n]*')(?!\s*["'])""")
_TWICE = re.compile(r'should not have multiple "(?P<field>\w+)" fields')
# The server writes protobuf's own sentence in a line before, in its library's words.
_NO_VALUE = re.compile(r'Enum type "inference\.(?P<enum>[\w.]+)" has no value named')
_WRITE_ONCE = "leave one of them out"
#: What to do by what is said, of protobuf's reader or of ours.
_MENDS = {
    r'^Expected ",".': "a , or ] is missing before it",
    r'^Expected "}".': "a } is missing before it",
    r'^Expected ">".': "a > is missing before it",
    r'^Expected ":".': "a : is missing before it",
    r'^Expected "true"': "true or false",
    r"^Expected identifier or number, got /": "a comment begins with #",
    r"^Expected identifier or number, got \{": "write NAME: VALUE, without braces around all",
    r"^Expected identifier or number, got [}>\]]": "take it out: it closes nothing",
    r"parse integer: [\[\]]|parse float: [\[\]]|^Expected a value": "a number belongs here, and nothing else",
    r"parse integer: ": "a number without quotes, point and _",
    r" float: ": "a number such as 0.5",
    r"^Value out of range: -": "a number from 0",
    r"^Value out of range": "a smaller number",
    r"rawunicodeescape": r"the last character that there is: \U0010FFFF",
    r"escape sequence": r"\\ for a backslash",
    r"missing ending quote": r"close the text on its line; \n stands for a new one",
    r"another member of oneof": _WRITE_ONCE,
    r"may stand in texts and comments only": "take it out",
    r"byte of zero|byte order mark": "save it as UTF-8, without byte order mark",
    r"^cannot be read": "let the server's user read it",
    r"^is ": f"put a file {CONFIG} in its place",
    r"": "write NAME: VALUE, or NAME { ... }, as in Triton's model_config.proto",
}
_SAYS = "failed to read text proto from {}"


@folder_rule(C03)
def check_config_is_there(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Where Triton completes configs, it goes by the file that it knows."""
    if model.has_config:
        return
    place = model.config.place()
    if context.strict:
        yield self.at(
            place,
            f"model '{model.name}' has no {CONFIG}, and --disable-auto-complete-config asks for one",
            model=model,
            says=f"failed to open text file for read {place.path}: No such file or directory",
            mend=f"write {CONFIG}, or let Triton complete it: without --disable-auto-complete-config",
        )
        return
    completed = context.completed(model)
    if completed is not None and completed.backend not in COMPLETED:
        yield self.at(
            place,
            f"model '{model.name}' has no {CONFIG}: its backend '{completed.backend}' must complete it",
            model=model,
            says=f"model configuration is not provided for model '{model.name}'",
            mend=f"write {CONFIG} with the model's tensors",
            severity="warning",
        )
    elif completed is None:
        yield self.at(
            place,
            f"model '{model.name}' has no {CONFIG}, and no file that says which backend it is for",
            model=model,
            says=f"Could not determine backend for model '{model.name}' with no backend in model "
            "configuration",
            mend=f"write {CONFIG} with backend: and the model's tensors",
        )


@folder_rule(C04)
def check_syntax(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Protobuf's text format, and the fields that Triton knows."""
    config = model.config
    if config.error is None:
        return
    said = config.error
    unknown = _UNKNOWN.search(said)
    known = (context.server_fields or {}).get(unknown["message"], ()) if unknown else ()
    if unknown and unknown["field"] in known:
        yield self.at(
            config.error_place,
            f"this server knows the field {unknown['field']}, but the schema at hand does not: not checked",
            model=model,
            mend="pip install -U 'tritonclient[grpc]'",
            severity="warning",
        )
        return
    if twice := _TWICE.search(said):
        said = f'Non-repeated field "{twice["field"]}" is specified multiple times.'
    says: str | None = _SAYS.format(config.path)
    if said.startswith(("is ", "has ")):
        says = None
    elif said.startswith("cannot be read"):
        says = f"failed to open text file for read {config.path}"
    yield self.at(
        config.error_place,
        said,
        model=model,
        says=says,
        severity="warning" if said.startswith("has ") else None,
        mend=_spelling(unknown["field"]) if unknown else _WRITE_ONCE if twice else _writing(said),
    )


@config_rule(C04)
def check_age(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Find a field that came after the server."""
    if context.server_fields is None:
        return
    if found := foreign_field(model.message, context.server_fields):
        path, message, field = found
        version = "this server"
        if context.server_version:
            version += f" ({'.'.join(map(str, context.server_version))})"
        yield self.of(
            model,
            path,
            f'{version} has no field "{field}" in {message}: it came later',
            says=_SAYS.format(model.config.path),
            mend=f"take {field} out, or take a newer server",
        )


@functools.cache
def _spelling(name: str) -> str:
    from tritonclient.grpc import model_config_pb2  # noqa: PLC0415  only for this message

    names = {
        field.name
        for message in model_config_pb2.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }
    close = closest(name, names)
    return (
        f"did you mean {close}?" if close else f"take {name} out; Triton's model_config.proto has all fields"
    )


def _writing(said: str) -> str:
    from tritonclient.grpc import model_config_pb2  # noqa: PLC0415  only for this message

    if match := _NO_VALUE.match(said):
        found: Any = model_config_pb2
        for name in match["enum"].split("."):
            found = getattr(found, name)
        return one_of(found.DESCRIPTOR)
    return next(mend for pattern, mend in _MENDS.items() if re.search(pattern, said))


@config_rule(C05)
def check_name(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Hold the name against the folder's; it is best left out."""
    name = model.message.name
    if not name or name == model.name:
        return
    yield self.at(
        model.config.place("name"),
        f"the config is of '{name}', but the folder is '{model.name}'",
        model=model,
        says=f"unexpected directory name '{model.name}' for model '{name}', directory name must equal model "
        "name",
        mend=f"write name: {_quoted(model.name)}, or leave name out",
        fix=_rename_in(model),
    )


def _rename_in(model: ModelDirectory) -> Fix | None:
    place, path = model.config.place("name"), model.config_path
    if not isinstance(path, Path) or place.line is None or place.column is None:
        return None
    if path.is_symlink() or not model.name.isprintable():
        return None  # another model's config too, it may be; or a name that no text holds
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    start = sum(len(line) + 1 for line in text.split("\n")[: place.line - 1]) + place.column - 1
    match = _NAME.match(text, start)
    if match is None:
        return None  # a text in parts, or with escapes: better by hand
    name = f"name: {_quoted(model.name)}"
    new = f"{text[:start]}{name}{text[match.end() :]}".encode("utf-8", "surrogateescape")
    return Fix(f"{path}: {name}", lambda: _write(path, new))


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@folder_rule(C35)
def check_config_name(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Triton silently takes config.pbtxt then."""
    name = context.options.model_config_name
    if not name or model.config_path.parent != model.path:
        return
    path = model.path / "configs" / f"{name}.pbtxt"
    yield self.at(
        model.config.place(),
        f"--model-config-name={name}, but there is no {path}: {CONFIG} is taken instead",
        model=model,
        mend=f"write configs/{name}.pbtxt, if '{model.name}' is to differ",
    )

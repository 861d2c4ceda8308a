"""The config.pbtxt that follows from a plugin's Signature and its hook auto_complete_config."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triton_backend_sdk.errors import NotFoundError, TritonError
from triton_backend_sdk.loading import PluginPackage
from triton_backend_sdk.model import Backend, Model
from triton_backend_sdk.model_config import ModelConfig
from triton_backend_sdk.parameters import Parameters
from triton_backend_sdk.plugins import Plugin
from triton_backend_sdk.specs import Parameter
from triton_backend_sdk.tools.config_text import parse_config
from triton_backend_sdk.tools.config_writer import write_config
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project


def config_text(project: Project, model: str, file: Path, parameters: Mapping[str, str]) -> str:
    """Give the whole text of a model's config.pbtxt.

    :param file: where it is there already, its parameters stand, declared or not, and its instance groups,
        unless the plugin declares some: they are the operator's.
    :param parameters: values for declared parameters, before all others.
    :raises HandledError: the plugin declares nothing, or does not load; a parameter is wrong or missing.
    """
    plugin = _load(project)
    declared = {} if plugin.signature is None else {one.name: one for one in plugin.signature.parameters}
    written = _parse(file.read_text(encoding="utf-8")) if file.is_file() else {}
    values = {**_parameters(written), **parameters}
    _check_parameters(declared, parameters, values)
    try:
        fields = _config(project, plugin, model, values)
    except TritonError as error:
        raise HandledError(str(error)) from error
    if written.get("instance_group"):
        fields.setdefault("instance_group", written["instance_group"])
    del fields["name"]  # that of its folder, so that the folder can be copied
    source = "the Signature" if plugin.signature else "auto_complete_config"
    return write_config(
        fields,
        header=f"Written by `tbsdk config` from {source} in {project.name}/plugin.py: change it there.",
        notes={name: parameter.description for name, parameter in declared.items()},
    )


def _config(project: Project, plugin: Plugin, name: str, given: Mapping[str, str]) -> dict[str, Any]:
    signature = plugin.signature
    parameters = Parameters(given, name)
    if signature is not None:
        parameters.declare(signature.parameters)
    config = ModelConfig({"name": name, "backend": project.name})
    for key, value in parameters.items():
        config.set_parameter(key, value)
    directory = project.model_repository / name
    model = Model(name, 1, directory, config.as_dict(), Backend(project.name, {}, project.root))
    hook = plugin.model_manager().hook.auto_complete_config
    if signature is None and not hook.get_hookimpls():
        raise NotFoundError(
            f"{project.package / 'plugin.py'} says nothing from which a config could be written: "
            "give it a SIGNATURE = Signature(inputs=[...], outputs=[...])"
        )
    hook(model=model, config=config)
    if signature is not None:
        signature.complete_file(config)
        signature.check(config.as_dict())
    return config.as_dict()


def _parameters(written: Mapping[str, Any]) -> dict[str, str]:
    parameters = written.get("parameters", {})
    return {name: str(value.get("string_value", "")) for name, value in parameters.items()}


def _check_parameters(
    declared: Mapping[str, Parameter[Any]], asked: Mapping[str, str], given: Mapping[str, str]
) -> None:
    for name in asked:
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise HandledError(f"the Signature declares no parameter {name!r}; it has {known}")
    for name, parameter in declared.items():
        if parameter.default is None and name not in given:
            raise HandledError(f"parameter {name!r} has no default", f"tbsdk config -p {name}=VALUE")


def check(text: str, file: Path) -> None:
    """Compare a config with the file that should hold it; layout and comments are the file's own.

    :raises HandledError: they differ, or there is no such file; shows the difference.
    """
    again = f"write it again: tbsdk config -o {file}"
    if not file.is_file():
        raise HandledError(f"{file} is missing", again)
    found = file.read_text(encoding="utf-8")
    if _parse(found) == _parse(text):
        return
    lines = difflib.unified_diff(
        found.splitlines(), text.splitlines(), str(file), "tbsdk config", lineterm=""
    )
    raise HandledError(f"{file} does not say what the plugin declares", again, details=list(lines))


def _parse(text: str) -> dict[str, Any]:
    config = parse_config(text)
    config.pop("name", None)
    return config


def _load(project: Project) -> Plugin:
    try:
        return Plugin(PluginPackage(project.name, project.root).load())
    except TritonError as error:
        raise HandledError(str(error)) from error
    except ImportError as error:
        raise HandledError(
            f"{project.package / 'plugin.py'} does not load: {error}",
            f"install what it imports: pip install {project.root}",
        ) from error

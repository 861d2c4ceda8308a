"""What a model uses of ``triton_python_backend_utils``, and how it is built."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

from triton_backend_sdk.tools.migrate import names
from triton_backend_sdk.tools.migrate.imports import Import, sources
from triton_backend_sdk.tools.migrate.kinds import Kinds
from triton_backend_sdk.tools.migrate.locate import Found
from triton_backend_sdk.tools.migrate.source import MODEL_CLASS, Function, Source, is_annotation

#: What Triton calls of a model.
HOOKS = ("auto_complete_config", "initialize", "execute", "is_ready", "finalize")


@dataclass
class Use:
    """A name of ``triton_python_backend_utils``, and where it is used."""

    name: str
    places: list[tuple[Path, int]] = field(default_factory=list)

    @property
    def becomes(self) -> str:
        """What becomes of it in process."""
        return names.BECOMES.get(self.name, names.SAME)


@dataclass
class Inventory:
    """A model, looked through."""

    found: Found
    #: model.py first, then the model's own modules that it imports.
    sources: list[Source]
    kinds: dict[Path, Kinds]
    imports: list[Import]
    uses: dict[str, Use]
    #: Hook to its line.
    hooks: dict[str, int]

    @property
    def main(self) -> Source:
        """The file with the class TritonPythonModel; model.py where none has it."""
        return next((one for one in self.sources if one.model_class is not None), self.sources[0])

    @property
    def is_async(self) -> bool:
        """Whether execute is a coroutine."""
        return isinstance(self.main.method("execute"), ast.AsyncFunctionDef)

    @property
    def is_decoupled(self) -> bool:
        """Whether the config says that a request may have any number of responses."""
        return bool((self.found.config.get("model_transaction_policy") or {}).get("decoupled"))

    @property
    def instances(self) -> int:
        """How many instances the config asks for, at least."""
        groups = self.found.config.get("instance_group") or []
        return max(1, sum(int(group.get("count", 1)) for group in groups))

    @property
    def mode(self) -> str:
        """How it answers, in a few words."""
        words = ["async def execute" if self.is_async else "execute"]
        if self.is_decoupled:
            words.append("decoupled")
        if "InferenceRequest.get_response_sender" in self.uses:
            words.append("response senders")
        if {"InferenceRequest.exec", "InferenceRequest.async_exec"} & set(self.uses):
            words.append("calls other models")
        return ", ".join(words)


def take_inventory(found: Found) -> Inventory:
    """Look through a model.

    :raises HandledError: a file cannot be read or is no Python.
    """
    files, listed = sources(found)
    kinds = {source.path: Kinds(source) for source in files}
    uses: dict[str, Use] = {}
    for source in files:
        for name, node in _used(source, kinds[source.path]):
            place = (source.path, node.lineno)
            use = uses.setdefault(name, Use(name))
            if place not in use.places:
                use.places.append(place)
    inventory = Inventory(found, files, kinds, listed, dict(sorted(uses.items())), {})
    for hook in HOOKS:
        if (method := inventory.main.method(hook)) is not None:
            inventory.hooks[hook] = method.lineno
    return inventory


def _used(source: Source, kinds: Kinds) -> list[tuple[str, ast.expr]]:
    found: list[tuple[str, ast.expr]] = []
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = source.api(node)
            outer = source.parents.get(node)
            if name and is_annotation(source, node):
                continue
            if name and not (isinstance(outer, ast.Attribute) and source.api(outer)):
                found.append((".".join(name.split(".")[:2]), node))
            elif name is None and isinstance(node, ast.Attribute):
                found += [(member, node) for member in _member(node, kinds)]
    return sorted(found, key=lambda one: one[1].lineno)


def _member(node: ast.Attribute, kinds: Kinds) -> list[str]:
    owner = kinds.of.get(node.value)
    name = names.class_of(owner.name) if owner else ""
    if name in names.CLASSES:
        return [f"{name}.{node.attr}"]
    if owner is not None and owner.name == "api:Logger":
        return [f"Logger.{node.attr}"]
    if owner is None and node.attr in names.UNMISTAKABLE:
        return [f"{names.UNMISTAKABLE[node.attr]}.{node.attr}"]
    return []


def binds_class(source: Source) -> bool:
    """Tell whether a file gives the name TritonPythonModel a meaning: by class, import or assignment."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) and node.name == MODEL_CLASS:
            return True
        if isinstance(node, ast.ImportFrom) and any(
            (alias.asname or alias.name) in (MODEL_CLASS, "*") for alias in node.names
        ):
            return True
        if isinstance(node, ast.Name) and node.id == MODEL_CLASS and isinstance(node.ctx, ast.Store):
            return True
    return False


def defined_methods(source: Source) -> set[str]:
    """Give the names of the methods of the class TritonPythonModel; with its bases' unknown."""
    found = source.model_class
    return {node.name for node in found.body if isinstance(node, Function)} if found else set()

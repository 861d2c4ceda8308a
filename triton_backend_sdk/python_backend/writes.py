"""Whether a model needs private copies of its inputs, as the stock backend gives to all.

Inputs are Triton's memory: a client's shared memory, or another model's output. An array of one is read-only
where the model's source neither writes into its inputs nor keeps them for later; else each is copied when the
model looks at it. The model parameter ``private_inputs`` ("true" or "false") says so without a look.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from triton_backend_sdk.python_backend.taint import Finding, Model
from triton_backend_sdk.python_backend.taint_run import follow

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel

PARAMETER = "private_inputs"
#: Bytes of source that are looked through.
_LIMIT = 1_000_000


def decide(owner: PythonModel, model_class: type) -> None:
    """Decide for an instance whose modules are imported, and say why in one line."""
    parameters = owner.model.parameters
    if PARAMETER in parameters:
        owner.private_inputs = parameters.get_bool(PARAMETER)
        return
    finding = find(_files(owner, model_class))
    owner.private_inputs = finding is not None
    if finding is not None:
        owner.model.logger.info(
            '%s: its inputs are copied for it: %s:%d %s (set the model parameter %s: "false" if it does not)',
            owner.name,
            finding.file,
            finding.line,
            finding.what,
            PARAMETER,
        )


def find(files: Iterable[str]) -> Finding | None:
    """Give the first line that makes copies necessary, or None."""
    known = []
    for file in sorted(files):
        try:
            status = os.stat(file)
        except OSError:  # in a zip file
            return Finding(file, 0, "cannot be read")
        known.append((file, status.st_mtime_ns, status.st_size))
    return _find(tuple(known))


@functools.lru_cache(maxsize=64)
def _find(files: tuple[tuple[str, int, int], ...]) -> Finding | None:
    if sum(size for _, _, size in files) > _LIMIT:
        return Finding(files[0][0], 0, "is one of too many files to look through")
    trees = []
    for file, _, _ in files:
        with open(file, "rb") as source:
            text = source.read()
        try:
            trees.append((file, ast.parse(text)))
        except (SyntaxError, ValueError):
            return Finding(file, 0, "is no Python source")
    return follow(Model(trees))


def _files(owner: PythonModel, model_class: type) -> set[str]:
    scope, own = owner.scope, model_class.__module__
    files = (
        getattr(module, "__file__", None)
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and (name == own or (scope is not None and scope.owns(module)))
    )
    return {file for file in files if file is not None and file.endswith(".py")}

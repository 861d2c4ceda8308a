"""What in a model's code means something else in the server's process."""

from __future__ import annotations

import ast
import difflib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.python_backend import writes
from triton_backend_sdk.tools.migrate import names
from triton_backend_sdk.tools.migrate.arrays import writes_into
from triton_backend_sdk.tools.migrate.calls import (
    BROKEN,
    CALLS,
    IN_INITIALIZE,
    LOOK,
    NOTE,
    NUMPY_GONE,
    NUMPY_STAYS,
    STOCK,
    Meaning,
)
from triton_backend_sdk.tools.migrate.inventory import Inventory
from triton_backend_sdk.tools.migrate.kinds import Kinds
from triton_backend_sdk.tools.migrate.source import Function, Source, dotted


@dataclass(frozen=True)
class Finding:
    """Something of a model that a person should know."""

    level: int
    reason: str
    #: What to do about it; "" where nothing need be done.
    mend: str = ""
    file: Path | None = None
    line: int = 0


def check_code(inventory: Inventory) -> Iterator[Finding]:
    """Look at each file of a model."""
    for source in inventory.sources:
        kinds = inventory.kinds[source.path]
        for finding in (*_names(source, kinds), *_calls(source), *_environment(source), *_numpy(source)):
            line = finding.line
            yield Finding(finding.level, finding.reason, finding.mend, source.path, line)
    yield from _copies(inventory)
    yield from _python_loops(inventory)


def _copies(inventory: Inventory) -> Iterator[Finding]:
    """Say what the backend itself will find, which then copies the model's inputs."""
    if inventory.found.parameter(writes.PARAMETER) is not None:
        return
    found = writes.find(str(source.path) for source in inventory.sources)
    if found is not None:
        reason = f"its inputs are copied for it, as on the stock backend: this line {found.what}"
        yield Finding(NOTE, reason, "", Path(found.file), found.line)


def written_arrays(source: Source, kinds: Kinds) -> dict[ast.AST, int]:
    """Give the ``as_numpy()`` calls whose arrays may be written to or kept, each with the line of that."""
    found: dict[ast.AST, int] = {}
    for node, kind in kinds.of.items():
        if kind is None or kind.name != "Array" or not hasattr(node, "lineno"):
            continue
        outer = source.parents.get(node)
        if isinstance(outer, ast.keyword):
            outer = outer if outer.arg == "out" else source.parents.get(outer)
        if outer is None or not writes_into(outer, node):
            continue
        if isinstance(outer, ast.Call) and _is_harmless(outer, source, kinds):
            continue
        for origin in kind.origins:
            found.setdefault(origin, node.lineno)
    return found


def _is_harmless(call: ast.Call, source: Source, kinds: Kinds) -> bool:
    """Tell whether an array may be given to a call: a Tensor, a list, the file's own function."""
    made = kinds.of.get(call)
    if made is not None and made.name == "MadeTensor":
        return True
    owner = kinds.of.get(call.func.value) if isinstance(call.func, ast.Attribute) else None
    if owner is not None and (owner.element is not None or owner.name == "list[]"):
        return True
    return kinds.called(call) is not None


def _names(source: Source, kinds: Kinds) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module in names.MODULES:
            for alias in node.names:
                if alias.name not in (*names.EVERY, "*"):
                    yield _unknown(source, node, alias.name, sorted(names.EVERY))
        if not isinstance(node, ast.Attribute):
            continue
        api = source.api(node)
        if api is not None:
            first, _, second = api.partition(".")
            if first in names.INTERNAL:
                reason = f"pb_utils.{first} is the stock backend's own: there is no such memory in process"
                yield Finding(STOCK, reason, "remove it", line=node.lineno)
            elif not second and first not in names.EVERY:
                yield _unknown(source, node, first, sorted(names.EVERY))
            elif first in names.CLASSES and not _is_member(first, second):
                yield _unknown(source, node, second, sorted(names.CLASSES[first]), first)
        elif (owner := kinds.of.get(node.value)) is not None:
            cls = names.class_of(owner.name)
            members = names.CLASSES.get(cls, frozenset())
            if members and node.attr not in members and not node.attr.startswith("__"):
                yield _unknown(source, node, node.attr, sorted(members), cls)


def _is_member(cls: str, name: str) -> bool:
    """Tell whether a class has a member; what follows that is not looked at."""
    return not name or "." in name or name.startswith("__") or name in names.CLASSES[cls]


def _unknown(
    source: Source, node: ast.stmt | ast.expr, name: str, known: list[str], cls: str = ""
) -> Finding:
    close = difflib.get_close_matches(name, known, 1, 0.6)
    whole = f"{cls}.{name}" if cls else f"pb_utils.{name}"
    guarded = any(isinstance(outer, ast.Try) for outer in _around(source, node))
    mend = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}" if cls else "remove it"
    reason = f"there is no {whole}, on the stock backend neither"
    return Finding(LOOK if guarded else BROKEN, reason, mend, line=node.lineno)


def _around(source: Source, node: ast.AST) -> Iterator[ast.AST]:
    while (outer := source.parents.get(node)) is not None:
        yield outer
        node = outer


def _calls(source: Source) -> Iterator[Finding]:
    aliases = _aliases(source)
    initialize = source.method("initialize")
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        name = _full(dotted(node.func), aliases)
        meaning = _by_argument(name, node) or CALLS.get(name)
        if meaning is None and initialize is not None and initialize in _around(source, node):
            meaning = IN_INITIALIZE.get(name)
        if meaning is not None:
            line = node.lineno
            yield Finding(meaning.level, meaning.reason.format(name=name), meaning.mend, line=line)


def _by_argument(name: str, call: ast.Call) -> Meaning | None:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    workers = given.get("num_workers")
    if name == "os.kill" and call.args and "getpid" in ast.unparse(call.args[0]):
        return CALLS["os.kill(os.getpid())"]
    if name.endswith("DataLoader") and isinstance(workers, ast.Constant) and workers.value:
        reason = "{name} with num_workers forks the server, with all its threads and locks"
        return Meaning(STOCK, reason, "num_workers=0, or a thread pool")
    method = call.args[0] if call.args else given.get("method")
    if name == "multiprocessing.get_context" and isinstance(method, ast.Constant) and method.value == "spawn":
        return Meaning(
            LOOK, "{name}('spawn') starts Python anew beside the server", "try it; threads are safe"
        )
    if name == "multiprocessing.get_context":
        return CALLS["multiprocessing.Process"]
    return None


def _aliases(source: Source) -> dict[str, str]:
    found = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return {alias: name for alias, name in found.items() if alias not in ("np", "tf")}


def _full(name: str, aliases: dict[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return aliases.get(first, first) + dot + rest


def _environment(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        store = isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
        if store and dotted(node.value) == "os.environ":  # type: ignore[attr-defined]
            key = node.slice.value if isinstance(node.slice, ast.Constant) else "..."  # type: ignore[attr-defined]
            reason = f"os.environ[{key!r}] is the whole server's, which read much of it at its start"
            yield Finding(LOOK, reason, "set it where tritonserver is started", line=node.lineno)  # type: ignore[attr-defined]
        if isinstance(node, ast.Call) and dotted(node.func).startswith("sys.path."):
            yield Finding(NOTE, "sys.path is the model's own", line=node.lineno)


def _numpy(source: Source) -> Iterator[Finding]:
    modules = {
        alias.asname or alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "numpy"
    }
    installed = importlib.metadata.version("numpy")
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Attribute) or dotted(node.value) not in modules:
            continue
        written = dotted(node)
        if node.attr in NUMPY_GONE and node.attr not in NUMPY_STAYS and not _has_numpy(node.attr):
            guarded = any(isinstance(outer, ast.Try) for outer in _around(source, node))
            better = f"{dotted(node.value)}.{NUMPY_GONE[node.attr]}"
            reason = f"NumPy {installed}, which is installed here, has no {written}"
            yield Finding(
                NOTE if guarded else LOOK, reason, f"write {better}, or install numpy<2", line=node.lineno
            )


def _has_numpy(name: str) -> bool:
    import numpy as np  # noqa: PLC0415  slow to import, and needed by few

    return name in vars(np)


def _python_loops(inventory: Inventory) -> Iterator[Finding]:
    """Say what several instances of a model cannot do in one process: run Python at the same time."""
    if inventory.instances == 1:
        return
    count = inventory.instances
    deep = next((line for source in inventory.sources for line in _deep(source)), 0)
    if deep:
        reason = (
            f"{count} instances were {count} processes; here they share one Python, and it loops in Python"
        )
        mend = "NumPy or another library that gives up the GIL, or the stock backend if it needs the cores"
        yield Finding(LOOK, reason, mend, inventory.main.path, deep)
    else:
        reason = f"{count} instances share one Python: NumPy and PyTorch run side by side, Python does not"
        yield Finding(NOTE, reason)


def _deep(source: Source) -> Iterator[int]:
    """Give the lines of loops in loops of execute, beyond that over the requests."""
    execute = source.method("execute")
    loops = (ast.For, ast.While)
    for node in ast.walk(execute) if execute else ():
        if isinstance(node, loops):
            outer = [one for one in _around(source, node) if isinstance(one, (*loops, Function))]
            if sum(isinstance(one, loops) for one in outer) >= 2:
                yield node.lineno

"""Whether a model runs in process as it is, and what to say about it."""

from __future__ import annotations

import lzma
import re
import sys
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.migrate.calls import BROKEN, LOOK, NOTE, STOCK
from triton_backend_sdk.tools.migrate.checks import Finding, check_code
from triton_backend_sdk.tools.migrate.inventory import Inventory, binds_class, defined_methods, take_inventory
from triton_backend_sdk.tools.migrate.locate import Found
from triton_backend_sdk.tools.migrate.rewrite import Rewriting, rewrite
from triton_backend_sdk.tools.migrate.source import MODEL_CLASS

#: Level of the worst finding to verdict.
VERDICTS = {
    NOTE: "runs as it is",
    LOOK: "runs, with differences",
    STOCK: "stays with the stock backend",
    BROKEN: "has an error, on the stock backend too",
}
_HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
_PYTHON = re.compile(r"(?:^|/)lib/python(3\.\d+)(?:/|$)")


@dataclass(frozen=True)
class Report:
    """All that is said of one model."""

    inventory: Inventory
    findings: list[Finding]
    #: It as an SDK plugin; None of source where it needs a wrapper.
    rewriting: Rewriting

    @property
    def level(self) -> int:
        """The worst finding's."""
        return max((finding.level for finding in self.findings), default=NOTE)

    @property
    def verdict(self) -> str:
        """The verdict, in words."""
        return VERDICTS[self.level]

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        found = self.inventory.found
        return {
            "model": found.name,
            "file": str(found.file),
            "version": found.version,
            "backend": found.config.get("backend"),
            "mode": self.inventory.mode,
            "verdict": self.verdict,
            "hooks": self.inventory.hooks,
            "uses": [
                {"name": use.name, "places": [_place(*place) for place in use.places], "becomes": use.becomes}
                for use in self.inventory.uses.values()
            ],
            "findings": [
                {
                    "level": ("note", "differs", "stock", "broken")[finding.level],
                    "place": _place(finding.file, finding.line),
                    "reason": finding.reason,
                    "mend": finding.mend,
                }
                for finding in self.findings
            ],
            "plugin": "source" if self.rewriting.text else "wrapper",
            "wrapper_because": self.rewriting.reason,
            "notes": found.notes,
        }


def _place(file: Path | None, line: int) -> str:
    return "" if file is None else f"{file}:{line}"


def examine(found: Found) -> Report:
    """Look at a model.

    :raises HandledError: a file cannot be read or is no Python, or model.py has no TritonPythonModel.
    """
    inventory = take_inventory(found)
    if not binds_class(inventory.sources[0]):
        classes = ", ".join(node.name for node in inventory.sources[0].classes()) or "none"
        raise HandledError(
            f"no class {MODEL_CLASS} in {found.file}: its classes are {classes}",
            f"the backend makes an object of {MODEL_CLASS}: name the model's class so",
        )
    findings = [*_environment(found), *_structure(inventory), *_imports(inventory), *check_code(inventory)]
    unique = dict.fromkeys(findings)
    ordered = sorted(unique, key=lambda one: (-one.level, str(one.file), one.line))
    return Report(inventory, ordered, rewrite(inventory))


def _structure(inventory: Inventory) -> Iterator[Finding]:
    main = inventory.main
    node = main.model_class
    if node is None or node.bases:
        return  # its methods come from elsewhere
    if "execute" not in defined_methods(main):
        yield Finding(BROKEN, f"{MODEL_CLASS} has no execute", "add it", main.path, node.lineno)


def _imports(inventory: Inventory) -> Iterator[Finding]:
    missing = {one.top: one for one in inventory.imports if not one.found and not one.optional}
    optional = {one.top: one for one in inventory.imports if not one.found and one.optional}
    for name, one in missing.items():
        reason = f"it needs {name}, which this Python ({_HERE}) has not"
        yield Finding(
            LOOK, reason, f"install it where `tbsdk build` runs: pip install {name}", one.file, one.line
        )
    for name, one in optional.items():
        if name not in missing:
            yield Finding(NOTE, f"it may use {name}, which this Python has not", "", one.file, one.line)


def _environment(found: Found) -> Iterator[Finding]:
    path = found.parameter("EXECUTION_ENV_PATH")
    if path:
        yield _environment_at(found, path)
    if (found.parameter("FORCE_CPU_ONLY_INPUT_TENSORS") or "yes").lower() == "no":
        yield Finding(NOTE, "inputs stay where Triton has them: FORCE_CPU_ONLY_INPUT_TENSORS is no", "",
                      found.config_file)  # fmt: skip


def _environment_at(found: Found, path: str) -> Finding:
    place = Path(path.replace("$$TRITON_MODEL_DIRECTORY", str(found.directory)))
    version = _python_of(place)
    if version and version != _HERE:
        reason = (
            f"EXECUTION_ENV_PATH is a Python {version}; the server's process has one Python, {_HERE} here"
        )
        return Finding(STOCK, reason, f"`tbsdk` under Python {version}, with its packages", found.config_file)
    if version and place.is_dir():
        reason = "EXECUTION_ENV_PATH: its packages go to the end of sys.path, for all models of the server"
        mend = "where versions matter, install its packages where `tbsdk build` runs"
        return Finding(LOOK, reason, mend, found.config_file)
    what = (
        f"an archive of a Python {version}"
        if version
        else "a Python of its own, which could not be looked into"
    )
    reason = f"EXECUTION_ENV_PATH is {what}; it is not used in process"
    mend = "install its packages where `tbsdk build` runs; for another Python keep the stock backend"
    return Finding(LOOK, reason, mend, found.config_file)


def _python_of(place: Path) -> str:
    """Give the Python version of an environment: a folder, or a packed one; "" where it cannot be told."""
    names: list[str] = []
    try:
        if place.is_dir():
            # This Python's first, as the backend takes that one where a folder has several.
            names = sorted(f"lib/{child.name}" for child in (place / "lib").iterdir())
            names.sort(key=lambda name: name != f"lib/python{_HERE}")
        elif place.is_file():
            with tarfile.open(place) as packed:
                names = [member.name for member in islice(packed, 2000)]
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError):
        return ""
    return next((match[1] for name in names if (match := _PYTHON.search(name))), "")

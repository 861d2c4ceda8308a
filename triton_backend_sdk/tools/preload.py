"""Libraries that tritonserver loads before all others, such as a framework's custom operations.

What the system does alone: it ignores a library that does not exist, and ends the server when one needs
another that is not found. So all of that is looked at before the start, and the folders of the frameworks
are put on the server's search path.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from triton_backend_sdk.tools.check.libraries import unresolved
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.process import output_of
from triton_backend_sdk.tools.server_errors import next_step, status_text
from triton_backend_sdk.tools.server_options.probe import HELP_LIMIT_S

#: Package to the folder in it that holds the framework's libraries.
_WHEELS = {"torch": "lib", "tensorflow": ".", "onnxruntime": "capi", "tensorrt_libs": "."}
#: Folder to framework: what an image has.
_BACKENDS = ("pytorch", "tensorflow", "tensorflow2", "onnxruntime", "tensorrt")


def environment(
    libraries: Sequence[Path | str], env: Mapping[str, str], server: ServerInstallation
) -> dict[str, str]:
    """Give what the server's environment gets, and nothing else's: a helper shall not load the libraries.

    :raises HandledError: there is no such library, it needs one that no framework here has, or it ends the
        server.
    """
    if not libraries:
        return {}
    paths = [_checked(Path(library)) for library in libraries]
    folders = [str(path) for path in _needed_folders(paths, env, server)]
    search = [*folders, *filter(None, [env.get("LD_LIBRARY_PATH")])]
    found = {"LD_PRELOAD": ":".join([*map(str, paths), *filter(None, [env.get("LD_PRELOAD")])])}
    found |= {"LD_LIBRARY_PATH": ":".join(search)} if folders else {}
    _try(server, {**env, **found}, paths)
    return found


def _try(server: ServerInstallation, env: Mapping[str, str], libraries: Sequence[Path]) -> None:
    """Let the server print its help with the libraries: what they end, they end before that."""
    status, lines = output_of([str(server.binary), "--help"], env, HELP_LIMIT_S)
    ignored = [line for line in lines if "cannot be preloaded" in line]
    if any("--model-repository" in line for line in lines) and not ignored:
        return
    how = "did not end" if status is None else status_text(status)
    step = (
        next_step(lines) or "preload fewer: two libraries that register the same operations end every program"
    )
    raise HandledError(
        f"tritonserver does not run with {', '.join(map(str, libraries))} preloaded ({how})",
        "take a library for this system" if ignored else step,
        details=(ignored or lines)[-5:],
    )


def _checked(library: Path) -> Path:
    path = library.expanduser().absolute()
    if not path.is_file():
        raise HandledError(
            f"there is no library {path} to preload; the system would ignore that and go on without it",
            "mend --preload",
        )
    if re.search(r"[\s:]", str(path)):
        raise HandledError(
            f"a library whose path has a space or a colon cannot be preloaded: {path}", "link it elsewhere"
        )
    if path.read_bytes()[:4] != b"\x7fELF":
        raise HandledError(f"{path} is no shared library", "mend --preload")
    return path


def _needed_folders(
    libraries: Sequence[Path], env: Mapping[str, str], server: ServerInstallation
) -> list[Path]:
    """Give the folders of the frameworks that the libraries cannot be loaded without."""
    folders: list[Path] = []
    for library in libraries:
        candidates = [library.parent, *_framework_folders(server)]
        while missing := _unresolved(library, folders, env):
            folder = next(
                (place for place in candidates if any((place / name).exists() for name in missing)), None
            )
            if folder is None or folder in folders:
                looked = ", ".join(map(str, candidates))
                raise HandledError(
                    f"{library} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
                    f"found: looked in the system's folders, {looked}",
                    "put the folder of that library into LD_LIBRARY_PATH; the server would end at once",
                )
            folders.append(folder)
    return folders


def _unresolved(library: Path, folders: Sequence[Path], env: Mapping[str, str]) -> list[str]:
    search = [*map(str, folders), *filter(None, [env.get("LD_LIBRARY_PATH")])]
    clean = {name: value for name, value in env.items() if name != "LD_PRELOAD"}
    return unresolved(library, clean | ({"LD_LIBRARY_PATH": ":".join(search)} if search else {}))


def _framework_folders(server: ServerInstallation) -> Iterator[Path]:
    for package, folder in _WHEELS.items():
        spec = importlib.util.find_spec(package)  # finds, imports nothing
        for place in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(os.path.normpath(Path(place) / folder))
    for name in _BACKENDS if server.backends else ():
        assert server.backends is not None
        if (server.backends / name).is_dir():
            yield server.backends / name

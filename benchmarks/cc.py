"""Compile the benchmark's C: the floors, and the client that loads the server into its own process."""

from __future__ import annotations

import subprocess
from pathlib import Path

from triton_backend_sdk._ffi import builder
from triton_backend_sdk.tools.errors import HandledError

HERE = Path(__file__).parent
_LIMIT_S = 120.0


def compile_floor(work: str, target: Path, server: Path) -> None:
    """Compile ``floor/WORK.c`` to a backend in the folder ``target``, which is made.

    :param server: the fetched server, as install_server gives it.
    :raises HandledError: there is no compiler, or it fails.
    """
    target.mkdir(parents=True)
    library = target / f"libtriton_{target.name}.so"
    _compile(HERE / "floor" / f"{work}.c", library, server, "-shared", "-fPIC")


def compile_client(target: Path, server: Path) -> None:
    """Compile ``client/client.c`` to the program ``target``.

    :raises HandledError: there is no compiler, or it fails.
    """
    # The library's own dependencies are found when it runs, see Ground.env.
    _compile(HERE / "client" / "client.c", target, server, "-pthread", "-Wl,--allow-shlib-undefined")


def _compile(source: Path, target: Path, server: Path, *flags: str) -> None:
    try:
        compiler = builder.find_compiler()
    except builder.BuildError as error:
        raise HandledError(str(error)) from None
    # The file itself, not a name like libtritonserver.so: the library is then needed by its soname.
    library = next((server / "lib").glob("libtritonserver-*.so"))
    declarations = f"-I{builder.HERE / 'decl'}"
    command = [*compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror=implicit", declarations, *flags]
    done = subprocess.run(
        [*command, "-o", str(target), str(source), str(library)],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise HandledError(f"compiling {source.name} failed", details=done.stderr.splitlines()[-8:])

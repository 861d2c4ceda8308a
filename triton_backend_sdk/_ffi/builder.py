"""Compile the shim: the declarations in decl/ and the C in src/ become the loader and the native module.

Both depend on the Python and the SDK alone, not on a plugin, so one compilation serves every backend of a
machine; ``tools/build.py`` copies the results.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cffi

from triton_backend_sdk._version import __version__

HERE = Path(__file__).parent
DECLARATIONS = ("tritonserver.h", "tritonbackend.h")
CFLAGS = (
    "-std=gnu11",
    "-D_GNU_SOURCE",
    "-O2",
    "-fwrapv",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",
)
_PROTOTYPE = re.compile(r"^(\S[^;(]*?)(TRITON(?:SERVER|BACKEND)_\w+)\(([^;]*)\);$", re.MULTILINE)
#: Functions that an older server may lack.
_OPTIONAL = re.compile(r"^// optional.*\n((?:TRITON.*\n)+)", re.MULTILINE)


class BuildError(Exception):
    """The shim cannot be compiled here; the message says what is missing."""


@dataclass(frozen=True)
class Shim:
    """The two libraries of a built backend."""

    loader: Path
    native: Path


def cdef() -> str:
    """Give the declarations that cffi reads: Triton's, then how C and Python enter each other."""
    return "\n".join((HERE / "decl" / name).read_text() for name in (*DECLARATIONS, "exports.h"))


def table_header() -> str:
    """Give table.h: a slot for each of Triton's functions, and macros that call through it."""
    text = "\n".join((HERE / "decl" / name).read_text() for name in DECLARATIONS)
    functions = _PROTOTYPE.findall(text)
    slots = "\n".join(f"  {result}(*{name})({arguments});" for result, name, arguments in functions)
    macros = "\n".join(f"#define {name} (tb_api.{name})" for _, name, _ in functions)
    optional = {name for block in _OPTIONAL.findall(text) for _, name, _ in _PROTOTYPE.findall(block)}
    names = ", ".join(f'{{"{name}", {str(name in optional).lower()}}}' for _, name, _ in functions)
    return (
        "// Generated from decl/*.h by builder.py.\n#pragma once\n"
        f"#define TB_FUNCTIONS {names}\n"
        f"typedef struct {{\n{slots}\n}} tb_table;\nextern tb_table tb_api;\n{macros}\n"
    )


def fingerprint() -> str:
    """Give the SDK's version and a hash of the shim's sources, by which two backends know that they fit."""
    digest = hashlib.sha256()
    for path in sorted([*HERE.glob("decl/*"), *HERE.glob("src/*")]):
        digest.update(path.name.encode() + path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def find_compiler() -> list[str]:
    """Give the command of a C compiler: $CC, the one that built this Python, or a usual one on PATH.

    :raises BuildError: there is none.
    """
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    candidates = [command, ["cc"], ["gcc"], ["clang"]]
    for candidate in candidates:
        if shutil.which(candidate[0]):
            return candidate
    tried = ", ".join(candidate[0] for candidate in candidates)
    raise BuildError(f"no C compiler: looked for {tried} on PATH; type: apt-get install gcc (or set CC)")


def check_headers() -> Path:
    """Give the folder of Python.h.

    :raises BuildError: this Python came without it.
    """
    include = Path(sysconfig.get_path("include"))
    if (include / "Python.h").is_file():
        return include
    version = sysconfig.get_python_version()
    raise BuildError(
        f"Python.h is not in {include}: this Python came without its headers; "
        f"type: apt-get install python{version}-dev"
    )


def _compile(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"the C compiler failed: {shlex.join(command)}\n{result.stderr[-4000:]}")


def _flags() -> list[str]:
    return [*CFLAGS, *shlex.split(os.environ.get("CFLAGS", ""))]


def compile_shim(target: Path) -> Shim:
    """Compile the loader and the native module into a directory.

    :raises BuildError: no compiler, no Python headers, or the compiler's own message.
    """
    include, compiler = check_headers(), find_compiler()
    target.mkdir(parents=True, exist_ok=True)
    builder = cffi.FFI()
    builder.cdef(cdef())
    # Not shim.h: cffi compiles its own part against the limited API.
    headers = ("stdbool.h", "stddef.h", "stdint.h", "entries.h", "table.h")
    preamble = "".join(f"#include <{header}>\n" for header in headers)
    preamble += "uintptr_t tb_entries_address(void);\nbool tb_owns_interpreter(void);\n"
    preamble += "bool tb_has(const char* function);\n"
    preamble += "void tb_set_ready(uintptr_t instance, const char* message, double valid_seconds);\n"
    builder.set_source("triton_backend_sdk._native", preamble)
    (target / "table.h").write_text(table_header())
    with contextlib.redirect_stdout(io.StringIO()):  # cffi prints what it generates
        builder.emit_c_code(str(target / "native.c"))
    loader = target / "loader.so"
    native = target / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    includes = [f"-I{HERE / 'decl'}", f"-I{HERE / 'src'}", f"-I{target}", f"-I{include}"]
    # nodelete: the code must outlive a dlclose, as Python keeps pointers into it.
    link = ["-shared", "-Wl,-z,nodelete"]
    sources = [str(path) for path in sorted((HERE / "src").glob("*.c")) if path.name != "loader.c"]
    _compile(
        [*compiler, *_flags(), *link, *includes, str(HERE / "src" / "loader.c"), "-o", str(loader), "-ldl"]
    )
    _compile(
        [
            *compiler,
            *_flags(),
            "-Wno-unused-parameter",
            "-Wno-cast-function-type",
            *link,
            *includes,
            str(target / "native.c"),
            *sources,
            "-o",
            str(native),
            "-lpthread",
            "-ldl",
        ]
    )
    return Shim(loader, native)


def cached_shim(cache: Path, progress: Callable[[str], None]) -> Shim:
    """Give the compiled shim for this Python, from the cache folder where it is there already.

    $CC and $CFLAGS are honoured, as everywhere.
    """
    key = hashlib.sha256(
        f"{fingerprint()}|{sys.version}|{cffi.__version__}|{_flags()}|{sys.prefix}".encode()
    ).hexdigest()[:16]
    folder = cache / "shim" / f"{sys.implementation.cache_tag}-{key}"
    shim = Shim(folder / "loader.so", folder / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}")
    if shim.loader.is_file() and shim.native.is_file():
        return shim
    progress("compiling the shim (once per Python and SDK version)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        compile_shim(Path(scratch) / "shim")
        try:
            # Whole or not at all: another process may be at it too.
            os.replace(Path(scratch) / "shim", folder)
        except OSError:
            if not shim.native.is_file():
                raise
    return shim

"""docs/c-api.md is true: of the declarations, of the code, of a built backend and of the real libtritonserver."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

import triton_backend_sdk as sdk
from triton_backend_sdk import hookspecs
from triton_backend_sdk._ffi import builder
from triton_backend_sdk.testing.core_options import installed_library
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "c-api.md"
PACKAGE = Path(sdk.__file__).parent
ROW = re.compile(r"^\| (TRITON(?:BACKEND|SERVER)_\w+) \| (.*?) \| ?(.*?) ?\|$", re.MULTILINE)
NOT_YET = "in preparation"
#: Newer than the API 1.19 that a server must have.
LATER = {"TRITONBACKEND_ModelInstanceReady"}


def rows() -> dict[str, tuple[str, str]]:
    return {name: (here, where) for name, here, where in ROW.findall(PAGE.read_text())}


def entries() -> set[str]:
    section = PAGE.read_text().split("## Entry points")[1].split("\n## ")[0]
    return {name for name, _, _ in ROW.findall(section)}


def declared() -> set[str]:
    return set(re.findall(r"#define (TRITON\w+) \(tb_api", builder.table_header()))


def code() -> dict[str, str]:
    """Give what runs in a server: file name to text without comments, and without the words of docstrings."""
    texts = {}
    for path in [*PACKAGE.glob("*.py"), PACKAGE / "_ffi" / "api.py"]:
        texts[path.name] = " ".join(re.findall(r"""(?:lib\.|["'])(TRITON\w+)\b""", path.read_text()))
    for path in (PACKAGE / "_ffi" / "src").glob("*.[ch]"):
        texts[path.name] = re.sub(r"//.*", "", path.read_text())
    return texts


def users(function: str, texts: dict[str, str]) -> list[str]:
    return sorted(name for name, text in texts.items() if re.search(rf"\b{function}\b", text))


def exported(library: Path) -> set[str]:
    """Read the names of the dynamic symbols that a 64-bit ELF library defines."""
    data = library.read_bytes()
    (offset,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]
    found = set()
    for header in headers:
        if header[1] != 11:  # SHT_DYNSYM
            continue
        strings = headers[header[6]][4]
        for at in range(header[4], header[4] + header[5], 24):
            name, _, _, section = struct.unpack_from("<IBBH", data, at)
            if section != 0:
                start = strings + name
                found.add(data[start : data.index(b"\0", start)].decode())
    return found


def test_all_of_the_backend_api_is_there():
    listed = [name for name, _, _ in ROW.findall(PAGE.read_text())]
    assert len(listed) == len(set(listed))
    assert len([name for name in listed if name.startswith("TRITONBACKEND_")]) == 105


def test_it_lists_what_is_declared_and_nothing_is_declared_that_it_calls_unused():
    unused = {name for name, (here, _) in rows().items() if here.startswith("not used: ")}
    assert set(rows()) - unused - entries() == declared()


def test_it_says_where(request):
    texts = code()
    expected = {}
    for name, (here, _) in rows().items():
        found = users(name, texts)
        assert not (found and here.startswith("not used: ")), f"{name} is used in {found}"
        expected[name] = ", ".join(found) or ("" if here.startswith("not used: ") else NOT_YET)
    if request.config.getoption("--update-golden"):
        text = ROW.sub(
            lambda row: f"| {row[1]} | {row[2]} | {expected[row[1]]} |".replace("|  |", "| |"),
            PAGE.read_text(),
        )
        PAGE.write_text(text)
    assert {name: where for name, (_, where) in rows().items()} == expected, "see pytest --update-golden"


def test_the_names_here_exist():
    hooks = {
        name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), f"{hookspecs.PROJECT}_spec")
    }
    for function, (here, where) in rows().items():
        if where == NOT_YET:
            continue
        for name in re.findall(r"`([A-Z]\w+(?:\.\w+)?)`", here):
            cls, _, attribute = name.partition(".")
            assert cls in sdk.__all__, f"{function}: {name}"
            owner = getattr(sdk, cls)
            known = {
                *dir(owner),
                *(key for base in owner.__mro__ for key in getattr(base, "__annotations__", ())),
            }
            assert not attribute or attribute in known, f"{function}: {name}"
        if here.startswith("hook"):
            assert set(re.findall(r"`([a-z_]+)`", here)) <= hooks, function


def test_the_real_library_has_what_it_lists():
    symbols = exported(installed_library())
    backend = {name for name in symbols if name.startswith("TRITONBACKEND_")}
    assert len(backend) > 80
    assert backend <= set(rows())
    missing = {name for name in rows() if name not in symbols} - entries() - LATER
    optional = {
        name
        for name, is_optional in re.findall(r'\{"(\w+)", (\w+)\}', builder.table_header())
        if is_optional == "true"
    }
    assert missing <= optional


@pytest.mark.parametrize("name", ["identity"])
def test_a_built_backend_exports_the_entry_points(tmp_path, name):
    folder = build_backend(Project.find(ROOT / "examples" / name), tmp_path)
    assert {
        symbol for symbol in exported(folder / f"libtriton_{name}.so") if symbol.startswith("TRITON")
    } == entries()

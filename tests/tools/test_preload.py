"""Libraries before all others: built here with gcc, loaded into the real tritonserver."""

import os
import subprocess
import sys

import pytest

from triton_backend_sdk.tools import preload
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server import TritonServer, find_server
from triton_backend_sdk.tools.server_errors import start_error

#: Says which program has loaded it.
TELLS = """
#include <errno.h>
#include <stdio.h>
extern int answer(void);
__attribute__((constructor)) static void tell(void) {
  fprintf(stderr, "preloaded %d into %s\\n", answer(), program_invocation_short_name);
}
"""


def gcc(source, target, *flags):
    subprocess.run(
        ["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-x", "c", "-", "-o", target, *flags],
        input=source, text=True, check=True, timeout=60,
    )  # fmt: skip
    return target


@pytest.fixture
def operations(tmp_path):
    """Give a library of operations; the framework that it needs lies in a wheel named torch."""
    framework = tmp_path / "site" / "torch" / "lib"
    framework.mkdir(parents=True)
    (framework.parent / "__init__.py").write_text("raise ImportError('this is to be found, not imported')")
    gcc("int answer(void) { return 42; }", framework / "libfakeframework.so")
    (tmp_path / "ops").mkdir()
    return gcc(TELLS, tmp_path / "ops" / "libops.so", f"-L{framework}", "-lfakeframework")


def test_it_is_loaded_into_the_server_with_its_framework_and_into_no_helper(
    operations, empty, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path / "site")
    with TritonServer(empty, preload=[operations]) as server:
        told = [line for line in server.log_lines() if line.startswith("preloaded")]
    assert told == ["preloaded 42 into tritonserver"]


def test_what_was_there_before_stays(operations, empty, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "site")
    before = gcc("", tmp_path / "libbefore.so")
    env = {"LD_PRELOAD": str(before), "LD_LIBRARY_PATH": "/before"}
    found = preload.environment([operations], env, find_server())
    framework = tmp_path / "site" / "torch" / "lib"
    assert found == {"LD_PRELOAD": f"{operations}:{before}", "LD_LIBRARY_PATH": f"{framework}:/before"}


def test_what_needs_nothing_gets_no_search_path(empty, tmp_path):
    alone = gcc("", tmp_path / "libalone.so")
    assert preload.environment([alone], {}, find_server()) == {"LD_PRELOAD": str(alone)}
    assert preload.environment([], {"LD_PRELOAD": "x"}, find_server()) == {}


def test_a_library_whose_framework_is_nowhere_is_refused_before_the_start(operations, empty):
    server = TritonServer(empty, preload=[operations])
    with pytest.raises(
        HandledError, match=r"libops\.so needs libfakeframework\.so, which is not found"
    ) as caught:
        server.start()
    assert "LD_LIBRARY_PATH" in caught.value.next_step
    assert server.log_lines() == []


def test_what_the_user_found_himself_is_taken(operations, empty, tmp_path):
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "site" / "torch" / "lib")}
    assert preload.environment([operations], env, find_server()) == {"LD_PRELOAD": str(operations)}


@pytest.mark.parametrize(
    ("name", "contents", "words"),
    [
        ("no.so", None, "there is no library"),
        ("text.so", "hello", "is no shared library"),
        ("with space.so", "hello", "has a space or a colon"),
    ],
)
def test_what_cannot_be_preloaded_is_refused(empty, tmp_path, name, contents, words):
    if contents is not None:
        (tmp_path / name).write_text(contents)
    with pytest.raises(HandledError, match=words):
        TritonServer(empty, preload=[tmp_path / name]).start()


ENDS = {
    "undefined": (
        "extern int PyNone(void); int (*keep)(void) = PyNone;",
        "exit status 127",
        "symbol: PyNone",
    ),
    # as torch does where two libraries register operations in one namespace
    "registers": (
        "#include <stdlib.h>\n#include <stdio.h>\n"
        "__attribute__((constructor)) static void twice(void)"
        '{ fputs("Only a single TORCH_LIBRARY can be used\\n", stderr); abort(); }',
        *("signal SIGABRT", "Only a single TORCH_LIBRARY"),
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_library_that_would_end_the_server_is_refused_before_the_start(empty, tmp_path, name):
    source, how, why = ENDS[name]
    library = gcc(source, tmp_path / f"lib{name}.so")
    server = TritonServer(empty, preload=[library])
    with pytest.raises(HandledError, match=rf"does not run with {library} preloaded \({how}\)") as caught:
        server.start()
    assert why in "\n".join(caught.value.details)
    assert ("ldd" if name == "undefined" else "register the same operations") in caught.value.next_step
    assert server.log_lines() == []


def test_a_library_for_another_machine_is_refused_not_ignored(empty, tmp_path):
    library = gcc("", tmp_path / "libother.so")
    image = bytearray(library.read_bytes())
    image[4] = 1  # ELFCLASS32
    library.write_bytes(image)
    with pytest.raises(HandledError, match="does not run with") as caught:
        TritonServer(empty, preload=[library]).start()
    assert "cannot be preloaded" in caught.value.details[0]


def test_what_is_said_of_a_missing_library_where_it_was_not_seen_before():
    lines = ["tritonserver: error while loading shared libraries: libx.so: cannot open shared object file"]
    assert "see ldd" in start_error(lines, 127).next_step
    assert sys.executable

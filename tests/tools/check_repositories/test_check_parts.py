"""What the rules stand on: the server's own schema, and what the system's loader would say."""

import subprocess
import sys
from pathlib import Path

from tritonclient.grpc import model_config_pb2

from triton_backend_sdk.tools.check.libraries import has_symbol, loader_finds, unresolved
from triton_backend_sdk.tools.check.schema import foreign_field, server_fields


def test_the_schema_in_a_library(tmp_path):
    library = tmp_path / "libtritonserver.so"
    library.write_bytes(b"\x7fELF" + bytes(99) + model_config_pb2.DESCRIPTOR.serialized_pb + b"\0\0more")

    fields = server_fields(library)

    assert "max_batch_size" in fields["inference.ModelConfig"]
    assert fields["inference.ModelSequenceBatching.Control"] >= {"kind", "int32_false_true"}
    assert len(fields) > 50


def test_a_library_without_a_schema(tmp_path):
    library = tmp_path / "libtritonserver.so"
    library.write_bytes(b"\x7fELF")

    assert server_fields(library) is None


def test_fields_that_a_schema_lacks():
    config = model_config_pb2.ModelConfig(name="m")
    config.parameters["key"].string_value = "value"
    config.input.add(name="A")
    config.input.add(dims=[1])
    known = {
        "inference.ModelConfig": {"name", "parameters", "input"},
        "inference.ModelParameter": {"string_value"},
        "inference.ModelInput": {"name", "dims"},
    }

    assert foreign_field(config, known) is None
    known["inference.ModelInput"] = {"name"}
    assert foreign_field(config, known) == (("input", 1, "dims"), "inference.ModelInput", "dims")
    known["inference.ModelParameter"] = set()
    known["inference.ModelInput"] = {"name", "dims"}
    assert foreign_field(config, known) == (
        ("parameters", "string_value"),
        "inference.ModelParameter",
        "string_value",
    )


def compile_library(folder: Path, name: str, source: str, *more: str) -> Path:
    (folder / f"{name}.c").write_text(source)
    file = folder / f"lib{name}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", file, folder / f"{name}.c", *more], check=True)
    return file


def test_a_library_that_another_needs(tmp_path):
    needed = compile_library(tmp_path, "needed_here", "int here(void) { return 1; }")
    user = compile_library(
        tmp_path,
        "user",
        "int here(void); int RegisterCustomOps(void) { return here(); }",
        f"-L{tmp_path}",
        "-lneeded_here",
        f"-Wl,-rpath,{tmp_path}",
    )

    assert unresolved(user) == []
    assert has_symbol(user, "RegisterCustomOps")
    assert not has_symbol(needed, "RegisterCustomOps")
    needed.unlink()
    assert unresolved(user) == ["libneeded_here.so"]


def test_nothing_is_said_of_what_is_no_library(tmp_path):
    assert unresolved(tmp_path / "absent") == []
    assert unresolved(Path(sys.executable)) == []


def test_what_the_loader_finds(tmp_path, monkeypatch):
    (tmp_path / "libours.so").touch()

    assert loader_finds("libc.so.6")
    assert not loader_finds("libours.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    assert loader_finds("libours.so")

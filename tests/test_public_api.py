import inspect
import re
from pathlib import Path

import triton_backend_sdk as sdk
from triton_backend_sdk import dtypes, enums, hookspecs

DECLARATIONS = Path(sdk.__file__).parent / "_ffi" / "decl"


def test_all_is_what_a_star_import_gives_and_nothing_else_is_public():
    public = {
        name for name, value in vars(sdk).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public | {"__version__"} == set(sdk.__all__)
    assert sdk.__all__ == sorted(sdk.__all__)


def test_everything_public_is_documented():
    for name in sdk.__all__:
        assert inspect.getdoc(getattr(sdk, name)), name


def c_enum(name: str) -> list[str]:
    text = "".join(path.read_text() for path in DECLARATIONS.glob("*.h"))
    (body,) = re.findall(rf"typedef enum {{([^}}]*)}} {name};", text)
    return re.findall(r"(\w+)", re.sub(r"= *\d+", "", body))


def test_datatypes_are_tritons_in_their_order():
    names = c_enum("TRITONSERVER_DataType")
    assert names[0] == "TRITONSERVER_TYPE_INVALID"
    assert [
        f"TRITONSERVER_TYPE_{dtype.value}" for dtype in sorted(dtypes.DataType, key=lambda d: d.c_value)
    ] == names[1:]
    assert [dtype.c_value for dtype in sorted(dtypes.DataType, key=lambda d: d.c_value)] == list(range(1, 15))


def test_small_enums_are_tritons():
    for python, c, prefix in (
        (enums.MemoryType, "TRITONSERVER_MemoryType", "TRITONSERVER_MEMORY_"),
        (enums.InstanceGroupKind, "TRITONSERVER_InstanceGroupKind", "TRITONSERVER_INSTANCEGROUPKIND_"),
        (enums.ExecutionPolicy, "TRITONBACKEND_ExecutionPolicy", "TRITONBACKEND_EXECUTION_"),
        (enums.LogLevel, "TRITONSERVER_LogLevel", "TRITONSERVER_LOG_"),
    ):
        assert [f"{prefix}{member.name}" for member in python] == c_enum(c)
        assert [member.value for member in python] == list(range(len(python)))


def test_datatype_of_takes_every_name_it_has():
    for dtype in dtypes.DataType:
        for name in (dtype.value, dtype.config_name, dtype.c_value, dtype.numpy_name):
            assert dtypes.DataType.of(name) is dtype
        if dtype is not dtypes.DataType.BYTES:
            assert dtypes.DataType.of(dtype.numpy()) is dtype


def test_every_function_declared_is_used_and_every_macro_has_a_slot():
    from triton_backend_sdk._ffi import builder

    header = builder.table_header()
    declared = re.findall(r"#define (TRITON\w+)", header)
    assert len(declared) > 35
    package = Path(sdk.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py")) + "".join(
        path.read_text() for path in (package / "_ffi" / "src").glob("*.[ch]")
    )
    assert [name for name in declared if not re.search(rf"\b{name}\b", code)] == []


def test_every_hook_is_documented_in_the_readme_with_its_arguments():
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        if hasattr(function, f"{hookspecs.PROJECT}_spec"):
            arguments = ", ".join(inspect.signature(function).parameters)
            assert f"`{name}({arguments})`" in readme

"""Messages in Triton's log: from Python's logging, and as they are."""

import logging

import pytest

from tests.runtime.conftest import DOUBLES
from triton_backend_sdk import Backend
from triton_backend_sdk.enums import LogLevel

KEEPS = (
    DOUBLES
    + """
kept = []
@hookimpl
def initialize(instance):
    kept.append(instance.model.backend)
"""
)


def write_all(backend):
    for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
        backend.log(getattr(logging, level), f"says {level}", "/some/where/else.py", 123)


@pytest.mark.parametrize(("verbose", "expected"), [(0, "IWE"), (1, "IIWE")])
def test_a_message_is_logged_as_it_is_at_its_level(serve, verbose, expected):
    served = serve(KEEPS, core_options={"log_verbose": verbose})
    write_all(served.module.kept[0])
    lines = [line for line in served.log.splitlines() if "says " in line]
    assert "".join(line[0] for line in lines) == expected
    assert all(" else.py:123] " in line for line in lines)
    assert "triton." not in lines[0].split("]", 1)[1]


def test_without_a_server_pythons_logging_gets_it(tmp_path, caplog):
    backend = Backend("here", {}, tmp_path)
    with caplog.at_level("INFO"):
        write_all(backend)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (level, f"says {level}") for level in ("INFO", "WARNING", "ERROR")
    ]
    assert {(record.name, record.lineno, record.pathname) for record in caplog.records} == {
        ("triton.here", 123, "/some/where/else.py")
    }


@pytest.mark.parametrize(
    ("level", "expected"), [(5, "VERBOSE"), (10, "VERBOSE"), (20, "INFO"), (35, "WARN"), (60, "ERROR")]
)
def test_levels(level, expected):
    assert LogLevel.of(level).name == expected

import json

import pytest

from triton_backend_sdk.cli import doctor, run
from triton_backend_sdk.tools.doctor import Finding

GOOD = Finding("Python", "ok", "3.11.7")
ODD = Finding("ml_dtypes", "warn", "not installed: for BF16 tensors", "python -m pip install ml_dtypes")
BAD = Finding("C compiler", "fail", "no C compiler: looked for cc", "apt-get install gcc")


@pytest.fixture
def findings(monkeypatch):
    found = [GOOD]
    monkeypatch.setattr(doctor, "examine", lambda: iter(found))
    return found


def test_all_is_well(findings, capsys):
    assert run(["doctor"]) == 0

    assert capsys.readouterr().out.split() == ["ok", "Python", "3.11.7"]


def test_a_warning_is_not_a_failure(findings, capsys):
    findings.append(ODD)

    assert run(["doctor"]) == 0

    assert "  ml_dtypes:         python -m pip install ml_dtypes\n" in capsys.readouterr().out


def test_what_is_required_fails(findings, capsys):
    findings.append(BAD)

    assert run(["doctor"]) == 1

    printed = capsys.readouterr().out
    assert "FAIL" in printed
    assert "  C compiler:        apt-get install gcc\n" in printed


def test_json(findings, capsys):
    findings.append(BAD)

    assert run(["doctor", "--json"]) == 1

    assert json.loads(capsys.readouterr().out) == [
        {"name": "Python", "verdict": "ok", "detail": "3.11.7", "mend": None},
        {
            "name": "C compiler",
            "verdict": "fail",
            "detail": "no C compiler: looked for cc",
            "mend": "apt-get install gcc",
        },
    ]


def test_this_machine():
    assert run(["doctor"]) == 0

"""What `tbsdk explain` makes of what the real server says of all that `tbsdk check` is held against."""

from __future__ import annotations

import concurrent.futures
import re
from pathlib import Path

import pytest

from tests.integration.test_explain import log_of
from tests.tools.check_repositories.alone import ALONE, Alone
from tests.tools.check_repositories.cases import TOGETHER, Case
from tests.tools.check_repositories.conftest import backends  # noqa: F401  the fixture
from triton_backend_sdk.tools.explain.explanation import Explanation, Finding, explain
from triton_backend_sdk.tools.explain.records import read

MODES = {"completed": (), "strict": ("--disable-auto-complete-config",)}
#: Where the server has one text for two rules, or says another first: what `check` says, and what the log tells.
ALIKE = {"C03": {"C10"}, "C09": {"C07"}, "C12": {"C03"}}
_READY = re.compile(r"(?m)^\| (\S+) +\| \d+ +\| READY +\|$")
_STARTED = "Started GRPCInferenceService"


class Told:
    """A server's log, and what it tells."""

    def __init__(self, folder: Path, flags: list[str]) -> None:
        self.log = log_of(folder, flags, 100).read_text()
        self.ready = set(_READY.findall(self.log))
        self.explanation: Explanation = explain(read(self.log.split("\n")))

    def errors(self, model: str | None = None) -> list[Finding]:
        told = [*self.explanation.findings, *self.explanation.led_to]
        found = [each for each in told if each.severity == "error"]
        return [each for each in found if model is None or model in each.models]


@pytest.fixture(scope="module", params=MODES)
def told(request, tmp_path_factory, backends: Path) -> Told:  # noqa: F811
    """Give what a log of all models tells."""
    root = tmp_path_factory.mktemp("explained")
    for case in TOGETHER:
        case.write(root / "models")
    flags = [
        f"--model-repository={root / 'models'}",
        f"--backend-directory={backends}",
        "--exit-on-error=false",
        *MODES[request.param],
    ]
    return Told(root, flags)


def test_every_error_is_known(told: Told):
    assert [each.said for each in told.explanation.findings if each.id == "unknown"] == []


@pytest.mark.parametrize("case", [case for case in TOGETHER if case.rules], ids=lambda case: case.name)
def test_the_rule_of_check_is_named(told: Told, case: Case):
    found = told.errors(case.name)
    if case.name in told.ready:  # it is requests that fail
        assert found == []
        return

    alike = set(case.rules).union(*(ALIKE.get(rule, ()) for rule in case.rules))
    assert {each.rule for each in found} & alike, [(each.id, each.said) for each in found]


@pytest.mark.parametrize("case", [case for case in TOGETHER if not case.rules], ids=lambda case: case.name)
def test_nothing_is_said_of_what_is_sound(told: Told, case: Case):
    assert [(each.id, each.said) for each in told.errors(case.name)] == []


@pytest.fixture(scope="module")
def alone(tmp_path_factory, backends: Path) -> dict[str, Told]:  # noqa: F811
    """Give what the logs of servers of their own tell, a few at a time."""

    def run(each: Alone, root: Path) -> Told:
        places = [f"--model-repository={place}" for place in each.build(root / "models")]
        return Told(root, [*places, f"--backend-directory={backends}", *each.flags])

    def folder() -> Path:
        root: Path = tmp_path_factory.mktemp("alone")
        (root / "models").mkdir()
        return root

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        running = {each.name: pool.submit(run, each, folder()) for each in ALONE}
        return {name: each.result() for name, each in running.items()}


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_a_server_of_its_own(alone: dict[str, Told], case: Alone):
    told = alone[case.name]
    found = told.errors() or [each for each in told.explanation.findings if each.severity == "warning"]

    assert [each.said for each in found if each.id == "unknown"] == []
    if _STARTED in told.log:
        assert told.errors() == []
    else:
        assert found, told.log

"""What `tbsdk explain` makes of what the real server says of the models that `tbsdk check` is held against."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_explain import log_of
from tests.tools.check_repositories.cases import TOGETHER, Case
from tests.tools.check_repositories.conftest import backends  # noqa: F401  the fixture
from triton_backend_sdk.tools.explain.explanation import Explanation, explain
from triton_backend_sdk.tools.explain.records import read

MODES = {"completed": (), "strict": ("--disable-auto-complete-config",)}
#: Where the server has one text for two rules, or says another first: what `check` says, and what the log tells.
ALIKE = {"C03": {"C10"}, "C12": {"C03"}}


@pytest.fixture(scope="module", params=MODES)
def explanation(request, tmp_path_factory, backends: Path) -> Explanation:  # noqa: F811
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
    return explain(read(log_of(root, flags, 100).read_text().split("\n")))


def test_every_error_is_known(explanation):
    assert [each.said for each in explanation.findings if each.id == "unknown"] == []


@pytest.mark.parametrize("case", [case for case in TOGETHER if case.rules], ids=lambda case: case.name)
def test_the_rule_of_check_is_named(explanation: Explanation, case: Case):
    found = [each for each in explanation.findings if each.model == case.name and each.severity == "error"]
    if not found:
        pytest.skip("the server says nothing of it while it starts")

    alike = set(case.rules).union(*(ALIKE.get(rule, ()) for rule in case.rules))
    assert {each.rule for each in found} & alike, [(each.id, each.said) for each in found]

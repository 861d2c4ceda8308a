"""What the README says is so."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import serve  # noqa: F401  the fixture
from triton_backend_sdk.cli import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def plugins() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(plugins())))
def test_every_plugin_shown_works_in_the_real_core(serve, number):  # noqa: F811
    served = serve(plugins()[number], batch=8, parameters={"scale": "2"})
    assert served.infer({"IN": np.array([[1, 2, 3]], np.float32)})["OUT"].tolist() == [[2, 4, 6]]


def test_the_first_plugin_is_short():
    assert len([line for line in plugins()[0].splitlines() if line.strip()]) <= 20


def test_commands_named_exist_and_all_are_named():
    named = set(re.findall(r"tbsdk ([a-z]+)", README))
    assert named == set(COMMANDS)
    table = dict(re.findall(r"^\| `tbsdk (\w+)` \| (.+) \|$", README, re.MULTILINE))
    assert list(table) == list(COMMANDS)


def test_make_targets_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), target


def test_files_linked_are_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_table_of_results_is_the_one_measured():
    results = (ROOT / "benchmarks" / "results" / "results.md").read_text().strip()
    shown = README.split("results.md -->\n")[1].split("<!-- end of results -->")[0].strip()
    assert shown == results


def test_fixtures_named_exist():
    from triton_backend_sdk.testing import pytest_plugin

    for fixture in re.findall(r"^\| `(\w+)\(.*\)` \| (?:runs|loads|a real)", README, re.MULTILINE):
        assert hasattr(pytest_plugin, fixture)


def test_no_text_of_the_project_names_what_is_not_its_own():
    words = ["pypi" + ".org", "files.python" + "hosted", "/root" + "/", "../" + "shared"]
    for path in ROOT.rglob("*"):
        if path.suffix not in (".py", ".md", ".toml", ".c", ".h", ".pbtxt", ".txt", "") or not path.is_file():
            continue
        if {".git", ".venv", "build"} & set(path.relative_to(ROOT).parts) or "cache" in str(
            path.relative_to(ROOT)
        ):
            continue
        text = path.read_text(errors="ignore")
        assert not [word for word in words if word in text], path

"""`tbsdk check`, the real server and `tbsdk explain` on the same repositories: they are to agree on every one of them.

What a server made of them serves both: `check` is held against the verdict, `explain` reads the log. All of it is in
one module, so that the processes of `pytest -n --dist loadscope` start each server once.
"""

from __future__ import annotations

import concurrent.futures
import functools
import json
import re
import urllib.error
from pathlib import Path

import pytest

from tests.tools.check_repositories.alone import ALONE, Alone
from tests.tools.check_repositories.cases import TOGETHER, Case
from triton_backend_sdk.testing.pytest_plugin import _give_up
from triton_backend_sdk.tools.check.config_file import ConfigFile
from triton_backend_sdk.tools.check.engine import check
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.explain import explanation
from triton_backend_sdk.tools.explain.explanation import Explanation
from triton_backend_sdk.tools.explain.records import read
from triton_backend_sdk.tools.installation import ServerInstallation, find_server
from triton_backend_sdk.tools.server import TritonServer
from triton_backend_sdk.tools.server_log import text_of
from triton_backend_sdk.tools.server_options.options import ServerOptions

#: Of these the SDK's backend says something before Triton does.
SDK_FIRST = ("state_twice", "state_growable", "state_growable_cpu")
MODES = {"completed": (), "strict": ("--disable-auto-complete-config",)}
#: Where the server has one text for two rules, or says another first: what `check` says, and what the log tells.
ALIKE = {"C03": {"C10"}, "C09": {"C07"}, "C12": {"C03"}}
_READY = re.compile(r"(?m)^\| (\S+) +\| \d+ +\| READY +\|$")
_STARTED = "Started GRPCInferenceService"


class _Unchecked(TritonServer):
    """A server that judges for itself what the launcher would refuse before the start."""

    def check(self) -> None:
        self._ports.choose()


class Outcome:
    """What a server made of repositories, and what `check` says of them."""

    def __init__(
        self, roots: list[Path], backends: Path, flags: tuple[str, ...], installed: ServerInstallation
    ) -> None:
        self.lines: list[str] = []
        self.served: set[str] = set()
        #: Models of which a request failed, with the server's answer.
        self.failed: dict[str, str] = {}
        self.findings = check(
            ServerOptions.from_argv(
                [*(f"--model-repository={root}" for root in roots), f"--backend-directory={backends}", *flags]
            ),
            server=installed,
        )
        server = _Unchecked(
            roots,
            ServerOptions.from_argv(flags),
            backend_directory=backends,
            server=installed,
            on_line=self.lines.append,
        )
        server.start()
        try:
            rows = server.wait_ready(100)
            self.started = True
        except HandledError:
            self.started = False
        else:
            self.rows = {row.name for row in rows}
            failed = {row.name for row in rows if row.state != "READY"}
            self.served = {row.name for row in rows if row.state == "READY"} - failed
            for root in roots:
                for name in self.served:
                    self._ask(server, name, root / name / "config.pbtxt")
        finally:
            self.crashed = (server.returncode or 0) < 0
            server.stop()
        self.log = "\n".join(text_of(line) for line in self.lines)

    def _ask(self, server: TritonServer, name: str, file: Path) -> None:
        config = ConfigFile(str(file), file.read_text()).message if file.is_file() else None
        if config is None or config.model_transaction_policy.decoupled:
            return
        batch = [1] if config.max_batch_size else []
        inputs = {each.name: [*batch, *(dim if dim > 0 else 4 for dim in each.dims)] for each in config.input}
        types = {each.name: each.data_type for each in config.input}
        names = config.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
        body = {
            "inputs": [
                {
                    "name": key,
                    "shape": shape,
                    "datatype": names[types[key]].name.removeprefix("TYPE_"),
                    "data": [0] * _count(shape),
                }
                for key, shape in inputs.items()
            ],
        }
        if config.HasField("sequence_batching"):
            body["parameters"] = {"sequence_id": 1, "sequence_start": True, "sequence_end": True}
        try:
            server.request(f"/v2/models/{name}/infer", method="POST", body=body)
        except urllib.error.HTTPError as error:
            self.failed[name] = str(json.load(error)["error"])

    def errors(self, model: str | None = None) -> list[Finding]:
        return [
            each
            for each in self.findings
            if each.severity == "error" and (model is None or each.model == model)
        ]

    @functools.cached_property
    def explanation(self) -> Explanation:
        return explanation.explain(read(self.lines))

    def explained(self, model: str | None = None) -> list[explanation.Finding]:
        """Give the errors that the log tells of."""
        told = [*self.explanation.findings, *self.explanation.led_to]
        found = [each for each in told if each.severity == "error"]
        return [each for each in found if model is None or model in each.models]


def _count(shape: list[int]) -> int:
    count = 1
    for dim in shape:
        count *= dim
    return count


def said(finding: Finding, log: str) -> bool:
    return finding.server_says is None or finding.server_says in log


@pytest.fixture(scope="module")
def installed() -> ServerInstallation:
    """Give the real server."""
    try:
        return find_server()
    except HandledError as error:
        _give_up(str(error))


@pytest.fixture(scope="module")
def together(
    tmp_path_factory: pytest.TempPathFactory, backends: Path, installed: ServerInstallation
) -> dict[str, Outcome]:
    """Give what came of all cases in one repository, with configs completed and taken as they are."""
    outcomes = {}
    for mode, more in MODES.items():
        root = tmp_path_factory.mktemp(mode)
        for case in TOGETHER:
            case.write(root)
        flags = ("--exit-on-error=false", *more)
        outcomes[mode] = Outcome([root], backends, flags, installed)
    return outcomes


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", TOGETHER, ids=lambda case: case.name)
def test_a_model(together: dict[str, Outcome], case: Case, mode: str) -> None:
    outcome = together[mode]
    errors = outcome.errors(case.name)
    works = case.name in outcome.served and not (case.asked and case.name in outcome.failed)

    assert works == (not errors), (outcome.failed.get(case.name), [each.message for each in errors])
    if case.config is not None:
        assert {each.rule for each in errors} == set(case.rules)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", [case for case in TOGETHER if case.rules], ids=lambda case: case.name)
def test_the_words_about_a_model(together: dict[str, Outcome], case: Case, mode: str) -> None:
    # Of several faults the server names the first; of a tensor's a backend may speak before Triton does.
    log = "\n".join([each.log for each in together.values()] + list(together[mode].failed.values()))

    errors = together[mode].errors(case.name)

    assert any(said(each, log) for each in errors), [each.server_says for each in errors]


@pytest.mark.parametrize("mode", MODES)
def test_every_error_is_explained(together: dict[str, Outcome], mode: str) -> None:
    assert [each.said for each in together[mode].explanation.findings if each.id == "unknown"] == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", [case for case in TOGETHER if case.rules], ids=lambda case: case.name)
def test_the_explanation_names_the_rule(together: dict[str, Outcome], case: Case, mode: str) -> None:
    outcome = together[mode]
    found = outcome.explained(case.name)
    if case.name in _READY.findall(outcome.log):  # it is requests that fail
        assert found == []
        return

    alike = set(case.rules).union(*(ALIKE.get(rule, ()) for rule in case.rules))
    assert {each.rule for each in found} & alike, [(each.id, each.said) for each in found]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", [case for case in TOGETHER if not case.rules], ids=lambda case: case.name)
def test_nothing_is_explained_of_what_is_sound(together: dict[str, Outcome], case: Case, mode: str) -> None:
    assert [(each.id, each.said) for each in together[mode].explained(case.name)] == []


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, backends: Path, installed: ServerInstallation
) -> dict[str, Outcome]:
    """Give what came of each, a few at a time."""

    def run(each: Alone, root: Path) -> Outcome:
        return Outcome(each.build(root), backends, each.flags, installed)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        running = {each.name: pool.submit(run, each, tmp_path_factory.mktemp("alone")) for each in ALONE}
        return {name: each.result() for name, each in running.items()}


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_a_repository(alone: dict[str, Outcome], case: Alone) -> None:
    outcome = alone[case.name]
    errors = outcome.errors()

    works = outcome.started and outcome.rows == outcome.served and not (case.asked and outcome.failed)
    assert works == (not errors), [each.message for each in errors]
    assert {each.rule for each in errors} == set(case.rules)
    assert {each.rule for each in outcome.findings if each.severity == "warning"} == set(case.warnings)


@pytest.mark.parametrize("case", [case for case in ALONE if case.rules], ids=lambda case: case.name)
def test_the_words_about_a_repository(alone: dict[str, Outcome], case: Alone) -> None:
    outcome = alone[case.name]
    if outcome.crashed:  # its words are lost then
        assert case.crashes
        return

    assert case.name in SDK_FIRST or any(said(each, outcome.log) for each in outcome.errors())


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_the_explanation_of_a_repository(alone: dict[str, Outcome], case: Alone) -> None:
    outcome = alone[case.name]
    errors = outcome.explained()
    found = errors or [each for each in outcome.explanation.findings if each.severity == "warning"]

    assert [each.said for each in found if each.id == "unknown"] == []
    if _STARTED in outcome.log:
        assert errors == []
    else:
        assert found, outcome.log

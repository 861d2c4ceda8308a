"""Fixtures for the tests of a backend, once the SDK is installed; ``-p no:triton_backend_sdk`` opts out.

``fake_host``
    runs the plugin's hooks on NumPy arrays: ``[out] = fake_host("mybackend.plugin").execute({"IN": x})``
``triton_core``
    runs the plugin in the real Triton core, inside pytest's own process, on the project's own source: a
    breakpoint, coverage and monkeypatch work. ``out = triton_core().infer("mybackend", {"IN": x})``
``tritonserver``
    starts a real server process: ``tritonserver().http_url``

The project is the one that the test file lies in, unless a path is given. A model.py of Triton's Python
backend needs none: ``triton_core(model_repository=folder, compat=True)``, likewise ``tritonserver``, and
``fake_host(PythonBackend, folder / "mymodel" / "config.pbtxt")`` with the class from
``triton_backend_sdk.python_backend``.

Where a server or a compiler is missing the last two skip the test, and say what to type; with
TBSDK_REQUIRE_REAL=1 they fail it, so that CI cannot skip them unseen. The log of Triton is part of a failed
test's report.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

# Nothing of the SDK's is imported here: pytest loads this module in every run, and coverage starts after it.
if TYPE_CHECKING:
    from types import ModuleType

    from triton_backend_sdk.testing.core import TritonCore
    from triton_backend_sdk.testing.fake_host import FakeHost
    from triton_backend_sdk.tools.project import Project
    from triton_backend_sdk.tools.server import TritonServer

#: Fails instead of skipping.
REQUIRE_REAL = "TBSDK_REQUIRE_REAL"
_LOGS = pytest.StashKey[list[Callable[[], str]]]()
_Repository = Path | Sequence[Path]


@pytest.fixture
def fake_host(request: pytest.FixtureRequest) -> Iterator[Callable[..., FakeHost]]:
    """Give ``fake_host(plugin, config=None, **FakeHost's options)``; finalize is called at the test's end.

    :return: makes a :class:`~triton_backend_sdk.testing.fake_host.FakeHost`. Without a config it takes the
        config.pbtxt of the project's model, if there is just one.
    """
    with contextlib.ExitStack() as stack:

        def make(
            plugin: str | ModuleType | type,
            config: Mapping[str, Any] | str | Path | None = None,
            **options: Any,
        ) -> FakeHost:
            from triton_backend_sdk.testing.fake_host import FakeHost  # noqa: PLC0415  see above

            if config is None:
                config = _only_config(_find_project(request, None))
            return stack.enter_context(FakeHost(plugin, config, **options))

        yield make


@pytest.fixture
def triton_core(
    request: pytest.FixtureRequest, _tbsdk_builds: Callable[[Project | None], Path]
) -> Iterator[Callable[..., TritonCore]]:
    """Give ``triton_core(path=None, model_repository=None, *, models=None, compat=False, **options)``.

    :return: makes a started :class:`~triton_backend_sdk.testing.core.TritonCore`, closed at the test's end.
        The path is a project's or a built backend's; ``models`` are those to load, all if not given; with
        ``compat`` they are a model.py each; the options are TritonCore's.
    """
    with contextlib.ExitStack() as stack:

        def make(
            path: Path | None = None,
            model_repository: _Repository | None = None,
            *,
            models: Sequence[str] | None = None,
            compat: bool = False,
            **options: Any,
        ) -> TritonCore:
            from triton_backend_sdk.testing.core import TritonCore  # noqa: PLC0415  see above
            from triton_backend_sdk.testing.core_options import installed_library  # noqa: PLC0415  see above

            with _or_skip():
                library = options.pop("library", None) or installed_library()
            repository, backends = _locate(request, path, model_repository, _tbsdk_builds, compat)
            with _or_skip():
                core = stack.enter_context(TritonCore(repository, backends, library=library, **options))
            _attach_log(request, core.log_text)
            for name in _model_names(repository) if models is None else models:
                core.load(name)
            return core

        yield make


@pytest.fixture
def tritonserver(
    request: pytest.FixtureRequest, _tbsdk_builds: Callable[[Project | None], Path]
) -> Iterator[Callable[..., TritonServer]]:
    """Give ``tritonserver(path=None, model_repository=None, *, compat=False, **TritonServer's options)``.

    :return: makes a :class:`~triton_backend_sdk.tools.server.TritonServer` that is ready; it is stopped at
        the test's end.
    """
    with contextlib.ExitStack() as stack:

        def make(
            path: Path | None = None,
            model_repository: _Repository | None = None,
            *,
            compat: bool = False,
            **options: Any,
        ) -> TritonServer:
            from triton_backend_sdk.tools.server import TritonServer, find_server  # noqa: PLC0415  see above

            with _or_skip():
                installed = options.pop("server", None) or find_server()
            repository, backends = _locate(request, path, model_repository, _tbsdk_builds, compat)
            server = TritonServer(repository, backend_directory=backends, server=installed, **options)
            _attach_log(request, server.log_text)
            return stack.enter_context(server)

        yield make


@pytest.fixture(scope="session")
def _tbsdk_builds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Project | None], Path]:
    """Build each project once per session, None being what serves a model.py; gives the backend directory."""
    built: dict[Path | None, Path] = {}

    def build(project: Project | None) -> Path:
        from triton_backend_sdk.tools.build import build_backend  # noqa: PLC0415  see above
        from triton_backend_sdk.tools.compat import build_compat  # noqa: PLC0415  see above

        root = project.root if project else None
        if root not in built:
            out = tmp_path_factory.mktemp("backends")
            with _or_skip():
                if project:  # linked, not copied: breakpoints and coverage know the files of the project
                    build_backend(project, out, link=True)
                else:
                    build_compat(out)
            built[root] = out
        return built[root]

    return build


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of Triton where a test failed."""
    report = yield
    if report.failed:
        report.sections += [("Triton's log", text) for log in item.stash.get(_LOGS, []) if (text := log())]
    return report


def _attach_log(request: pytest.FixtureRequest, log: Callable[[], str]) -> None:
    request.node.stash.setdefault(_LOGS, []).append(log)


def _locate(
    request: pytest.FixtureRequest,
    path: Path | None,
    model_repository: _Repository | None,
    build: Callable[[Project | None], Path],
    compat: bool,
) -> tuple[_Repository, Path]:
    """Give the model repository and the backend directory."""
    if compat:
        if model_repository is None or path is not None:
            pytest.fail("compat=True takes no project: give the model_repository alone", pytrace=False)
        return model_repository, build(None)
    if path is not None and any(path.glob("libtriton_*.so")):
        if model_repository is None:
            pytest.fail(f"{path} is a built backend: give a model_repository with it", pytrace=False)
        return model_repository, path.parent
    project = _find_project(request, path)
    return model_repository or project.model_repository, build(project)


def _find_project(request: pytest.FixtureRequest, path: Path | None) -> Project:
    from triton_backend_sdk.tools.errors import HandledError  # noqa: PLC0415  see above
    from triton_backend_sdk.tools.project import Project  # noqa: PLC0415  see above

    try:
        return Project.find(path or request.path.parent)
    except HandledError as error:
        pytest.fail(_text(error), pytrace=False)


def _only_config(project: Project) -> Path:
    configs = sorted(project.model_repository.glob("*/config.pbtxt"))
    if len(configs) != 1:
        pytest.fail(
            f"{project.model_repository} holds {len(configs)} models: say which with config=PATH",
            pytrace=False,
        )
    return configs[0]


def _model_names(repository: _Repository) -> list[str]:
    folders = [repository] if isinstance(repository, Path) else repository
    return sorted(model.name for folder in folders for model in folder.iterdir() if model.is_dir())


@contextlib.contextmanager
def _or_skip() -> Iterator[None]:
    """Skip the test, or fail it where real parts are required, if this machine lacks one of them."""
    from triton_backend_sdk.errors import UnavailableError  # noqa: PLC0415  see above
    from triton_backend_sdk.tools.errors import HandledError  # noqa: PLC0415  see above

    try:
        yield
    except (HandledError, UnavailableError) as error:
        _give_up(_text(error))


def _give_up(reason: str) -> NoReturn:
    if os.environ.get(REQUIRE_REAL, "") not in ("", "0"):
        pytest.fail(f"{reason} ({REQUIRE_REAL} is set: not skipped)", pytrace=False)
    pytest.skip(reason)


def _text(error: Exception) -> str:
    next_step = getattr(error, "next_step", None)
    return f"{error.args[0]}; next: {next_step}" if next_step else str(error)

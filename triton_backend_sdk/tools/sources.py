"""What is to be served: projects, which are built, and model repositories, which are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.check.repository import Repository
from triton_backend_sdk.tools.compat import NAME, build_compat, link_others
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import NEW, Project
from triton_backend_sdk.tools.server_options.options import is_uri


@dataclass(frozen=True)
class Sources:
    """Projects and model repositories that one server serves."""

    projects: list[Project]
    repositories: list[Path | str]
    #: Models of the stock Python backend run in process.
    compat: bool

    @property
    def built(self) -> list[str]:
        """The names of the backends that are built."""
        return [NAME] if self.compat else [project.name for project in self.projects]

    @property
    def folders(self) -> list[Path]:
        """The repositories on this machine."""
        return [Path(place) for place in self.repositories if not is_uri(place)]

    def home(self) -> Path | None:
        """Give the folder to build in, where there is one that suits."""
        if len(self.projects) == 1:
            return self.projects[0].root / "build" / "serve"
        return None

    def build(self, out: Path, others: Path | None, progress: Callable[[str], None]) -> Path | None:
        """Build all into a folder, with the server's other backends linked beside; gives what Triton gets.

        :param others: the folder of the server's own backends.
        """
        if not self.built:
            return others
        if self.compat:
            build_compat(out, others, progress=progress)
            return out
        for project in self.projects:
            # found anew: what its pyproject.toml says may have changed
            build_backend(Project.find(project.root), out, link=True, progress=progress)
        link_others(out, others)
        return out


def find_sources(paths: Sequence[str], repositories: Sequence[str | Path], compat: bool) -> Sources:
    """Tell projects from repositories.

    :param paths: as a person names them; without any it is the project here.
    :param repositories: more of them, which are never projects.
    :raises HandledError: one is neither; says what was looked for.
    """
    # a shell leaves the ~ of --model-repository=~/models alone
    repositories = [each if is_uri(each) else Path(each).expanduser() for each in repositories]
    for each in (*paths, *repositories):
        if not is_uri(each) and not Path(each).exists():
            raise HandledError(
                f"there is no {each}: a backend project or a model repository was expected",
                f"mend the path; {NEW} makes a project",
            )
    for each in repositories:
        if isinstance(each, Path):
            _refuse_model(each)
    if compat:
        named = paths or ([] if repositories else ["."])
        checked = [path if is_uri(path) else _models_of_python(Path(path)) for path in named]
        return Sources([], _once([*checked, *repositories]), compat=True)
    projects: dict[Path, Project] = {}
    found: list[Path | str] = []
    for path in paths or _here(repositories):
        project, repository = (None, path) if is_uri(path) else _look(Path(path))
        if project is not None:
            projects.setdefault(project.root, project)
        found.append(repository)
    names = [project.name for project in projects.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise HandledError(f"two of the projects build a backend named {twice!r}", "serve one of them")
    return Sources(list(projects.values()), _once([*found, *repositories]), compat=False)


def _once(repositories: Sequence[Path | str]) -> list[Path | str]:
    """Leave out what is named again, in which a server would find every model twice."""
    return list({place if is_uri(place) else Path(place).resolve(): place for place in repositories}.values())


def _here(repositories: Sequence[str | Path]) -> list[str]:
    if repositories:
        try:
            Project.find(Path())
        except HandledError:
            return []  # what is named elsewhere is all there is
    return ["."]


def _look(path: Path) -> tuple[Project | None, Path]:
    try:
        project = Project.find(path)
    except HandledError as error:
        if any(path.glob("*/*/model.py")):
            next_step = (
                f"there are models of Triton's Python backend: tbsdk serve --compat {path}, or "
                f"--model-repository={path} for the stock backend"
            )
            raise HandledError(error.message, next_step) from None
        if _is_repository(path):
            return None, path
        _refuse_model(path)
        _refuse_model(path.resolve().parent)
        raise HandledError(
            f"{error.message}; nor is it a model repository: no MODEL/config.pbtxt and no MODEL/1 in it",
            f"{NEW} makes a project; a repository is the folder that holds the models",
        ) from None
    if path.resolve() != project.root and _is_repository(path):
        return project, path
    return project, _repository_of(project)


def _is_repository(path: Path) -> bool:
    versions = (folder for folder in path.glob("*/*") if folder.name.isdigit() and folder.is_dir())
    return path.is_dir() and (any(path.glob("*/config.pbtxt")) or any(versions))


def _refuse_model(folder: Path) -> None:
    """Say which folder was meant where a model stands for its repository."""
    if folder.is_dir() and Repository(folder).looks_like_a_model:
        raise HandledError(
            f"{folder} looks like a model, not a model repository",
            f"name the folder that holds it: {folder.resolve().parent}",
        )


def _repository_of(project: Project) -> Path:
    if not project.model_repository.is_dir():
        raise HandledError(
            f"{project.name} has no models to serve: there is no folder {project.model_repository}",
            f"write {project.model_repository.name}/{project.name}/config.pbtxt, which says "
            f'`backend: "{project.name}"`, and a folder 1 beside it',
        )
    return project.model_repository


def _models_of_python(repository: Path) -> Path:
    """Refuse a folder that is no model repository, before a server says it in other words."""
    if any(repository.glob("*/*/*.py")) or any(repository.glob("*/config.pbtxt")):
        return repository
    _refuse_model(repository)
    _refuse_model(repository.resolve().parent)
    raise HandledError(
        f"no models to serve in {repository}: looked for MODEL/1/model.py",
        "name the folder that holds MODEL/1/model.py",
    )

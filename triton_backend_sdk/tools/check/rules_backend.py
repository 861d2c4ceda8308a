"""C10 to C12, C40: the backend, and its library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.check.finding import Finding, Place
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare, repository_rule

C10 = declare("C10", "neither backend nor platform says who serves the model")
C11 = declare("C11", "a backend with the platform of another one")
C12 = declare("C12", "a backend or repository agent whose library is not there", phase="load")
C40 = declare("C40", "something that today's images no longer have", "warning", "ours")
#: Backends that Triton itself knows: the platforms that each takes.
PLATFORMS = {
    "tensorflow": ("tensorflow_graphdef", "tensorflow_savedmodel"),
    "tensorrt": ("tensorrt_plan",),
    "onnxruntime": ("onnxruntime_onnx",),
    "pytorch": ("pytorch_libtorch", "torch_aoti"),
}
ENSEMBLE = "ensemble"
#: The first servers without TensorFlow, with PyTorch's AOTInductor, and that want --allow-client-shm.
_NO_TENSORFLOW, _AOTI, _CLIENT_SHM = (2, 57), (2, 65), (2, 68)


@config_rule(C10)
def check_backend(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Triton guesses it from the platform or the file, where it can."""
    completed = context.completed(model)
    if completed is None:
        if model.has_config:
            yield self.at(
                model.config.place(),
                f"the config of '{model.name}' names no backend, and no file of its first version tells one",
                model=model,
                says=f"Could not determine backend for model '{model.name}' with no backend in model "
                "configuration",
                mend='add backend: "..." to it',
            )
    elif not completed.backend and completed.platform != ENSEMBLE:
        yield self.of(
            model,
            ("platform",),
            f"there is no platform '{completed.platform}' in Triton: "
            + ", ".join(sorted([ENSEMBLE, *sum(PLATFORMS.values(), ())])),
            says=f"unexpected platform type '{completed.platform}' for {model.name}",
            mend='name the backend instead: backend: "..."',
        )


@config_rule(C11)
def check_pair(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Both may be left to Triton where one is given."""
    completed = context.completed(model)
    if completed is None or not completed.platform or completed.platform == ENSEMBLE:
        return
    platforms = PLATFORMS.get(completed.backend)
    if platforms is not None and context.is_before(*_AOTI):
        platforms = tuple(each for each in platforms if each != "torch_aoti")
    if platforms is not None and completed.platform not in platforms:
        newer = "; a server from 2.65 on has it" if completed.platform in PLATFORMS[completed.backend] else ""
        yield self.of(
            model,
            ("platform",),
            f"platform '{completed.platform}' is not one of backend '{completed.backend}': "
            f"{', '.join(platforms)}",
            says=f"unexpected 'platform' and 'backend' pair, got:{completed.platform}, {completed.backend}",
            mend=f"leave platform out{newer}",
        )
    elif (
        platforms is None
        and completed.backend
        and any(completed.platform in each for each in PLATFORMS.values())
    ):
        yield self.of(
            model,
            ("platform",),
            f"backend '{completed.backend}' serves it; platform '{completed.platform}' means nothing then",
            mend="leave platform out",
            severity="warning",
        )


@config_rule(C12)
def check_library(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Triton looks in the version's folder, the model's, and the backend's."""
    completed = context.completed(model)
    if context.backends is None or completed is None or not completed.backend:
        return
    backend, runtime = completed.backend, model.message.runtime
    home = context.backends / backend
    if not runtime:
        name = f"libtriton_{backend}.so"
        if backend in context.built or _lies_in(model, name) or (home / name).is_file():
            return
        if not (home / "model.py").is_file():
            yield self.of(
                model,
                ("backend",),
                f"backend '{backend}' is not there: no {name} in {home}, nor with the model",
                says=f"unable to find backend library for backend '{backend}', try specifying runtime on "
                "the model configuration.",
                mend=f"--backend-directory=DIR with {backend}/{name}; tbsdk build makes those of plugins",
            )
            return
        runtime = "model.py"
    yield from _check_runtime(self, model, context, backend, runtime)


def _check_runtime(
    self: Rule, model: ModelDirectory, context: Context, backend: str, runtime: str
) -> Iterator[Finding]:
    assert context.backends is not None
    home = context.backends / backend
    library = "libtriton_python.so" if runtime == "model.py" else runtime
    places = [home, context.backends / "python"] if runtime == "model.py" else [home]
    found = next((place / library for place in places if (place / library).is_file()), None)
    if found is None and not _lies_in(model, library):
        yield self.of(
            model,
            ("runtime",),
            f"library '{library}' is not there: neither in {' nor in '.join(map(str, places))}, nor with "
            "the model",
            says=f"unable to find backend library '{library}' for model '{model.name}', searched: ",
            mend="leave runtime out, or name a library in the backend's folder",
        )
    elif found is not None and not _inside(found, found.parent if "/" not in library else home):
        yield self.of(
            model,
            ("runtime",),
            f"runtime '{runtime}' leads out of {home}",
            says=f"backend library name '{library}' escapes backend directory",
            mend="name a library in the backend's folder",
        )


def _lies_in(model: ModelDirectory, name: str) -> bool:
    if "/" in name:
        return any((model.version_path(version) / name).is_file() for version in model.served)
    return model.entries.get(name) is False or any(
        model.version_entries(version).get(name) is False for version in model.served
    )


def _inside(path: Path, folder: Path) -> bool:
    return os.path.normpath(path).startswith(os.path.normpath(folder) + os.sep)


@config_rule(C12)
def check_agents(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Triton asks them before anything else; it does not stand a list of none."""
    message = model.message
    if not message.HasField("model_repository_agents"):
        return
    agents = message.model_repository_agents.agents
    if not agents:
        yield self.of(
            model,
            ("model_repository_agents",),
            "model_repository_agents names no agent: the server ends with a segmentation fault",
            mend="leave model_repository_agents out",
        )
    home = context.agents
    for index, agent in enumerate(agents if home is not None else ()):
        library = Path(home or "", agent.name, f"libtritonrepoagent_{agent.name}.so")
        if not library.is_file():
            yield self.of(
                model,
                ("model_repository_agents", "agents", index, "name"),
                f"repository agent '{agent.name}' is not there: no {library}",
                says=f"unable to find '{library.name}' for repo agent '{agent.name}', searched: {home}",
                mend="leave model_repository_agents out, or --repoagent-directory=DIR with it",
            )


@config_rule(C40)
def check_tensorflow(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Know until when images had the backend: 25.03."""
    completed = context.completed(model)
    if completed is None or completed.backend != "tensorflow" or context.is_before(*_NO_TENSORFLOW):
        return
    yield self.of(
        model,
        ("platform",),
        "Triton's images have no tensorflow backend since 25.04",
        mend="convert the model to ONNX, serve it with an image up to 25.03, or with a Python backend",
    )


@repository_rule(C40)
def check_shared_memory(self: Rule, context: Context) -> Iterator[Finding]:
    """Since 2.68 clients may register shared memory only where the server says so."""
    version, roots = context.server_version, context.repositories
    if version is None or version < _CLIENT_SHM or context.options.allow_client_shm or not roots:
        return
    yield self.at(
        Place(str(roots[0].path)),
        "clients cannot use shared memory with this server: it wants --allow-client-shm=true since 2.68",
        mend="add --allow-client-shm=true where clients use it",
        severity="note",
    )


def escapes(path: Any, folder: Any) -> bool:
    """Tell whether a path leads out of a folder, as Triton's own check after 2.51 does."""
    return not _inside(Path(str(path)), Path(str(folder)))

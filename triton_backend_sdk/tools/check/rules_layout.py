"""C01, C02, C06 to C09: folders, names and versions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from triton_backend_sdk.tools.check.finding import Finding, Fix, Place
from triton_backend_sdk.tools.check.repository import (
    CONFIG,
    NO_VERSIONS,
    ModelDirectory,
    parent_of,
    version_of,
)
from triton_backend_sdk.tools.check.rules import (
    Context,
    Rule,
    config_rule,
    declare,
    folder_rule,
    repository_rule,
)

C01 = declare("C01", "a repository that is not there, cannot be read, or is empty")
C02 = declare("C02", "a model where a repository should be, or the folder above one", phase="ours")
C06 = declare("C06", "a model in two repositories")
C07 = declare("C07", "no version to serve", phase="load")
C08 = declare("C08", "a folder that is no version", "warning", "load")
C09 = declare("C09", "a version that is asked for and not there", phase="load")
_LEAST, _MOST = -(2**63), 2**63 - 1
_NO_VERSION = "at least one version must be available under the version policy of model '{}'"


@repository_rule(C01)
def check_repository(self: Rule, context: Context) -> Iterator[Finding]:
    """Find empty ones; the engine speaks of those that are not there."""
    for repository in context.repositories:
        path = repository.path
        if not repository.models and not repository.looks_like_a_model:
            said, mend = "no model lies in this repository", "put MODEL/config.pbtxt and MODEL/1/ into it"
            if isinstance(path, Path):
                mend += f"; tbsdk new MODEL --framework ... --into {shlex.quote(str(path))} writes them"
                model = path.absolute().parent
                if version_of(path.absolute().name) is not None and (model / CONFIG).is_file():
                    said = f"this is a version of model '{model.name}', and no repository"
                    mend = f"--model-repository={model.parent}"
            yield self.at(Place(str(path)), said, mend=mend, severity="warning")


@folder_rule(C01)
def check_folder(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Tell of a model's folder that nobody lets us read; the server would run as somebody."""
    if not model.entries and model.fault is not None:
        yield self.at(
            Place(str(model.path)),
            f"the folder of model '{model.name}' cannot be read: {model.fault}",
            model=model,
            mend="let the server's user read it",
        )
    for name, kind in model.entries.items():
        if kind is None:
            yield self.at(
                Place(str(model.path / name)),
                f"'{name}' is a link that leads nowhere: the server gives the whole model up",
                model=model,
                says=f"failed to stat file {model.path / name}",
                mend=f"rm {shlex.quote(str(model.path / name))}",
            )


@repository_rule(C02)
def check_level(self: Rule, context: Context) -> Iterator[Finding]:
    """As when the mount is one level too deep."""
    for repository in context.repositories:
        if repository.looks_like_a_model:
            model = ModelDirectory(repository.path)
            yield self.at(
                Place(str(repository.path)),
                f"`{repository.path}` looks like a model, not a repository: pass its parent",
                mend=f"--model-repository={parent_of(repository.path)}",
            )
            for name in model.folders:
                if finding := _leading_zeros(model, name):
                    yield finding
        if names := repository.repositories:
            yield self.at(
                Place(str(repository.path)),
                f"`{repository.path}` holds no models itself, but folders of models: {', '.join(names)}",
                mend=f"--model-repository={repository.path / names[0]}",
            )


@repository_rule(C06)
def check_unique(self: Rule, context: Context) -> Iterator[Finding]:
    """Triton serves neither; with namespaces only ensembles of the same repository can name them."""
    apart = context.options.model_namespacing
    for name, models in context.by_name.items():
        for model in models[1:]:
            so = "clients cannot name either of them" if apart else "neither is served"
            says = f"failed to poll model '{name}': not unique across all model repositories"
            yield self.at(
                Place(str(model.path)),
                f"model '{name}' lies in {models[0].path.parent} too, so that {so}",
                model=model,
                says=None if apart else says,
                mend="rename one" if apart else "rename one, or serve with --model-namespacing=true",
                severity="warning" if apart else "error",
            )


@config_rule(C07)
def check_versions(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """No folder, or a policy that selects none."""
    if model.served or context.completed(model) is None:
        return
    policy = model.message.version_policy
    chosen = policy.WhichOneof("policy_choice")
    if chosen == "specific" and len(policy.specific.versions):
        return  # C09 speaks of each
    place, mend = Place(str(model.path)), _make_version(model)
    if chosen == "latest" and policy.latest.num_versions == 0:
        place = model.config.place("version_policy", "latest", "num_versions")
        mend = "ask for 1 or more: latest { num_versions: 1 }"
    elif chosen == "specific":
        place = model.config.place("version_policy", "specific")
        mend = "name the versions: specific { versions: [ 1 ] }"
    yield self.at(
        place,
        f"model '{model.name}' has no version that would be served",
        model=model,
        says=_NO_VERSION.format(model.name),
        mend=mend,
    )


def _make_version(model: ModelDirectory) -> str:
    numbered = [name for name in model.folders if name.isdigit() and name not in ("0", "1")]
    if numbered and not model.versions:
        return f"rename {numbered[0]} to {int(numbered[0]) or 1}"
    return f"mkdir {model.path / '1'}, and put the model's files into it"


@folder_rule(C08)
def check_version_names(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Triton passes over it."""
    for name in model.folders:
        if name in (*NO_VERSIONS, CONFIG) or name.startswith((".", "__")):
            continue
        number = version_of(name)
        if finding := _leading_zeros(model, name):
            yield finding
        elif number is None:
            yield self.at(
                Place(str(model.path / name)),
                f"'{name}' is not taken for a version: it is no number",
                model=model,
                says=f"ignore version directory '{name}' which fails to convert to integral number",
                mend="move it out of the model's folder",
            )
        elif not _LEAST <= number <= _MOST:
            yield self.at(
                Place(str(model.path / name)),
                f"version '{name}' is more than 64 bits hold: the server ends with a signal",
                model=model,
                mend=f"rename {name} to a smaller number",
                severity="error",
            )
        elif str(number) != name:
            yield self.at(
                Place(str(model.path / name)),
                f"'{name}' is taken for version {number}, but Triton looks for its files in {number}/",
                model=model,
                mend=f"rename {name} to {number}",
            )


def _leading_zeros(model: ModelDirectory, name: str) -> Finding | None:
    if len(name) < 2 or not name.startswith("0") or not name.isdigit() or int(name) == 0:
        return None
    number = str(int(name))
    return C08.at(
        Place(str(model.path / name)),
        f"'{name}' is not taken for a version: it has leading zeros",
        model=model,
        says=f"ignore version directory '{name}' which contains leading zeros in its directory name",
        mend=f"rename {name} to {number}",
        fix=_rename(model, name, number),
    )


def _rename(model: ModelDirectory, name: str, new: str) -> Fix | None:
    path = model.path
    meant = [each for each in model.folders if each.isdigit() and each.lstrip("0") == new]
    if not isinstance(path, Path) or new in model.entries or meant != [name]:
        return None  # which of them is to be the version, nobody knows

    def apply() -> None:
        (path / name).rename(path / new)

    return Fix(f"{path / name} -> {new}", apply)


@config_rule(C09)
def check_specific(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Look at the policy ``specific``; the versions that are there are served all the same."""
    policy = model.message.version_policy
    if policy.WhichOneof("policy_choice") != "specific":
        return
    for index, version in enumerate(policy.specific.versions):
        if version not in model.versions:
            yield self.of(
                model,
                ("version_policy", "specific", "versions", index),
                f"version {version} of model '{model.name}' is asked for, but there is no folder {version}",
                says=f"version {version} is specified for model '{model.name}', but the version directory "
                "is not present",
                mend=f"mkdir {model.path / str(version)}, or take {version} out of the policy",
                severity="warning" if model.served else "error",
            )

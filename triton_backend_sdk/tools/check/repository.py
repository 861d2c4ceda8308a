"""A model repository as it lies on a disk, or in a bucket."""

from __future__ import annotations

import functools
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.check.config_file import ConfigFile
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.server_options.options import is_uri

#: Folders of a model that are no versions, however they are called.
NO_VERSIONS = ("configs", "initial_state", "warmup")
CONFIG = "config.pbtxt"
#: Bytes of a config above which nobody waits for its reading.
LARGEST_CONFIG = 1 << 22
# As C's strtoll reads: what follows the digits does not matter to Triton.
_NUMBER = re.compile(r"\s*([+-]?\d+)", re.ASCII)

#: What lies in a folder: True for a folder, False for a file, None for a link that leads nowhere.
Entries = dict[str, "bool | None"]


@dataclass(eq=False)
class ModelDirectory:
    """A folder of a repository: one model.

    :param path: a Path, or a BucketPath.
    """

    path: Any
    #: Use ``configs/NAME.pbtxt`` instead of config.pbtxt, where the model has it (--model-config-name).
    config_name: str | None = None
    #: Why the folder cannot be read; None until somebody tried.
    fault: str | None = None
    _versions: dict[int, Entries] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name, which is the folder's."""
        return str(self.path.name)

    @functools.cached_property
    def entries(self) -> Entries:
        """What lies in the folder."""
        try:
            return entries(self.path)
        except OSError as error:
            self.fault = error.strerror or str(error)
            return {}

    @property
    def folders(self) -> list[str]:
        """The folders in it."""
        return [name for name, is_folder in self.entries.items() if is_folder]

    @functools.cached_property
    def versions(self) -> list[int]:
        """The versions that Triton would see, in order."""
        found = {version_of(name) for name in self.folders}
        return sorted(number for number in found if number is not None)

    @functools.cached_property
    def served(self) -> list[int]:
        """The versions that its policy selects: the latest, where it says nothing."""
        policy = None if self.message is None else self.message.version_policy
        chosen = None if policy is None else policy.WhichOneof("policy_choice")
        if policy is None or chosen is None:
            return self.versions[-1:]
        if chosen == "latest":
            number = policy.latest.num_versions
            return self.versions[-number:] if number else []
        if chosen == "specific":
            return [version for version in policy.specific.versions if version in self.versions]
        return self.versions

    @functools.cached_property
    def config_path(self) -> Any:
        """Where its config is, or would be."""
        if self.config_name and "configs" in self.folders:
            named = self.path / "configs" / f"{self.config_name}.pbtxt"
            if named.is_file():
                return named
        return self.path / CONFIG

    @functools.cached_property
    def has_config(self) -> bool:
        """Whether there is one."""
        return CONFIG in self.entries or self.config_path.parent != self.path

    @functools.cached_property
    def config(self) -> ConfigFile:
        """Its config; an empty one where it has none."""
        path = self.config_path
        if not self.has_config:
            return ConfigFile(str(path), "")
        if self.entries.get(CONFIG) and path.name == CONFIG:
            return ConfigFile(str(path), "", "is a folder: the server ends with a signal")
        try:
            if isinstance(path, Path) and (fault := _odd_file(path)):
                return ConfigFile(str(path), "", fault)
            text = path.read_bytes()
        except OSError as error:
            return ConfigFile(str(path), "", f"cannot be read: {error.strerror}")
        return ConfigFile(str(path), text.decode("utf-8", "replace"))

    @property
    def message(self) -> Any:
        """The config as protobuf message; None where it cannot be read."""
        return self.config.message

    def version_path(self, version: int) -> Any:
        """Give the folder in which Triton looks for a version's files."""
        return self.path / str(version)

    def version_entries(self, version: int) -> Entries:
        """Give what lies in a version's folder."""
        if version not in self._versions:
            there = str(version) in self.folders
            self._versions[version] = _readable(self.version_path(version)) if there else {}
        return self._versions[version]

    @functools.cached_property
    def first_entries(self) -> Entries | None:
        """What lies in the folder that Triton guesses the backend from: the first by name, version or not."""
        return _readable(self.path / self.folders[0]) if self.folders else None


def entries(path: Any) -> Entries:
    """Give what lies in a folder, in the order of the names."""
    if isinstance(path, Path):
        with os.scandir(path) as found:  # a third of what iterdir costs
            return {entry.name: _kind(entry) for entry in sorted(found, key=lambda each: each.name)}
    return dict(sorted((str(entry.name), entry.is_dir()) for entry in path.iterdir()))


def _kind(entry: os.DirEntry[str]) -> bool | None:
    try:
        if entry.is_dir():
            return True
    except OSError:  # a link in a circle
        return None
    return None if entry.is_symlink() and not os.path.exists(entry.path) else False


def _odd_file(path: Path) -> str | None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return "is no file: the server would read it without an end"
    if status.st_size > LARGEST_CONFIG:
        return f"has {status.st_size >> 20} MB, and is not looked at: configs have kilobytes"
    return None


def _readable(path: Any) -> Entries:
    """Give what lies in a folder; nothing where nobody lets us read it."""
    try:
        return entries(path)
    except OSError:
        return {}


def version_of(name: str) -> int | None:
    """Give the version that Triton takes a folder for; None where it passes over it."""
    if name in NO_VERSIONS or (len(name) > 1 and name.startswith("0")):
        return None
    number = _NUMBER.match(name)
    return int(number[1]) if number else None


@dataclass(eq=False)
class Repository:
    """One root."""

    path: Any
    config_name: str | None = None

    @functools.cached_property
    def models(self) -> list[ModelDirectory]:
        """Its models, in the order of their names: every folder is one."""
        return [
            ModelDirectory(self.path / name, self.config_name)
            for name, is_folder in entries(self.path).items()
            if is_folder
        ]

    @functools.cached_property
    def looks_like_a_model(self) -> bool:
        """Whether it is a model itself, whose parent was meant."""
        numbered = [model for model in self.models if model.name.isdigit()]
        has_config = entries(self.path).get(CONFIG) is False
        if any(map(_is_a_model, self.models)):
            return False  # there are models in it, be they called 1
        return has_config or bool(numbered and len(numbered) == len(self.models))

    @functools.cached_property
    def repositories(self) -> list[str]:
        """Folders in it that were meant: they hold models, and nothing else here is one."""
        if self.looks_like_a_model or any(map(_is_a_model, self.models)):
            return []
        return [each.name for each in self.models if any(map(_is_a_model, Repository(each.path).readable))]

    @property
    def readable(self) -> list[ModelDirectory]:
        """Its models; none where nobody lets us read them."""
        try:
            return self.models
        except OSError:
            return []


def _is_a_model(model: ModelDirectory) -> bool:
    return model.has_config or any(name.isdigit() for name in model.folders)


def parent_of(path: Any) -> Any:
    """Give the folder above, also of a path such as ``.``."""
    return path.parent if path.name not in ("", "..") else path.resolve().parent


def open_root(root: str | Path, server: ServerInstallation | None = None) -> Any:
    """Give a root as a path: ``s3://bucket/models`` too, by fsspec.

    :param server: the tritonserver that is meant.
    :raises HandledError: it is in a bucket that cannot be read.
    """
    if not is_uri(root):
        return Path(root)
    from triton_backend_sdk.tools.check.bucket import open_bucket  # noqa: PLC0415  only for buckets

    return open_bucket(str(root), server)

"""Repositories and flags that need a server of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.tools.check_repositories.cases import (
    BACKEND,
    IO,
    STATES,
    Case,
    ensemble,
    state,
    step,
    warmup,
    with_backend,
    write_model,
)

Build = Callable[[Path], list[Path]]


@dataclass(frozen=True)
class Alone:
    """Repositories, flags, and what comes of them."""

    name: str
    rules: tuple[str, ...]
    build: Build
    flags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    #: Whether 2.51 ends with a signal.
    crashes: bool = False
    #: Whether requests tell whether the models work; False where the models of an ensemble are meant.
    asked: bool = True


def one(config: str | None, name: str = "model", **files: str) -> Build:
    return several({name: config}, **files)


def several(configs: dict[str, str | None], **files: str) -> Build:
    def build(root: Path) -> list[Path]:
        for name, config in configs.items():
            text = None if config is None else with_backend(config)
            write_model(root, name, text, {"1/": "", **{_path(key): value for key, value in files.items()}})
        return [root]

    return build


def _path(key: str) -> str:
    return key.replace("__", "/") + ".pbtxt"


def _absent(root: Path) -> list[Path]:
    return [root / "absent"]


def _file(root: Path) -> list[Path]:
    (root / "file").write_text("")
    return [root / "file"]


def _empty(root: Path) -> list[Path]:
    (root / "a_file").write_text("")
    return [root]


def _level(version: str, *, config: bool) -> Build:
    def build(root: Path) -> list[Path]:
        write_model(
            root,
            "model",
            with_backend(IO) if config else None,
            {f"{version}/model.savedmodel/saved_model.pb": ""},
        )
        return [root / "model"]

    return build


def _above(root: Path) -> list[Path]:
    write_model(root / "project" / "model_repository", "model", with_backend(IO), {})
    (root / "project" / "sources" / "more").mkdir(parents=True)
    return [root / "project"]


def _version_as_root(root: Path) -> list[Path]:
    write_model(root, "model", with_backend(IO), {"1/model.bin": ""})
    return [root / "model" / "1"]


def _version(name: str) -> Build:
    def build(root: Path) -> list[Path]:
        write_model(root, "model", with_backend(IO), {f"{name}/": ""})
        return [root]

    return build


def _config_folder(root: Path) -> list[Path]:
    write_model(root, "model", None, {"1/": "", "config.pbtxt/": ""})
    return [root]


def _two(root: Path) -> list[Path]:
    for repository in ("a", "b"):
        write_model(root / repository, "model", with_backend(IO), {})
    write_model(root / "b", "another", with_backend(IO), {})
    return [root / "a", root / "b"]


def _of_case(case: Case) -> Build:
    def build(root: Path) -> list[Path]:
        case.write(root)
        return [root]

    return build


def _resources(first: str, second: str = "") -> Build:
    groups = [
        f"instance_group {{ rate_limiter {{ resources {{ {each} }} }} }}" for each in (first, second) if each
    ]
    return several({f"limited{index}": IO + group for index, group in enumerate(groups)})


_LIMIT = "--rate-limit=execution_count"
_STRICT = "--disable-auto-complete-config"
ALONE = [
    Alone("absent", ("C01",), _absent),
    Alone("no_folder", ("C01",), _file),
    Alone("empty", (), _empty, warnings=("C01",)),
    Alone("model_as_root", ("C02",), _level("1", config=True)),
    Alone("seed_as_root", ("C02",), _level("0001", config=False), warnings=("C08",)),
    Alone("seed_as_root_strict", ("C02",), _level("0001", config=False), (_STRICT,), warnings=("C08",)),
    Alone("above_the_repository", ("C02",), _above),
    Alone("version_as_root", (), _version_as_root, warnings=("C01",)),
    Alone("numbers_as_names", (), several({"1": IO, "2": IO})),
    Alone("no_config_strict", ("C03",), one(None), (_STRICT,)),
    Alone("hidden_folder", ("C12",), several({"model": IO, ".git": None}), warnings=("C03",)),
    Alone("two_repositories", ("C06",), _two),
    Alone("namespaces", (), _two, ("--model-namespacing=true",), warnings=("C06",), asked=False),
    Alone("namespaces_name", ("C05",), one('name: "other"\n' + IO), ("--model-namespacing=true",)),
    Alone(
        "config_name",
        (),
        one("this is broken {", configs__x=f'backend: "{BACKEND}"'),
        ("--model-config-name=x",),
    ),
    Alone(
        "config_name_alone",
        (),
        one(None, configs__x=f'backend: "{BACKEND}"'),
        ("--model-config-name=x", _STRICT),
    ),
    Alone("config_name_broken", ("C04",), one(IO, configs__x="this is broken {"), ("--model-config-name=x",)),
    Alone("config_name_absent", (), one(IO), ("--model-config-name=x",), warnings=("C35",)),
    Alone("cached", (), one(IO + "response_cache { enable: true }"), ("--cache-config=local,size=1048576",)),
    Alone(
        "resource_kinds",
        ("C38",),
        _resources('name: "R" count: 1 global: true', 'name: "R" count: 1'),
        (_LIMIT,),
    ),
    Alone(
        "resource_kinds_off",
        (),
        _resources('name: "R" count: 1 global: true', 'name: "R" count: 1'),
        warnings=("C38",),
    ),
    Alone(
        "resource_count", ("C38",), _resources('name: "R" count: 9'), (_LIMIT, "--rate-limit-resource=R:4")
    ),
    Alone(
        "resource_count_enough", (), _resources('name: "R" count: 9'), (_LIMIT, "--rate-limit-resource=R:9")
    ),
    Alone("resource_count_unsaid", (), _resources('name: "R" count: 9'), (_LIMIT,)),
    Alone("version_too_large", ("C08",), _version(str(2**63)), crashes=True),
    Alone("version_large", (), _version(str(2**63 - 1))),
    Alone("config_folder", ("C04",), _config_folder, crashes=True),
    Alone("no_agents", ("C12",), one(IO + "model_repository_agents { }"), crashes=True),
    Alone("tag_with_dash", ("C37",), one(IO + 'metric_tags { key: "a-b" value: "c" }'), crashes=True),
    Alone("tag_with_underscore", ("C37",), one(IO + 'metric_tags { key: "_a" value: "c" }'), crashes=True),
    Alone(
        "tag_without_metrics",
        ("C37",),
        one(IO + 'metric_tags { key: "a-b" value: "c" }'),
        ("--allow-metrics=false",),
        crashes=True,
    ),
    Alone("tag", (), one(IO + 'metric_tags { key: "1_a" value: "\\n" } metric_tags { key: "" value: "" }')),
    Alone(
        "labels_folder",
        ("C22",),
        one('output { name: "OUT" data_type: TYPE_FP32 dims: 4 label_filename: "1" }'),
        crashes=True,
    ),
    Alone(
        "warmup_folder",
        ("C32",),
        one(warmup('data_type: TYPE_FP32 dims: 4 input_data_file: "../1"')),
        crashes=True,
    ),
    Alone(
        "state_dim_negative",
        ("C28",),
        one(
            state(
                "data_type: TYPE_INT32 dims: [ -1 ]",
                'name: "a" data_type: TYPE_INT32 dims: [ -2 ] zero_data: true',
            )
        ),
        crashes=True,
    ),
    Alone(
        "ensemble_of_nothing_strict",
        ("C30",),
        several({"nothing": "", "model": ensemble(step("nothing", {"IN": "A"}, {"OUT": "B"}))}),
        (_STRICT,),
    ),
    *(Alone(case.name, case.rules, _of_case(case), crashes=True) for case in STATES if case.rules),
]

"""The frameworks that Triton serves: what their models look like on a disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_backend_sdk.tools.check.completed import Completed

#: The ready-made backend of this SDK: its models are laid out as the python backend's.
COMPAT = "python_inprocess"


@dataclass(frozen=True)
class Framework:
    """A framework."""

    #: As ``tbsdk new --framework`` takes it.
    name: str
    #: ``backend:`` of config.pbtxt; "" for an ensemble.
    backend: str
    #: ``platform:``; the first is what Triton writes. None where there is none.
    platforms: tuple[str, ...]
    #: The default file of a version; None where there is none.
    file: str | None
    #: The file is a folder, or may be one.
    folder: bool = False
    may_be_folder: bool = False
    #: Files that must lie beside it.
    beside: tuple[str, ...] = ()
    #: The last release of the server whose images have the backend.
    until: str | None = None


FRAMEWORKS = (
    Framework("tensorflow_graphdef", "tensorflow", ("tensorflow_graphdef",), "model.graphdef", until="25.03"),
    Framework(
        "tensorflow_savedmodel",
        "tensorflow",
        ("tensorflow_savedmodel",),
        "model.savedmodel",
        folder=True,
        until="25.03",
    ),
    Framework("pytorch", "pytorch", ("pytorch_libtorch",), "model.pt"),
    Framework("torch_aoti", "pytorch", ("torch_aoti",), "model.pt2"),
    Framework("onnx", "onnxruntime", ("onnxruntime_onnx",), "model.onnx", may_be_folder=True),
    Framework("python", "python", (), "model.py"),
    Framework("tensorrt", "tensorrt", ("tensorrt_plan",), "model.plan"),
    Framework("openvino", "openvino", (), "model.xml", beside=("model.bin",)),
    Framework("dali", "dali", (), "model.dali"),
    Framework("ensemble", "", ("ensemble",), None),
)
#: Framework by platform.
PLATFORMS = {platform: each for each in FRAMEWORKS for platform in each.platforms}


def of_completed(completed: Completed) -> Framework | None:
    """Tell which framework a completed config is of; None for one that is not among them."""
    backend = "python" if completed.backend == COMPAT else completed.backend
    named = [each for each in FRAMEWORKS if backend and each.backend == backend]
    exact = [each for each in named if completed.platform in each.platforms]
    return next(iter(exact or named), None)

from __future__ import annotations

import dataclasses
import typing

import numpy as np
import triton_python_backend_utils as pb_utils
from starred import *  # noqa: F403

WORD = "helper of imports"


class Thing:
    def __init__(self, value):
        self.value = value


@dataclasses.dataclass
class Data:
    number: int
    array: np.ndarray | None = None


def data():
    return dataclasses.asdict(Data(3)), dataclasses.replace(Data(3), number=4).number


def hints():
    return {name: str(hint) for name, hint in typing.get_type_hints(Data).items()}


def starred():
    return STAR, "_HIDDEN" in globals()  # noqa: F405


def tensors(array):
    return pb_utils.Tensor("T", array)

"""In which memory an instance wishes its inputs and outputs to lie: the model parameters ``memory.NAME``."""

from __future__ import annotations

import re

from triton_backend_sdk import gpu
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import InstanceGroupKind, MemoryType
from triton_backend_sdk.errors import InvalidArgError, UnavailableError
from triton_backend_sdk.memory import Placement
from triton_backend_sdk.model_instance import ModelInstance

_PREFIX = "memory."
_TYPES = {"cpu": MemoryType.CPU, "pinned": MemoryType.CPU_PINNED, "gpu": MemoryType.GPU}


def wishes(instance: ModelInstance) -> dict[str, Placement]:
    """Read ``memory.NAME``: ``cpu``, ``pinned``, ``gpu`` (the instance's, or 0) or ``gpu:1``.

    Where there is no pinned memory, that wish is dropped with a warning, as nothing but speed depends on it.

    :raises InvalidArgError: no tensor has that name, or the value says none of these.
    :raises UnavailableError: a GPU is wished for without cuda-python.
    """
    found = {}
    for parameter, text in instance.model.parameters.items():
        if parameter.startswith(_PREFIX):
            name = parameter[len(_PREFIX) :]
            _check_name(instance, name)
            place = _read(instance, parameter, text)
            if _is_there(instance, parameter, place):
                found[name] = place
    return found


def _check_name(instance: ModelInstance, name: str) -> None:
    known = [spec.name for spec in (*instance.model.inputs, *instance.model.outputs)]
    if name not in known:
        raise InvalidArgError(
            f"parameter '{_PREFIX}{name}' of model '{instance.model.name}' names no tensor; "
            f"the model has {', '.join(known)}"
        )


def _read(instance: ModelInstance, parameter: str, text: str) -> Placement:
    matched = re.fullmatch(r"(cpu|pinned|gpu)(?::(\d+))?", text.strip().lower())
    if matched is None or (matched[2] and matched[1] != "gpu"):
        raise InvalidArgError(
            f"parameter '{parameter}' of model '{instance.model.name}' is '{text}'; "
            "it must be 'cpu', 'pinned', 'gpu' or, of one device, 'gpu:1'"
        )
    own = instance.device_id if instance.kind is InstanceGroupKind.GPU else 0
    return Placement(_TYPES[matched[1]], int(matched[2] or (own if matched[1] == "gpu" else 0)))


def _is_there(instance: ModelInstance, parameter: str, place: Placement) -> bool:
    if place.memory_type is MemoryType.GPU:
        gpu.runtime()
    if place.memory_type is MemoryType.CPU_PINNED:
        try:
            instance.allocate(1, DataType.UINT8, memory_type=MemoryType.CPU_PINNED)
        except UnavailableError as error:
            instance.logger.warning("%s: %s goes unheeded: %s", instance.name, parameter, error)
            return False
    return True

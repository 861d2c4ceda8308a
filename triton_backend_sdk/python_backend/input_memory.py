"""FORCE_CPU_ONLY_INPUT_TENSORS: whether a model gets its inputs in CPU memory, wherever Triton has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triton_backend_sdk import DataType, Parameter, UnsupportedError

if TYPE_CHECKING:
    from triton_backend_sdk import Model

PARAMETER = "FORCE_CPU_ONLY_INPUT_TENSORS"


def forces_cpu(model: Model) -> bool:
    """Tell whether inputs are to be in CPU memory: yes, unless the config says no.

    :raises UnsupportedError: it says something else.
    """
    value = model.parameters.get(PARAMETER, "yes")
    if value not in ("yes", "no"):
        raise UnsupportedError(f"Incorrect value for {PARAMETER}: {value}'")
    return value == "yes"


def keep_on_cpu(model: Model) -> None:
    """Wish inputs onto the CPU, where the config does not place them: BYTES always, others as it says.

    :raises UnsupportedError: see :func:`forces_cpu`.
    """
    forced = forces_cpu(model)
    model.parameters.declare(
        Parameter(f"memory.{spec.name}", str, "cpu")
        for spec in model.inputs
        if forced or spec.dtype is DataType.BYTES
    )

"""What a user of the stock Python backend should know when a server or a model starts: one line each.

Keys and parameters that mean nothing in the server's own process are taken; what cannot be had there is said.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from triton_backend_sdk.python_backend.environment import environment

if TYPE_CHECKING:
    from triton_backend_sdk import Model

#: What the stock backend reads of ``--backend-config``.
_STOCK_KEYS = (
    "shm-default-byte-size",
    "shm-growth-byte-size",
    "shm-region-prefix-name",
    "shm_message_queue_size",
    "stub-timeout-seconds",
    "thread-pool-size",
)
#: In ``model.state``: before its config is completed, or, where the server completes none, later.
_PREPARED = "python_model_prepared"


def backend_notices(config: Mapping[str, str]) -> list[str]:
    """Give the lines for the log of a server that starts to serve Python models.

    The values of the stock backend's keys are not checked: none has an effect here, so none can be wrong.
    """
    lines = [
        "Python models run in the server's own process: one that crashes takes the server along; the stock "
        "Python backend runs each in a process of its own"
    ]
    if given := [key for key in _STOCK_KEYS if key in config]:
        lines.append(
            f"{', '.join(given)}: of no use here, as there are no stub processes and no shared memory"
        )
    return lines


def prepare(model: Model) -> None:
    """Say what there is to say of a model, once, and put the packages that it brings along on sys.path."""
    if hasattr(model.state, _PREPARED):
        return
    setattr(model.state, _PREPARED, True)
    if (line := model_notices(model)) is not None:
        model.logger.warning(line)
    if (brought := environment(model)) is not None:
        brought.adopt()


def model_notices(model: Model) -> str | None:
    """Give the one line for a model of which something cannot be had in process; None for most."""
    found = [str(brought)] if (brought := environment(model)) is not None else []
    if (count := _cpu_instances(model)) > 1:
        found.append(
            f"its {count} instances share one Python interpreter and take turns in Python code, while NumPy, "
            "PyTorch and waiting go on beside; for CPU-bound Python code use the stock Python backend"
        )
    return f"model '{model.name}': {'; '.join(found)}" if found else None


def tell_missing(model: Model, error: BaseException) -> None:
    """Say where a module that a model imports was looked for: most often a package is to be installed."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        model.logger.error(
            "model '%s': no module '%s' beside its model.py or in the server's Python; to install a package "
            "there: %s -m pip install PACKAGE",
            model.name,
            error.name,
            sys.executable,
        )


def _cpu_instances(model: Model) -> int:
    groups = model.config.get("instance_group", [])
    return sum(int(group.get("count", 1)) for group in groups if group.get("kind") == "KIND_CPU")

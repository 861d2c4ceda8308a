"""``ModelConfig`` of ``triton_python_backend_utils``, which ``auto_complete_config`` is given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from triton_backend_sdk import InternalError

if TYPE_CHECKING:
    from triton_backend_sdk import ModelConfig as SDKModelConfig
    from triton_backend_sdk.python_backend.owner import PythonModel

#: What a field becomes that a model has deleted; Triton takes no deletion of others over.
_EMPTY: dict[str, Any] = {"input": [], "output": [], "max_batch_size": 0}


class ModelConfig:
    """A config in the making, by the rules and with the errors of the stock backend.

    :param model_config: the config as JSON.
    """

    #: Where the stock backend has it: models print it.
    __module__ = "triton_python_backend_utils"

    def __init__(self, model_config: str) -> None:
        self._model_config: dict[str, Any] = json.loads(model_config)

    def as_dict(self) -> dict[str, Any]:
        """Give the config itself: what is written into it counts."""
        return self._model_config

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Set the most rows of a batch.

        :raises ValueError: config.pbtxt has more.
        """
        written = self._model_config["max_batch_size"]
        if written > max_batch_size:
            raise ValueError(
                f"configuration specified max_batch_size {written}, but in {self._where()} "
                f"specified max_batch_size {max_batch_size}"
            )
        self._model_config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        """Have Triton join requests into batches, unless config.pbtxt says how.

        :raises ValueError: it has another scheduling.
        """
        for other in ("sequence_batching", "ensemble_scheduling"):
            if other in self._model_config:
                raise ValueError(
                    f"Configuration specified scheduling_choice as '{other}', but {self._where()} "
                    "tries to set scheduling_choice as 'dynamic_batching'"
                )
        self._model_config.setdefault("dynamic_batching", {})

    def add_input(self, input: dict[str, Any]) -> None:  # noqa: A002  the stock backend's name
        """Add an input, a dict of name, data_type, dims and optional, or complete the one of that name.

        :raises ValueError: something is missing or unknown, or config.pbtxt says something else.
        """
        known = "'name', 'data_type', 'dims' and 'optional'"
        self._add("input", input, ("name", "data_type", "dims", "optional"), known)

    def add_output(self, output: dict[str, Any]) -> None:
        """Add an output, a dict of name, data_type and dims; see :meth:`add_input`."""
        self._add("output", output, ("name", "data_type", "dims"), "'name', 'data_type' and 'dims'")

    def set_model_transaction_policy(self, transaction_policy_dict: dict[str, Any]) -> None:
        """Say with ``{"decoupled": True}`` that a request may have any number of responses.

        :raises ValueError: it has another key, or config.pbtxt says something else.
        """
        if any(key != "decoupled" for key in transaction_policy_dict):
            raise ValueError(
                f"model transaction property in {self._where()} contains property other than 'decoupled'."
            )
        policy = self._model_config.setdefault("model_transaction_policy", {})
        if "decoupled" not in transaction_policy_dict:
            return
        wanted = transaction_policy_dict["decoupled"]
        written = policy.setdefault("decoupled", wanted)
        if written != wanted:
            raise ValueError(
                f"trying to change decoupled property in auto-complete-config for model '{self._name}', "
                f"which is already set to '{written}'."
            )

    @property
    def _name(self) -> str:
        return str(self._model_config["name"])

    def _where(self) -> str:
        return f"auto-complete-config function for model '{self._name}'"

    def _add(self, field: str, entry: dict[str, Any], allowed: tuple[str, ...], known: str) -> None:
        for key in entry:
            if key not in allowed:
                raise ValueError(
                    f"{field} '{entry['name']}' in {self._where()} contains property other than {known}."
                )
        for key in ("name", "data_type", "dims"):
            if key not in entry:
                subject = field if key == "name" else f"{field} '{entry['name']}'"
                raise ValueError(f"{subject} in {self._where()} is missing '{key}' property.")
        for written in self._model_config[field]:
            if written["name"] == entry["name"]:
                self._check(field, entry, written)
                written.update({key: value for key, value in entry.items() if key != "name"})
                return
        self._model_config[field].append(entry)

    def _check(self, field: str, entry: dict[str, Any], written: dict[str, Any]) -> None:
        tensor = f"model '{self._name}', tensor '{entry['name']}': the model expects"
        if written["data_type"] not in ("TYPE_INVALID", entry["data_type"]):
            raise ValueError(
                f"unable to load model '{self._name}', configuration expects datatype {written['data_type']} "
                f"for {field} '{entry['name']}', model provides {entry['data_type']}"
            )
        for key in ("dims", "optional"):
            says = written.get(key)
            silent = not says if key == "dims" else key not in written or key not in entry
            if not silent and says != entry[key]:
                raise ValueError(
                    f"{tensor} {key} {entry[key]} but the model configuration specifies {key} {says}"
                )


def auto_complete(model_class: Any, name: str, config: SDKModelConfig) -> None:
    """Have a model complete its config, if it does so.

    :raises InternalError: it gives something else back.
    """
    complete = getattr(model_class, "auto_complete_config", None)
    if complete is None:
        return
    before = config.as_dict()
    result = complete(ModelConfig(json.dumps(before)))
    if not isinstance(result, ModelConfig):
        raise InternalError(
            f"auto_complete_config function in model '{name}' must return a valid pb.ModelConfig object."
        )
    after = {**_EMPTY, **json.loads(json.dumps(result._model_config))}
    for field, value in after.items():
        if value != before.get(field, _EMPTY.get(field)):
            config.set_field(field, value)


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {"ModelConfig": ModelConfig}

"""A model's config meets its plugin when the model is loaded: it is completed, then checked."""

from __future__ import annotations

import difflib
import json
from typing import Any

from triton_backend_sdk._ffi.api import Api
from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.model import Model
from triton_backend_sdk.model_config import ModelConfig, ignored
from triton_backend_sdk.signature import Signature, remedy

#: Those that the SDK itself reads; memory.NAME is checked where it is read.
_PARAMETERS = (
    "drain_seconds",
    "execute_watchdog_seconds",
    "instance_thread",
    "max_batch_bytes",
    "max_batch_elements",
    "max_batch_of",
    "max_batch_padded_elements",
    "max_concurrent_requests",
    "ready_interval_seconds",
    "ready_limit_seconds",
    "slow_execute_ms",
)


def configure(api: Api, model: Model, signature: Signature | None, hook: Any) -> None:
    """Complete the config where the server lets a backend do so, and hold it against the Signature.

    Triton checks each request against the config; one that is no wider than the Signature makes it check the
    Signature too, at no cost of ours.

    :param hook: the model's hooks, of which auto_complete_config is called.
    :raises InvalidArgError: the config and the plugin contradict each other.
    """
    declare(model, signature)
    if api.get(api.lib.TRITONBACKEND_ModelAutoCompleteConfig, model._handle, "bool"):
        wanted = completed(model, signature, hook)
        if wanted != model.config:
            _set_config(api, model._handle, wanted)
            model.config = api.model_config(model._handle)
    check(model, signature)
    if signature is not None and (missing := signature.not_in(model.config)):
        model.logger.warning(
            "model '%s': config.pbtxt is not what the Signature says of %s, which Triton takes from there "
            "alone; `tbsdk config --model %s` writes it",
            model.name,
            ", ".join(missing),
            model.name,
        )


def declare(model: Model, signature: Signature | None) -> None:
    """Give the model's parameters the types and defaults that the Signature declares.

    :raises InvalidArgError: a value is not of its type.
    :raises NotFoundError: a parameter without a default is missing.
    """
    declared = [] if signature is None else list(signature.parameters)
    known = [parameter.name for parameter in declared]
    for name in model.parameters:
        if name in known or name in _PARAMETERS:
            continue
        # One that a plugin reads without declaring it is not to be taken for one of ours.
        ours = difflib.get_close_matches(name, _PARAMETERS, n=1, cutoff=0.8)
        if meant := difflib.get_close_matches(name, known, n=1) or ours:
            model.logger.warning(
                "model '%s' has a parameter '%s' that %s; did you mean '%s'?",
                model.name,
                name,
                "its plugin does not declare" if signature else "the SDK does not know",
                meant[0],
            )
    model.parameters.declare(declared)


def completed(model: Model, signature: Signature | None, hook: Any) -> dict[str, Any]:
    """Give the config as hook and Signature complete it; warn of what the server will not take over.

    The hook comes first: it may know more than the Signature, such as a size that a file tells.
    """
    config = ModelConfig(model.config)
    hook.auto_complete_config(model=model, config=config)
    if signature is not None:
        try:
            signature.complete(config)
        except InvalidArgError as error:
            raise InvalidArgError(f"{error.message}; {remedy(model.name)}") from None
    wanted = config.as_dict()
    for field in ignored(model.config, wanted):
        model.logger.warning(
            "model '%s': auto_complete_config sets %s, which Triton does not take over from a backend; "
            "`tbsdk config` writes it into a config.pbtxt",
            model.name,
            field,
        )
    return wanted


def check(model: Model, signature: Signature | None) -> None:
    """Hold the final config against the Signature.

    :raises InvalidArgError: they contradict each other.
    """
    if signature is not None:
        signature.check({**model.config, "name": model.name})


def _set_config(api: Api, handle: Any, config: dict[str, Any]) -> None:
    """See TRITONBACKEND_ModelSetConfig; the message stays ours."""
    text = json.dumps(config).encode()
    message = api.ffi.new("TRITONSERVER_Message **")
    api.check(api.lib.TRITONSERVER_MessageNewFromSerializedJson(message, text, len(text)))
    try:
        api.check(api.lib.TRITONBACKEND_ModelSetConfig(handle, 1, message[0]))
    finally:
        api.check(api.lib.TRITONSERVER_MessageDelete(message[0]))

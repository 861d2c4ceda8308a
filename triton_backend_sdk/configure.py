"""A model's config meets its plugin when the model is loaded: it is completed, then checked."""

from __future__ import annotations

import json
from typing import Any

from triton_backend_sdk._ffi.api import Api
from triton_backend_sdk.model import Model
from triton_backend_sdk.model_config import ModelConfig, ignored
from triton_backend_sdk.signature import Signature


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
    if signature is None:
        return
    for name, meant in signature.near_misses(model.parameters):
        model.logger.warning(
            "model '%s' has a parameter '%s' that its plugin does not declare; did you mean '%s'?",
            model.name,
            name,
            meant,
        )
    model.parameters.declare(signature.parameters)


def completed(model: Model, signature: Signature | None, hook: Any) -> dict[str, Any]:
    """Give the config as hook and Signature complete it; warn of what the server will not take over.

    The hook comes first: it may know more than the Signature, such as a size that a file tells.
    """
    config = ModelConfig(model.config)
    hook.auto_complete_config(model=model, config=config)
    if signature is not None:
        signature.complete(config)
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

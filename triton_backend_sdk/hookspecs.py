"""Every hook that a backend can implement, on one page.

A hook may leave out arguments it does not need: ``def execute(requests)`` and
``def execute(instance, requests)`` are both right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from typing import Any

    from triton_backend_sdk.model import Backend, Model
    from triton_backend_sdk.model_config import ModelConfig
    from triton_backend_sdk.model_instance import ModelInstance
    from triton_backend_sdk.queued import QueuedRequest
    from triton_backend_sdk.request import Request
    from triton_backend_sdk.response import Response

#: Name of the pluggy project, and of the entry-point group for plugins of other packages.
PROJECT = "triton_backend_sdk"

hookspec = pluggy.HookspecMarker(PROJECT)
#: Marks a function or method as the implementation of a hook.
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def backend_initialize(backend: Backend) -> None:
    """Prepare what all models of the backend share: keep it in ``backend.state``.

    It runs once in a server's life, before the backend's first model. Raising makes that model UNAVAILABLE;
    the next one tries again. See TRITONBACKEND_Initialize, which is too early to import a plugin: the server
    holds a lock then.
    """


@hookspec
def backend_finalize(backend: Backend) -> None:
    """Let go of what backend_initialize prepared: the server ends. See TRITONBACKEND_Finalize."""


@hookspec
def auto_complete_config(model: Model, config: ModelConfig) -> None:
    """Complete the model's config, by files that only you can read, before anything else of the model.

    Called where the server lets backends complete configs, and by ``tbsdk config``; ``model`` has the config
    as it was. What config.pbtxt says stands; a Signature adds what is still missing then. Raising makes the
    model UNAVAILABLE with your message.
    See TRITONBACKEND_ModelAutoCompleteConfig and TRITONBACKEND_ModelSetConfig.
    """


@hookspec
def model_initialize(model: Model) -> None:
    """Prepare what all instances of the model share, such as weights: keep it in ``model.state``.

    Raising makes the model UNAVAILABLE with your message. See TRITONBACKEND_ModelInitialize.
    """


@hookspec
def model_finalize(model: Model) -> None:
    """Let go of what model_initialize prepared. See TRITONBACKEND_ModelFinalize."""


@hookspec
def initialize(instance: ModelInstance) -> None:
    """Prepare one instance. Raising makes the model UNAVAILABLE with your message.

    See TRITONBACKEND_ModelInstanceInitialize.
    """


@hookspec
def warmup(instance: ModelInstance) -> None:
    """Do once what is slow the first time, before the model takes requests: compile, fill caches, connect.

    It follows initialize. Raising makes the model UNAVAILABLE with your message; finalize is called then.
    To have Triton send requests to ``execute`` instead, see ``model_warmup`` in the model's config.
    """


@hookspec
def is_ready(instance: ModelInstance) -> bool | None:
    """Say whether the instance can take requests; returning nothing says yes, raising says no and why.

    It is asked every ``ready_interval_seconds`` (a model parameter; 1), on a thread of its own, and may take
    ``ready_limit_seconds`` (5). It may be ``async def``. NotImplemented says that there is nothing to say of
    this instance: it counts as ready, and is not asked again. See TRITONBACKEND_ModelInstanceReady.
    """


@hookspec
def finalize(instance: ModelInstance) -> None:
    """Let go of what initialize prepared. See TRITONBACKEND_ModelInstanceFinalize."""


@hookspec(firstresult=True)
def execute(instance: ModelInstance, requests: list[Request]) -> list[Response | Exception]:
    """Answer a batch: one Response (or exception) per request, in order.

    Raising fails the whole batch with your message. See TRITONBACKEND_ModelInstanceExecute.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def batch_initialize(model: Model) -> Any:
    """Begin a batch that Triton's dynamic batcher forms: give what ``batch_include`` shall know of it.

    Without this hook a batch is a fresh ``types.SimpleNamespace``. It is called when the first request is
    looked at. What all batches share belongs into ``model.state``: Triton makes a model's batcher right after
    ``model_initialize``, so there is no hook for that. See TRITONBACKEND_ModelBatchInitialize.
    """


@hookspec(firstresult=True)
def batch_include(model: Model, batch: Any, request: QueuedRequest) -> bool:
    """Tell whether a queued request may join the batch; if not, that is sent, and this begins the next.

    The first request of a batch joins whatever the answer. The queue is locked meanwhile: be quick, wait for
    nothing, call no model. Raising is logged, and nothing more joins the batch. Triton may look at the same
    requests again, with a new batch. See TRITONBACKEND_ModelBatchIncludeRequest.
    """
    raise NotImplementedError


@hookspec
def batch_finalize(model: Model, batch: Any) -> None:
    """Let go of what batch_initialize gave: the batch was sent, or its requests are looked at once more.

    Raising is logged. See TRITONBACKEND_ModelBatchFinalize.
    """

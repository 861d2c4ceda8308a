"""Whose a call of a model's is: each instance has modules of its own, as in a process of its own."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.python_backend.pb_error import TritonModelException

if TYPE_CHECKING:
    from triton_backend_sdk import Model, ModelInstance, Server


class PythonModel:
    """One instance of a Python model, or one that only completes a config."""

    __slots__ = (
        "__weakref__",
        "calls",
        "instance",
        "model",
        "plain",
        "private_inputs",
        "request_class",
        "scope",
        "utils",
    )

    def __init__(self, model: Model, instance: ModelInstance | None) -> None:
        self.model = model
        #: None while the config is completed.
        self.instance = instance
        #: The imports of its files.
        self.scope: Any = None
        #: What ``import triton_python_backend_utils`` gives in its files.
        self.utils: ModuleType | None = None
        #: The class of its requests: ``utils.InferenceRequest``, whatever the model makes of that name.
        self.request_class: Any = None
        #: Name and version of models that it calls and that are not decoupled.
        self.plain: set[tuple[str, int]] = set()
        #: Each input that the model looks at is copied: it writes into them, or keeps them.
        self.private_inputs = False
        #: How often it called another model.
        self.calls = 0
        with _changing:
            _owners.add(self)

    @property
    def name(self) -> str:
        """Name it in a message: the instance's name, or the model's."""
        return self.model.name if self.instance is None else self.instance.name

    @property
    def server(self) -> Server:
        """The server that runs it."""
        return self.model.server

    def close(self) -> None:
        """Be no more one of those that a call may belong to."""
        with _changing:
            _owners.discard(self)
        if self.scope is not None:
            self.scope.close()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Say that this thread runs the model's code."""
        before, here.owner = here.owner, self
        try:
            yield
        finally:
            here.owner = before


class _Here(threading.local):
    owner: PythonModel | None = None


#: What :meth:`PythonModel.active` sets, for where a function call is too slow.
here = _Here()
_owners: weakref.WeakSet[PythonModel] = weakref.WeakSet()
_changing = threading.RLock()  # a __del__ may call while it is held


def current() -> PythonModel:
    """Give the model whose code this thread runs; on a thread of nobody's, the only one that there is.

    :raises TritonModelException: there is none, or there are several.
    """
    if here.owner is not None:
        return here.owner
    with _changing:
        found = list(_owners)
    if len(found) == 1:
        return found[0]
    if not found:
        raise TritonModelException("triton_python_backend_utils: no model runs in this process")
    some = ", ".join(sorted(owner.name for owner in found)[:5])
    raise TritonModelException(
        f"triton_python_backend_utils: this thread belongs to none of the models here ({some}): call it "
        "from a hook of the model, or import triton_python_backend_utils in a file of the model's directory"
    )

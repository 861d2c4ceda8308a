"""What a model's execute gives, made into what the SDK sends; errors in the stock backend's words."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Coroutine
from sys import getrefcount
from typing import Any

from triton_backend_sdk import InternalError, Request
from triton_backend_sdk.python_backend import answers
from triton_backend_sdk.python_backend import tensor as tensors
from triton_backend_sdk.python_backend.answers import Misuse
from triton_backend_sdk.python_backend.coroutines import Coroutines
from triton_backend_sdk.python_backend.infer_request import (
    InferenceRequest,
    detach,
    receive,
)
from triton_backend_sdk.python_backend.infer_response import InferenceResponse, as_sdk
from triton_backend_sdk.python_backend.kept import keeper
from triton_backend_sdk.python_backend.owner import PythonModel, here
from triton_backend_sdk.python_backend.pb_error import told
from triton_backend_sdk.python_backend.tensor import Tensor, is_view
from triton_backend_sdk.python_backend.writes import PARAMETER

_ALL = 1  # TRITONSERVER_REQUEST_RELEASE_ALL
#: What NumPy and others raise, and say, where an array may not be written into.
_REFUSALS = (BufferError, RuntimeError, TypeError, ValueError)
_REFUSED = re.compile(r"read-?only|not writeable|not writable|WRITEABLE")
#: Of a thing that only its list or Tensor and a variable hold, and the call of getrefcount.
_REFERENCES = 3


class Execution:
    """Calls one instance's execute.

    :param model: the TritonPythonModel.
    """

    __slots__ = ("_coroutines", "_decoupled", "_is_told", "_making", "_model", "_owner")

    def __init__(self, owner: PythonModel, model: Any) -> None:
        self._owner = owner
        self._model = model
        self._decoupled = owner.model.decoupled
        self._is_told = PARAMETER in owner.model.parameters
        self._coroutines: Coroutines | None = None
        self._making = threading.Lock()

    def __call__(self, requests: list[Request]) -> list[Any]:
        """Answer a batch.

        :raises InternalError: it failed as a whole.
        """
        owner = self._owner
        received = receive(owner.request_class, requests)
        calls = owner.calls
        before, here.owner = here.owner, owner
        try:
            try:
                return self._answer(received)
            except BaseException as error:
                text = self._text(error)
                again = (
                    self._wrote(error, text, received)
                    and owner.calls == calls
                    and answers.untouched(received)
                )
                error.__traceback__ = None  # its frames hold the requests
            if again and owner.calls == calls and answers.untouched(received):
                return self._once_more(requests, received)
            raise InternalError(self._failed(received, text))
        finally:
            here.owner = before

    def result(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop of those of execute, and wait for what it gives."""
        return self._loop().result(coroutine)

    def stop(self) -> None:
        """End the event loop, if there is one."""
        if self._coroutines is not None:
            self._coroutines.stop()

    def _answer(self, received: list[InferenceRequest]) -> list[Any]:
        execute = getattr(self._model, "execute", None)
        if execute is None:
            raise Misuse(f"Python model {self._file()} does not implement `execute` method.")
        given = received[:]  # the model may change its list
        result = execute(given)
        if type(result) is not list and isinstance(result, Coroutine):
            if self._decoupled:
                return self._start(received, result)
            result = self._loop().result(result)
        if self._decoupled:
            answer = self._streamed(received, result)
        else:
            answer = self._answered(received, given, result)
        del given, result
        self._let_go(received, answer)
        return answer

    def _file(self) -> str:
        cls = type(self._model)
        return str(getattr(sys.modules.get(cls.__module__), "__file__", cls.__name__))

    def _loop(self) -> Coroutines:
        with self._making:
            if self._coroutines is None:
                self._coroutines = Coroutines(self._owner)
            return self._coroutines

    def _start(self, received: list[InferenceRequest], coroutine: Coroutine[Any, Any, Any]) -> list[Any]:
        for request in received:
            request.get_response_sender()
        kept = list(received)

        def done(error: BaseException | None) -> None:
            if error is not None:
                self._end(kept, error)
            self._let_go(kept, [])
            kept.clear()

        self._loop().start(coroutine, done)
        return [None] * len(received)

    def _end(self, received: list[InferenceRequest], error: BaseException) -> None:
        """Answer what a coroutine that failed left open, and take Triton's requests from it."""
        text = f"Failed to process the request(s) for model '{self._owner.name}', message: {told(error)}"
        error.__traceback__ = None  # its frames hold arrays
        self._owner.model.logger.error("%s", text)
        for request in received:
            request.get_response_sender().fail(text)
            detach(request)

    def _streamed(self, received: list[InferenceRequest], result: Any) -> list[Any]:
        if result is not None:
            raise Misuse(
                f"Python model '{self._owner.name}' is using the decoupled mode and the execute function "
                "must return None."
            )
        return [answers.streamed(request) for request in received]

    def _answered(
        self, received: list[InferenceRequest], given: list[InferenceRequest], result: Any
    ) -> list[Any]:
        if result is None:
            result = [None] * len(received)
        if not isinstance(result, list):
            raise Misuse(f"Expected a list in the execute return, found type '{type(result)}'.")
        if not len(result) == len(given) == len(received):
            count = len(received) if len(result) == len(given) else len(given)
            raise Misuse(
                "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
                f"InferenceRequest(s) size is:{count}, and InferenceResponse(s) size "
                f"is:{len(result)}\n"
            )
        return [
            as_sdk(item)
            if type(item) is InferenceResponse and request._sender is None and request._release_flags == _ALL
            else answers.answered(request, item)
            for request, item in zip(received, result)  # noqa: B905  they are equally long, and in a hurry
        ]

    def _text(self, error: BaseException) -> str:
        return str(error) if isinstance(error, Misuse) else told(error)

    def _failed(self, received: list[InferenceRequest], text: str) -> str:
        message = f"Failed to process the request(s) for model '{self._owner.name}', message: {text}"
        for request in received:
            if request._sender is not None:
                request._sender.fail(message)
        self._let_go(received, [])
        return message

    def _wrote(self, error: BaseException, text: str, received: list[InferenceRequest]) -> bool:
        """Tell whether a failure comes from a write into an input, and let there be no second."""
        said = text.partition("\n\nAt:\n")[0]  # not the names of files
        if self._is_decided() or not isinstance(error, _REFUSALS) or not _REFUSED.search(said):
            return False
        if not any(is_view(tensor) for request in received for tensor in request._inputs or ()):
            return False
        self._make_private(f"execute failed with '{said}'")
        return True

    def _make_private(self, why: str) -> None:
        self._owner.private_inputs = True
        self._owner.model.logger.warning(
            "%s: %s: from now on its inputs are copied, as in the stock backend; to have it so from the "
            'start, set the model parameter private_inputs: "true"',
            self._owner.name,
            why,
        )

    def _once_more(self, requests: list[Request], failed: list[InferenceRequest]) -> list[Any]:
        again = receive(self._owner.request_class, requests)
        for request, before in zip(again, failed, strict=True):
            request._sender = before._sender
        self._let_go(failed, [])
        try:
            return self._answer(again)
        except BaseException as error:
            text = self._text(error)
            error.__traceback__ = None
        raise InternalError(self._failed(again, text))

    def _let_go(self, received: list[InferenceRequest], answer: list[Any]) -> None:
        """Take Triton's requests from a model that keeps its own: Triton waits for them when it unloads."""
        for request in received:
            for tensor in request._inputs or ():
                if tensor._source is not None:
                    if getrefcount(tensor) > _REFERENCES:
                        keeper.add(tensor, request._sender, tensors.detach)
                    if is_view(tensor) and not self._is_decided():
                        self._look_who_keeps(tensor, request, answer)
            if getrefcount(request) > _REFERENCES:
                if not self._decoupled and (request._sender is None or request._sender.is_answered()):
                    detach(request)
                else:
                    keeper.add(request, request._sender, detach)

    def _look_who_keeps(self, tensor: Tensor, request: InferenceRequest, answer: list[Any]) -> None:
        array = tensor._array
        if (references := getrefcount(array)) <= _REFERENCES:
            return
        if self._decoupled:
            keeper.add(array, request._sender, self._is_kept)
            return
        sent = sum(
            output is array or getattr(output, "base", None) is array
            for response in answer
            for output in (getattr(response, "outputs", None) or {}).values()
        )
        if references > _REFERENCES + sent:
            self._is_kept(array)

    def _is_decided(self) -> bool:
        return self._owner.private_inputs or self._is_told

    def _is_kept(self, _array: Any) -> None:
        if not self._is_decided():
            self._make_private("it keeps an array of an input after execute")

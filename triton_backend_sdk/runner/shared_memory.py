"""A transport that carries large tensors through system shared memory, for servers on this machine.

1. Inputs are copied once, into a region that the server maps; the request names the place.
2. Outputs are written by the server into another one. That takes their sizes in advance: they are those that
   the same model gave for inputs of the same shapes before. The first request of its kind gets them inline,
   and where a size turns out too small the request is sent again, without; its model is not guessed at again.
3. The arrays of the result are views of the region, which is used again when the last of them is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import CancelledError, TritonError, UnavailableError
from triton_backend_sdk.runner.errors import ServerLostError
from triton_backend_sdk.runner.messages import InferRequest, InputTensor, OutputWish
from triton_backend_sdk.runner.regions import ALIGNMENT, Pool, Region, is_left, sweep
from triton_backend_sdk.runner.result import OutputTensor, Result
from triton_backend_sdk.runner.transport import Answer, Operation, Stream, Transport

#: Smaller tensors are quicker inside the message.
_LEAST = 1 << 15
#: For the server to map a region, or to forget it.
_TELL_LIMIT_S = 10.0
#: After these the server has, or has had, nothing to do with a request, unless they are one of the others.
_ENDS = (TritonError, ValueError)
_NO_ENDS = (CancelledError, ServerLostError)
#: Servers before crash where a region is taken away from a request under way; 2.50 refuses that, later ones
#: wait for the request's end.
_FIRST_SAFE = (2, 50)
#: Kinds of requests of which the outputs' sizes are remembered.
_MOST_KINDS = 4096
_TOO_SMALL = re.compile(r"shared memory size specified with the request for output")

#: Tensor name -> bytes.
_Sizes = Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class _Learnt:
    """What the outputs of a kind of request were."""

    #: All, in their order.
    names: tuple[str, ...]
    #: The large ones.
    sizes: _Sizes


class SharedMemoryTransport(Transport):
    """See :class:`Transport`.

    :param inner: carries the rest.
    :param headers: sent with what the server is told of the memory.
    """

    def __init__(self, inner: Transport, headers: Mapping[str, str] | None = None) -> None:
        self._inner = inner
        self._headers = headers
        self._swept = False
        self.protocol = inner.protocol
        #: By kind of request; None: its outputs differ from time to time.
        self.learnt: dict[Any, _Learnt | None] = {}
        self._is_safe: bool | None = None
        self.pool = Pool(self._register, self._unregister, self._let_go)

    def call(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        return self._inner.call(operation)

    async def acall(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        return await self._inner.acall(operation)

    def infer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        loan = _Loan(self, request)
        try:
            return loan.result(self._inner.infer(loan.request))
        except BaseException as error:
            again = loan.failed(error)
            if again is None:
                raise
        loan = _Loan(self, again)
        try:
            return loan.result(self._inner.infer(loan.request))
        except BaseException as error:
            loan.failed(error)
            raise

    async def ainfer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        loan = _Loan(self, request)
        try:
            return loan.result(await self._inner.ainfer(loan.request))
        except BaseException as error:
            again = loan.failed(error)
            if again is None:
                raise
        loan = _Loan(self, again)
        try:
            return loan.result(await self._inner.ainfer(loan.request))
        except BaseException as error:
            loan.failed(error)
            raise

    def stream(self, request: InferRequest) -> Stream[Result]:
        """Send a request whose model gives any number of responses, all inline."""
        return self._inner.stream(request)

    def exchange(self, *arguments: Any) -> Stream[Answer]:
        """Send requests over one stream, all inline."""
        return self._inner.exchange(*arguments)

    def rest(self) -> None:
        """Let go of what is idle, and of the memory: the server can be told still."""
        self.pool.close()
        self._inner.rest()

    def close(self) -> None:
        """Let go of connections and memory; results keep theirs."""
        self.pool.close()
        self._inner.close()

    def _register(self, region: Region) -> None:
        given = {"name": region.name, "key": region.key, "byte_size": region.size, "offset": 0}
        self._tell("register", given)
        if not self._swept:  # only now it is sure that the server sees the same memory
            self._swept = True
            with contextlib.suppress(Exception):  # not this request's business
                self._sweep()

    def _sweep(self) -> None:
        sweep()
        for row in self._tell("status", {"region_name": ""}):
            if is_left(row["name"]):
                self._tell("unregister", {"name": row["name"]})

    def _unregister(self, region: Region) -> None:
        if self.ended is None:
            self._tell("unregister", {"name": region.name})

    def _let_go(self, region: Region) -> None:
        if self._is_safe is None:
            asked = Operation("get_server_metadata", headers=self._headers, client_timeout=_TELL_LIMIT_S)
            version = re.findall(r"\d+", self._inner.call(asked)["version"])
            self._is_safe = tuple(map(int, version[:2])) >= _FIRST_SAFE
        if not self._is_safe:
            raise UnavailableError("this server would let go of what a request uses")
        self._unregister(region)

    def _tell(self, what: str, given: Mapping[str, Any]) -> Any:
        name = "get_system_shared_memory_status" if what == "status" else f"{what}_system_shared_memory"
        return self._inner.call(Operation(name, given, self._headers, client_timeout=_TELL_LIMIT_S))


class _Loan:
    """The regions of one request."""

    def __init__(self, owner: SharedMemoryTransport, request: InferRequest) -> None:
        self._pool = owner.pool
        self._learnt = owner.learnt
        self._given = request
        self._kind = _kind(request)
        self._inputs: Region | None = None
        self._outputs: Region | None = None
        self._places: dict[str, tuple[int, int]] = {}
        inputs = self._place_inputs(request.inputs)
        try:
            outputs = self._place_outputs(request.outputs)
        except BaseException:  # there may be no room
            if self._inputs is not None:
                self._pool.give_back(self._inputs)
            raise
        self.request = dataclasses.replace(request, inputs=inputs, outputs=outputs)

    def result(self, result: Result) -> Result:
        """Put arrays into a result for the outputs that are in shared memory, and learn sizes."""
        if self._inputs is not None:
            self._pool.give_back(self._inputs)
            self._inputs = None
        if self._kind is not None and self._kind not in self._learnt:
            large = {
                name: size for name, size in map(_name_and_size, result.tensors.values()) if size >= _LEAST
            }
            self._learn(_Learnt(tuple(result.tensors), large))
        if self._outputs is not None:
            self._fill(result, self._outputs)
        return result

    def failed(self, error: BaseException) -> InferRequest | None:
        """Take regions back, and say whether the request can be sent again, and how."""
        sure = isinstance(error, _ENDS) and not isinstance(error, _NO_ENDS)
        for region in (self._inputs, self._outputs):
            if region is not None:
                (self._pool.give_back if sure else self._pool.give_up)(region)
        if self._outputs is None or not _TOO_SMALL.search(str(error)):
            return None
        self._learn(None)
        return self._given

    def _learn(self, what: _Learnt | None) -> None:
        if len(self._learnt) >= _MOST_KINDS:  # shapes without an end: begin anew
            self._learnt.clear()
        self._learnt[self._kind] = what

    def _fill(self, result: Result, region: Region) -> None:
        used = {name: place for name, place in self._places.items() if name in result.tensors}
        if not used:
            self._pool.give_back(region)
            return
        pool, left = self._pool, list(used)

        def over() -> None:
            left.pop()
            if not left:
                pool.give_back(region)

        for name, (offset, _) in used.items():
            tensor = result.tensors[name]
            tensor.data, tensor.parameters = region.lend(offset, _name_and_size(tensor)[1], over), {}

    def _place_inputs(self, tensors: list[InputTensor]) -> list[InputTensor]:
        large = [each for each in tensors if each.array is not None and each.array.nbytes >= _LEAST]
        data = {each.name: each.data() for each in large if each.datatype == "BYTES"}
        sizes = {
            each.name: len(data.get(each.name) or b"") or each.array.nbytes
            for each in large
            if each.array is not None
        }
        if not sizes:
            return tensors
        region, places = self._take(sizes)
        self._inputs = region
        made = []
        for tensor in tensors:
            if tensor.name not in places or tensor.array is None:
                made.append(tensor)
                continue
            offset, size = places[tensor.name]
            text = data.get(tensor.name)
            if text is None:
                region.array(offset, tensor.array)
            else:
                region.bytes(offset, text)
            said = _place(region, offset, size)
            made.append(InputTensor(tensor.name, tensor.datatype, tensor.shape, parameters=said))
        return made

    def _place_outputs(self, wishes: list[OutputWish] | None) -> list[OutputWish] | None:
        learnt = self._learnt.get(self._kind)
        if learnt is None:
            return wishes
        every = [OutputWish(name) for name in learnt.names] if wishes is None else wishes
        sizes = {
            wish.name: learnt.sizes[wish.name]
            for wish in every
            if wish.name in learnt.sizes and not (wish.classification or wish.parameters)
        }
        if not sizes:
            return wishes
        region, places = self._outputs, self._places = self._take(sizes)
        return [
            OutputWish(wish.name, parameters=_place(region, *places[wish.name]))
            if wish.name in places
            else wish
            for wish in every
        ]

    def _take(self, sizes: _Sizes) -> tuple[Region, dict[str, tuple[int, int]]]:
        places, end = {}, 0
        for name, size in sizes.items():
            places[name] = end, size
            end += -(-size // ALIGNMENT) * ALIGNMENT
        return self._pool.take(end), places


def _kind(request: InferRequest) -> Any:
    """Give what the sizes of outputs are remembered by; None: do not, it must not be sent again."""
    if "sequence_id" in request.parameters:
        return None
    shapes = tuple((tensor.name, tuple(tensor.shape)) for tensor in request.inputs)
    wanted = None if request.outputs is None else tuple(wish.name for wish in request.outputs)
    return request.model, request.version, shapes, wanted


def _name_and_size(tensor: OutputTensor) -> tuple[str, int]:
    """Give a tensor's name and bytes; 0 for texts, whose size their shape does not tell."""
    return tensor.name, DataType.of(tensor.datatype).itemsize * math.prod(tensor.shape)


def _place(region: Region, offset: int, size: int) -> dict[str, Any]:
    where = {"shared_memory_region": region.name, "shared_memory_byte_size": size}
    return where | ({"shared_memory_offset": offset} if offset else {})

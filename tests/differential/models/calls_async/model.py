import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils
from probes import _ADDRESS


def request(*texts, model="callee", outputs=("OUT",)):
    return pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=[pb_utils.Tensor("IN", np.array(texts, object))],
    )


def stream(count):
    return pb_utils.InferenceRequest(
        model_name="callee_stream",
        requested_output_names=["OUT"],
        inputs=[pb_utils.Tensor("IN", np.array([count], np.int32))],
    )


def shown(response):
    if response.has_error():
        return "error", str(response.error().code()), response.error().message()
    return [(tensor.name(), tensor.as_numpy().tolist()) for tensor in response.output_tensors()]


class TritonPythonModel:
    """Calls others from a coroutine; each request names the method."""

    async def execute(self, requests):
        responses = []
        for one in requests:
            name = one.inputs()[0].as_numpy()[0].decode()
            try:
                text = repr(await getattr(self, name)())
            except Exception as error:
                text = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            tensor = pb_utils.Tensor("OUT", np.array([_ADDRESS.sub("0x0", text)], object))
            responses.append(pb_utils.InferenceResponse([tensor]))
        return responses

    async def one(self):
        return shown(await request("a").async_exec())

    async def gathered(self):
        responses = await asyncio.gather(*[request(str(n)).async_exec() for n in range(5)])
        return [shown(response) for response in responses]

    async def tasks(self):
        async def call(n):
            return shown(await request(str(n)).async_exec())

        tasks = [asyncio.create_task(call(n)) for n in range(3)]
        return [await task for task in tasks]

    async def future_kind(self):
        future = request("a").async_exec()
        return asyncio.isfuture(future), shown(await future)

    async def error(self):
        return shown(await request("NOT_FOUND").async_exec())

    async def unknown_model(self):
        return shown(await request("a", model="no_such_model").async_exec())

    async def unknown_output(self):
        return shown(await request("a", outputs=["NO"]).async_exec())

    async def wait_for(self):
        return shown(await asyncio.wait_for(request("a").async_exec(), 10))

    async def as_completed(self):
        found = [
            shown(await done)
            for done in asyncio.as_completed([request(str(n)).async_exec() for n in range(3)])
        ]
        return sorted(map(str, found))

    async def decoupled(self):
        return [shown(response) for response in await stream(3).async_exec(decoupled=True)]

    async def decoupled_error(self):
        return [shown(response) for response in await stream(-1).async_exec(decoupled=True)]

    async def decoupled_gathered(self):
        streams = await asyncio.gather(*[stream(n).async_exec(decoupled=True) for n in (2, 3)])
        return [[shown(response) for response in one] for one in streams]

    async def not_awaited(self):
        future = request("a").async_exec()
        await asyncio.wait([future], timeout=10)
        return future.done()

    async def exec_in_coroutine(self):
        return shown(request("a").exec())

    async def exec_in_executor(self):
        call = request("a").exec
        return shown(await asyncio.get_running_loop().run_in_executor(None, call))

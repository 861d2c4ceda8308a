import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


def answer(value):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([str(value)], object))])


class TritonPythonModel:
    async def execute(self, requests):
        for request in requests:
            name = pb_utils.get_input_tensor_by_name(request, "WHAT").as_numpy()[0].decode()
            result = await getattr(self, name)(request.get_response_sender())
        return result

    async def one(self, sender):
        sender.send(answer(1), FINAL)

    async def many(self, sender):
        for number in range(4):
            await asyncio.sleep(0.001)
            sender.send(answer(number))
        sender.send(flags=FINAL)

    async def task(self, sender):
        async def later():
            await asyncio.sleep(0.01)
            sender.send(answer("later"), FINAL)

        self.task_ = asyncio.get_running_loop().create_task(later())

    async def gather(self, sender):
        async def part(number):
            await asyncio.sleep(0.01 * (2 - number))
            return number

        sender.send(answer(await asyncio.gather(part(0), part(1))), FINAL)

    async def raises_after_final(self, sender):
        sender.send(answer(1), FINAL)
        raise ValueError("diff-tag: after the final response")

    async def returns(self, sender):
        sender.send(answer(1), FINAL)
        return "text"

    wait = None

    async def waits(self, sender):
        self.wait = asyncio.Event()
        await self.wait.wait()
        sender.send(answer("was let go"), FINAL)

    async def lets_go(self, sender):
        while self.wait is None:
            await asyncio.sleep(0.001)
        self.wait.set()
        sender.send(answer("lets go"), FINAL)

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """A coroutine in default mode: the server waits for it."""

    seen = 0

    async def execute(self, requests):
        await asyncio.sleep(0.01)
        self.seen += 1
        what = pb_utils.get_input_tensor_by_name(requests[0], "IN").as_numpy()[0].decode()
        if what == "raise":
            raise ValueError("in a coroutine")
        if what == "none":
            return None
        if what == "tuple":
            return tuple(self.answers(requests, "x"))
        if what == "task":
            texts = await asyncio.gather(*[self.later(number) for number in range(3)])
            return self.answers(requests, *texts)
        if what == "loop":
            loop = asyncio.get_running_loop()
            return self.answers(
                requests, str(loop.is_running()), str(await loop.run_in_executor(None, len, "abc"))
            )
        return self.answers(requests, what, str(self.seen))

    async def later(self, number):
        await asyncio.sleep(0.01 * (3 - number))
        return f"task {number}"

    def answers(self, requests, *texts):
        tensor = pb_utils.Tensor("OUT", np.array(texts, object))
        return [pb_utils.InferenceResponse([tensor]) for _ in requests]

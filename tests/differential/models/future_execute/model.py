import asyncio
from concurrent.futures import ThreadPoolExecutor

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What is no coroutine is not waited for."""

    def execute(self, requests):
        what = pb_utils.get_input_tensor_by_name(requests[0], "IN").as_numpy()[0].decode()
        if what == "future":
            with ThreadPoolExecutor() as pool:
                return pool.submit(list)
        if what == "generator":
            return self.generated()
        return self.asynchronous()

    def generated(self):
        yield 1

    async def asynchronous(self):
        yield asyncio

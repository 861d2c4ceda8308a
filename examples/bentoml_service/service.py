"""A BentoML service in front of Triton: checks and answers in Python, models on a server of their own."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import bentoml

from triton_backend_sdk.runner import Runner
from triton_backend_sdk.runner.bento import http_errors, is_ready

HERE = Path(__file__).parent


@bentoml.service(name="texts", traffic={"timeout": 60})
class Texts:
    """Cleans texts, and continues them."""

    def __init__(self) -> None:
        url = os.environ.get("TRITON_URL")  # a Triton that runs already, such as one with GPUs
        built = HERE / "build" / "backends"
        backends = built if built.is_dir() else None  # None: where the server has its own
        models = HERE / "model_repository"
        self.runner = (Runner(url=url) if url else Runner(models, backend_directory=backends)).start()

    @bentoml.on_shutdown
    def close(self) -> None:
        self.runner.close()

    async def __is_ready__(self) -> bool:
        """Be what /readyz asks: no requests while Triton is started again."""
        return await is_ready(self.runner)

    @bentoml.api
    async def normalize(self, texts: list[str]) -> list[str]:
        """Give the texts as a tokenizer wants them; those without a word are left out."""
        with http_errors():
            result = await self.runner.text_normalize.async_run(TEXT=texts, batch="auto")
        cleaned = (text.decode() for text in result["NORMALIZED"][0])
        return [text for text in cleaned if text]

    @bentoml.api
    async def go_on(self, prompt: str, tokens: int = 8) -> AsyncGenerator[str, None]:
        """Continue a text, each word when it is there."""
        with http_errors():
            async for result in self.runner.token_streaming.async_stream([prompt], MAX_TOKENS=[tokens]):
                if "TOKEN" in result:
                    yield result["TOKEN"][0].decode() + " "

    @bentoml.api
    async def versions(self) -> dict[str, list[str]]:
        """Tell which versions of the models are ready."""
        with http_errors():
            rows = await self.runner.aio.get_model_repository_index()
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row["name"], []).append(row.get("version", ""))
        return found

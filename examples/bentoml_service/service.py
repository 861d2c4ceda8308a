"""A BentoML service in front of Triton: checks and answers in Python, models on a server of their own."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import bentoml

from triton_backend_sdk.runner import Runner

HERE = Path(__file__).parent


@bentoml.service(name="texts", traffic={"timeout": 60})
class Texts:
    """Cleans texts, and continues them."""

    def __init__(self) -> None:
        url = os.environ.get("TRITON_URL")  # a Triton that runs already, such as one with GPUs
        backends = os.environ.get("BACKENDS", HERE / "build" / "backends")
        self.runner = (
            Runner(url=url) if url else Runner(HERE / "model_repository", backend_directory=backends)
        ).start()

    @bentoml.on_shutdown
    def close(self) -> None:
        self.runner.close()

    @bentoml.api
    async def normalize(self, texts: list[str]) -> list[str]:
        """Give the texts as a tokenizer wants them; those without a word are left out."""
        result = await self.runner.text_normalize.async_run(TEXT=texts, batch="auto")
        cleaned = (text.decode() for text in result["NORMALIZED"][0])
        return [text for text in cleaned if text]

    @bentoml.api
    async def go_on(self, prompt: str, tokens: int = 8) -> AsyncGenerator[str, None]:
        """Continue a text, each word when it is there."""
        async for result in self.runner.token_streaming.async_stream([prompt], MAX_TOKENS=[tokens]):
            if "TOKEN" in result:
                yield result["TOKEN"][0].decode() + " "

    @bentoml.api
    async def versions(self) -> dict[str, list[str]]:
        """Tell which versions of the models are ready."""
        rows = await self.runner.aio.get_model_repository_index()
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row["name"], []).append(row.get("version", ""))
        return found

"""Ask the service from many clients at once, and tell how fast and how well it answers."""

import argparse
import asyncio
import time

import bentoml
from bentoml.exceptions import BentoMLException


async def ask(url: str, duration: float, seconds: list[float]) -> int:
    """Ask one request after the other, note what each took, and count those that failed."""
    failed = 0
    async with bentoml.AsyncHTTPClient(url) as service:
        until = time.monotonic() + duration
        while time.monotonic() < until:
            began = time.perf_counter()
            try:
                await service.normalize(texts=["  Hello   WORLD "])
            except BentoMLException:
                failed += 1
            else:
                seconds.append(time.perf_counter() - began)
    return failed


async def main(url: str, clients: int, duration: float) -> int:
    """Run the clients, and print what came of it."""
    seconds: list[float] = []
    failed = sum(await asyncio.gather(*(ask(url, duration, seconds) for _ in range(clients))))
    seconds.sort()
    if seconds:
        middle, slow = (seconds[int(len(seconds) * part)] * 1000 for part in (0.5, 0.99))
        rate = len(seconds) / duration
        print(f"{clients} clients: {rate:.0f} requests/s, median {middle:.1f} ms, 99 % within {slow:.1f} ms")
    print(f"{failed} failed")
    return 1 if failed or not seconds else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:3000")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    raise SystemExit(asyncio.run(main(given.url, given.clients, given.seconds)))

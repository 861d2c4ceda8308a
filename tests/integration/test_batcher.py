"""Batch hooks in the server's own interpreter, on its scheduler thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tests.runtime.conftest import write_model, write_project
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.client import infer
from triton_backend_sdk.tools.server import TritonServer

SOURCE = """
import numpy as np
from triton_backend_sdk import Response, hookimpl

@hookimpl
def batch_include(batch, request):
    batch.tenant = getattr(batch, "tenant", request["IN"].shape[1])
    return request["IN"].shape[1] == batch.tenant

@hookimpl
def execute(requests):
    widths = {request["IN"].shape[1] for request in requests}
    size = np.full((1, 1), len(requests) if len(widths) == 1 else -1, np.float32)
    return [Response({"OUT": size}) for request in requests]
"""


def test_hooks_decide_in_a_real_server(tmp_path):
    build_backend(write_project(tmp_path / "projects", "tenants", SOURCE), tmp_path / "backends")
    write_model(
        tmp_path / "models",
        "tenants",
        "tenants",
        {"IN": ("FP32", [-1], "allow_ragged_batch: true")},
        {"OUT": ("FP32", [1])},
        batch=64,
        extra="dynamic_batching { max_queue_delay_microseconds: 100000 }",
    )
    server = TritonServer(tmp_path / "models", backend_directory=tmp_path / "backends")
    with server as running, ThreadPoolExecutor(12) as pool:

        def ask(width):
            inputs = {"IN": np.ones((1, width), np.float32)}
            return float(infer(running.http_url, "http", "tenants", inputs).outputs["OUT"][0, 0])

        sizes = list(pool.map(ask, [1 + i // 6 for i in range(48)]))

    assert min(sizes) >= 1
    assert max(sizes) > 1

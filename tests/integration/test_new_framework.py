"""Entries that `tbsdk new --framework` writes, in the real server."""

from __future__ import annotations

import pytest

from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.compat import build_compat
from triton_backend_sdk.tools.server import TritonServer, find_server

#: What comes of [1, 2, 3, 4].
ANSWERS = {"python": [2, 4, 6, 8], "ensemble": [3, 5, 7, 9]}


@pytest.mark.parametrize("options", [[], ["--labels", "--warmup"]], ids=["plain", "labelled and warm"])
def test_entries_of_python_are_served(tmp_path, options):
    repository, backends = tmp_path / "models", tmp_path / "backends"
    for framework in ANSWERS:
        more = options if framework == "python" else []
        run(["new", f"my_{framework}", "--framework", framework, "--into", str(repository), *more])
    build_compat(backends, find_server().backends)
    tensor = {"name": "INPUT", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    with TritonServer(repository, backend_directory=backends) as server:
        for framework, data in ANSWERS.items():
            answer = server.request(
                f"/v2/models/my_{framework}/infer", method="POST", body={"inputs": [tensor]}
            )
            assert answer["outputs"][0]["data"] == data

"""Sequences with ids of text and number, over the real server's HTTP and gRPC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import TritonServer

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "stateful_accumulator"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Give a server with the example's model."""
    project = Project.find(EXAMPLE)
    backends = tmp_path_factory.mktemp("backends")
    build_backend(project, backends)
    with TritonServer(project.model_repository, backend_directory=backends) as running:
        yield running


def connect(api, server):
    if api is tritonclient.http:
        return api.InferenceServerClient(server.http_url.removeprefix("http://"))
    options = [("grpc.enable_http_proxy", 0)]
    return api.InferenceServerClient(server.grpc_url.removeprefix("grpc://"), channel_args=options)


@pytest.mark.parametrize("api", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
@pytest.mark.parametrize("corrid", [11, "eleven ü"])
def test_a_sequence_is_kept_by_its_id(server, api, corrid):
    client = connect(api, server)
    sums = []
    for at in range(4):
        values = api.InferInput("VALUES", [1], "FP64")
        values.set_data_from_numpy(np.float64([at + 1]))
        flags = {"sequence_id": corrid, "sequence_start": at == 0, "sequence_end": at == 3}
        sums.append(client.infer("stateful_accumulator", [values], **flags).as_numpy("SUM").item())
    client.close()
    assert sums == [1, 3, 6, 10]

"""A Python that does not start, in the real tritonserver."""

from __future__ import annotations

from urllib.error import HTTPError

from tests.integration.test_bad_input import GOOD
from tests.runtime.conftest import FP32, write_model, write_project
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.server import TritonServer


def test_a_python_that_does_not_start_fails_each_load_at_once(tmp_path, monkeypatch):
    for name in ("first", "second"):
        project = write_project(tmp_path / "projects", name, GOOD)
        build_backend(project, tmp_path / "backends")
        write_model(tmp_path / "models", name, name, *FP32)
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit")  # Python fails with the GIL held
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answers = []
    with TritonServer(
        tmp_path / "models", backend_directory=tmp_path / "backends", model_control_mode="explicit"
    ) as server:
        for name in ("first", "first", "second"):
            try:
                server.request(f"/v2/repository/models/{name}/load", method="POST", body={})
            except HTTPError as error:
                answers.append(error.read().decode())
    assert len(answers) >= 2  # the second backend finds Python as `site` left it
    assert all("Python does not start: init_import_site" in answer for answer in answers[:2])

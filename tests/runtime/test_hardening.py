"""Authors' slips and races that no feature's test would try: none may cost the server its life."""

from __future__ import annotations

import time

import numpy as np
import pytest

X = np.arange(4, dtype=np.float32)
IDENTITY = """
@hookimpl
def execute(requests):
    return [Response({"OUT": request["IN"]}) for request in requests]
"""


def until(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return bool(condition())


def test_views_may_outlive_their_instance(serve):
    served = serve(
        """
        kept = []
        @hookimpl
        def execute(requests):
            output = requests[0].output("OUT", [4])
            output.numpy()[:] = 5
            kept.append((requests[0], output))
            time.sleep(0.02)
            return [Response()]
        import time
        """,
        extra="instance_group { count: 3 kind: KIND_CPU }",
    )
    futures = [served.send({"IN": X}) for _ in range(6)]
    assert until(lambda: len(served.module.kept) == 6)
    config = served.repository / served.name / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 3", "count: 1"))
    served.core.load(served.name)  # Triton takes two instances away, and keeps the model as it is
    assert served.core.model_config(served.name)["instance_group"][0]["count"] == 1
    request, output = served.module.kept[0]
    assert [output.name for _, output in served.module.kept] == ["OUT"] * 6
    with pytest.raises(RuntimeError, match="already answered"):
        request.output("OUT", [4])
    del request, output
    served.module.kept.clear()
    assert [future.result(5)["OUT"].tolist() for future in futures] == [[5] * 4] * 6
    assert served.core.statistics(served.name)["inference_stats"]["success"]["count"] == 6

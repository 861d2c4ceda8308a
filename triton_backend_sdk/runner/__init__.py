"""Call models on any Triton: a server that runs, one that is started, or the core in this process.

::

    with Runner("model_repository") as runner:
        print(runner.add_sub.run(a, b)["SUM"])
"""

from triton_backend_sdk.runner.binding import Signature
from triton_backend_sdk.runner.errors import NotSupportedError, ServerEndedError, ServerLostError
from triton_backend_sdk.runner.metrics import Metrics, Sample
from triton_backend_sdk.runner.model import Model
from triton_backend_sdk.runner.result import Result
from triton_backend_sdk.runner.runner import Runner
from triton_backend_sdk.runner.supervised import Restart
from triton_backend_sdk.tools.server_errors import StartError

__all__ = [
    "Metrics",
    "Model",
    "NotSupportedError",
    "Restart",
    "Result",
    "Runner",
    "Sample",
    "ServerEndedError",
    "ServerLostError",
    "Signature",
    "StartError",
]

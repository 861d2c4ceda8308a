"""From a ``model.py`` of the stock Python backend to this SDK: does it run, and as a plugin."""

from triton_backend_sdk.tools.migrate.locate import Found, locate
from triton_backend_sdk.tools.migrate.verdict import Report, examine

__all__ = ["Found", "Report", "examine", "locate"]

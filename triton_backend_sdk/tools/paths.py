"""Where the SDK keeps what it fetches."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Give the cache folder, which may not exist yet.

    $TBSDK_CACHE_DIR, else $XDG_CACHE_HOME/triton-backend-sdk, else ~/.cache/triton-backend-sdk.
    """
    own = os.environ.get("TBSDK_CACHE_DIR")
    if own:
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that a relative path is to be ignored.
    base = shared if shared.is_absolute() else Path.home() / ".cache"
    return base / "triton-backend-sdk"

"""Repositories that the tests of the launcher share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """Give a repository without models."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Give a repository whose model fails."""
    (tmp_path / "broken" / "lost" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "lost" / "config.pbtxt").write_text('backend: "nope"')
    return tmp_path / "broken"

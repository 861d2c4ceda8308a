from pathlib import Path

import pytest

from triton_backend_sdk.tools.paths import cache_dir


@pytest.fixture(autouse=True)
def no_variables(monkeypatch, tmp_path):
    monkeypatch.delenv("TBSDK_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_home_is_the_default(tmp_path):
    assert cache_dir() == tmp_path / ".cache" / "triton-backend-sdk"


def test_xdg_cache_home_goes_before_home(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_dir() == Path("/elsewhere/triton-backend-sdk")


def test_a_relative_xdg_cache_home_is_ignored(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "elsewhere")
    assert cache_dir() == tmp_path / ".cache" / "triton-backend-sdk"


def test_our_own_variable_goes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("TBSDK_CACHE_DIR", "~/mine")
    assert cache_dir() == tmp_path / "mine"


def test_a_relative_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TBSDK_CACHE_DIR", "mine")
    assert cache_dir() == tmp_path / "mine"

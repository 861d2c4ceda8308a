"""Prices are found on whichever thread Triton calls, and a missing database is told before any request."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from triton_backend_sdk import NotFoundError

MODEL = Path(__file__).parent.parent / "model_repository" / "sqlite_lookup"


def names(*items):
    return {"PRODUCT": np.array([[item] for item in items], dtype=object)}


def test_known_and_unknown(fake_host):
    [result] = fake_host("sqlite_lookup.plugin").execute(names("tea", "petrol"))

    np.testing.assert_array_equal(result["PRICE"], np.float32([[2.5], [np.nan]]))


def test_no_database_no_model(fake_host, tmp_path):
    with pytest.raises(NotFoundError, match=r"products\.db is missing"):
        fake_host("sqlite_lookup.plugin", directory=tmp_path)


def test_in_the_real_triton(triton_core):
    core = triton_core()

    futures = [core.infer_async("sqlite_lookup", names("espresso")) for _ in range(20)]

    assert {float(future.result(20)["PRICE"][0, 0]) for future in futures} == {np.float32(2.2)}


def test_without_a_thread_of_its_own_the_connection_is_refused(triton_core):
    core = triton_core()
    config = core.model_config("sqlite_lookup")
    del config["parameters"]["instance_thread"]
    core.load("sqlite_lookup", config)

    with pytest.raises(Exception, match="SQLite objects created in a thread"):
        core.infer("sqlite_lookup", names("espresso"))


def test_it_is_ready_while_the_database_is_there(fake_host, tmp_path):
    directory = shutil.copytree(MODEL, tmp_path / "sqlite_lookup")
    host = fake_host("sqlite_lookup.plugin", directory=directory)

    assert host.not_ready() is None
    (directory / "1" / "products.db").unlink()
    assert host.not_ready() == "is_ready raised: OperationalError: unable to open database file"

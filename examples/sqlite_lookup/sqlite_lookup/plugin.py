"""Names of products in, their prices out: from a SQLite database that lies beside the model's version."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np

from triton_backend_sdk import ModelInstance, NotFoundError, Request, Response, hookimpl


def connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


class Lookup:
    """One for each instance; all but is_ready runs on its thread (``instance_thread`` in the config)."""

    @hookimpl
    def initialize(self, instance: ModelInstance) -> None:
        self.file = instance.model.version_directory / "products.db"
        if not self.file.is_file():
            raise NotFoundError(f"{self.file} is missing: make_db.py writes it")
        self.database = connect(self.file)  # usable on the thread that made it, and on no other

    @hookimpl
    def warmup(self) -> None:
        # Reads the whole table, so that the first request finds it in memory; no rows fail the load.
        [[rows]] = self.database.execute("select count(price) from products")
        if rows == 0:
            raise NotFoundError(f"{self.file} has no products")

    @hookimpl
    def execute(self, requests: list[Request]) -> list[Response]:
        return [Response({"PRICE": self.prices(request["PRODUCT"].tolist())}) for request in requests]

    @hookimpl
    def is_ready(self) -> bool:
        # Asked on another thread, hence over another connection: is the database still there and readable?
        with contextlib.closing(connect(self.file)) as database:
            return database.execute("select 1 from products").fetchone() is not None

    @hookimpl
    def finalize(self) -> None:
        self.database.close()

    def prices(self, rows: list[list[bytes]]) -> np.ndarray:
        return np.array([[self.price(name.decode()) for name in names] for names in rows], np.float32)

    def price(self, name: str) -> float:
        found = self.database.execute("select price from products where name = ?", [name]).fetchone()
        return float("nan") if found is None else found[0]

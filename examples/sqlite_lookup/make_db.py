"""Write the database that the model reads."""

import sqlite3
from pathlib import Path

FILE = Path(__file__).parent / "model_repository" / "sqlite_lookup" / "1" / "products.db"
PRODUCTS = [("espresso", 2.2), ("cappuccino", 3.4), ("flat white", 3.8), ("filter", 2.9), ("tea", 2.5)]

if __name__ == "__main__":
    FILE.unlink(missing_ok=True)
    with sqlite3.connect(FILE) as database:
        database.execute("create table products (name text primary key, price real) without rowid")
        database.executemany("insert into products values (?, ?)", PRODUCTS)
    database.close()

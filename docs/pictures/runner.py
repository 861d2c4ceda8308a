"""Draw docs/pictures/runner.svg: a session with a Runner, its answers made by the code that makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.syntax import Syntax
from terminal import svg, terminal

from triton_backend_sdk.runner import Result, Signature
from triton_backend_sdk.runner.result import OutputTensor

TARGET = Path(__file__).with_suffix(".svg")


def signature(name: str, **inputs: list[int]) -> Signature:
    """Give that of a model whose outputs are like its inputs."""
    rows = [{"name": key, "datatype": "FP32", "shape": shape} for key, shape in inputs.items()]
    outputs = [{**row, "name": "OUT" + str(row["name"])[2:]} for row in rows]
    metadata = {"name": name, "inputs": rows, "outputs": outputs}
    return Signature(metadata, {"max_batch_size": 8 if name == "rows" else 0})


def failure(of: Signature, *tensors: object) -> str:
    """Give what a call with tensors that do not fit says."""
    try:
        of.bind(tensors, {})
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("it fits")


def session() -> list[tuple[str, str]]:
    """Give what is typed, and what is answered."""
    pair, rows = signature("pair", IN0=[2], IN1=[2]), signature("rows", IN=[-1, -1])
    tensors = {name: OutputTensor(name, "FP32", (2,), [1, 2]) for name in pair.outputs}
    return [
        ("from triton_backend_sdk.runner import Runner", ""),
        ('runner = Runner("models")  # or url="grpc://HOST:8001", or in_process=True', ""),
        ("runner.pair.signature", repr(pair)),
        ("runner.pair.run(IN1=[3, 4], IN0=[1, 2])", repr(Result("pair", "1", "", tensors, {}))),
        ('_["OUT0"]', repr(np.float32([1, 2]))),
        ("runner.pair.run([1, 2])", failure(pair, [1, 2])),
        ("runner.rows.run(np.ones((1, 3)))", failure(rows, np.ones((1, 3)))),
        ("runner.rows.run([1, 2, 3])", failure(rows, [1, 2, 3])),
    ]


def draw() -> str:
    """Give the picture."""
    console = terminal()
    for typed, answered in session():
        console.print(Syntax(f">>> {typed}", "pycon", theme="ansi_dark", background_color="default"))
        if answered:
            console.print(answered, style="red" if "Error" in answered else "", highlight=False, markup=False)
    return svg(console, "python", "runner")


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")

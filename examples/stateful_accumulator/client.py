"""Send numbers, one request each, as one sequence: python client.py 1 2 3 --sequence till-7."""

import argparse

import numpy as np
import tritonclient.http as triton

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("values", type=float, nargs="+")
parser.add_argument("--sequence", default="1", help="its id: any text")
parser.add_argument("--url", default="127.0.0.1:8000")
options = parser.parse_args()

client = triton.InferenceServerClient(options.url.removeprefix("http://"))
for at, value in enumerate(options.values):
    values = triton.InferInput("VALUES", [1], "FP64")
    values.set_data_from_numpy(np.array([value]))
    result = client.infer(
        "stateful_accumulator",
        [values],
        sequence_id=options.sequence,
        sequence_start=at == 0,
        sequence_end=at == len(options.values) - 1,
    )
    print(f"sum {result.as_numpy('SUM')[0]:g}, mean {result.as_numpy('MEAN')[0]:g}")

"""Send image files to a running server: python client.py sample.jpg [MORE FILES] [--url HOST:PORT]."""

import argparse
from pathlib import Path

import numpy as np
import tritonclient.http as triton


def preprocess(files: list[str], url: str) -> np.ndarray:
    """Give the pixels of the files, [n, 3, 224, 224]."""
    image = triton.InferInput("IMAGE", [len(files), 1], "BYTES")
    image.set_data_from_numpy(np.array([[Path(file).read_bytes()] for file in files], dtype=object))
    with triton.InferenceServerClient(url) as client:
        return client.infer("image_preprocess", [image]).as_numpy("PIXELS")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--url", default="127.0.0.1:8000", metavar="HOST:PORT")
    arguments = parser.parse_args()
    for file, pixels in zip(arguments.files, preprocess(arguments.files, arguments.url), strict=True):
        red, green, blue = pixels.mean(axis=(1, 2))
        print(f"{file}: {pixels.shape} {pixels.dtype}, mean {red:.2f} {green:.2f} {blue:.2f}")

"""Images of many kinds, images that are none, and the path from a file to pixels over the network."""

import io
from pathlib import Path

import numpy as np
import pytest
from image_preprocess.plugin import MEAN, STD
from PIL import Image

from triton_backend_sdk import InvalidArgError

SAMPLE = Path(__file__).parent.parent / "sample.jpg"


def file_of(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def batch(*files):
    return np.array([[file] for file in files], dtype=object)


def colours(pixels):
    """Give the middle pixel of an image as the 8-bit RGB that it was."""
    middle = pixels[:, 112, 112] * STD + MEAN
    return [round(float(value) * 255) for value in middle]


RED = Image.new("RGB", (300, 280), (255, 0, 0))
RED_PNG = file_of(RED)
BROKEN = {
    "no image": (b"hello", "neither a JPEG nor a PNG"),
    "empty": (b"", "neither a JPEG nor a PNG"),
    "gif": (file_of(RED, "GIF"), "neither a JPEG nor a PNG"),
    "cut short": (SAMPLE.read_bytes()[:4000], "truncated"),
    "too large": (
        file_of(Image.new("1", (8000, 8000))),
        "8000x8000 pixels are more than the 50000000 allowed",
    ),
    "16 bits": (file_of(Image.new("I;16", (300, 300))), "16 bits"),
}


def plainly(image):
    """Do what torchvision does: Resize(256), CenterCrop(224), ToTensor, Normalize."""
    width, height = image.size
    short = min(image.size)
    image = image.resize((256 * width // short, 256 * height // short), Image.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    array = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    return ((array - MEAN) / STD).transpose(2, 0, 1)


def test_pixels_are_torchvisions(fake_host):
    [result] = fake_host("image_preprocess.plugin").execute({"IMAGE": batch(SAMPLE.read_bytes())})

    # Within one of 255 steps: Pillow rounds at other places when it scales only the middle.
    np.testing.assert_allclose(result["PIXELS"][0], plainly(Image.open(SAMPLE)), atol=1.01 / 255 / STD.min())


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (RED, {}),
        (RED, {"kind": "JPEG", "quality": 100, "subsampling": 0}),
        (RED.convert("P"), {}),
        (RED.convert("CMYK"), {"kind": "JPEG", "quality": 100}),
        (Image.new("RGB", (1, 1), (255, 0, 0)), {}),
        (Image.new("RGB", (3000, 2), (255, 0, 0)), {}),
    ],
)
def test_kinds_of_images(fake_host, image, options):
    [result] = fake_host("image_preprocess.plugin").execute({"IMAGE": batch(file_of(image, **options))})

    np.testing.assert_allclose(colours(result["PIXELS"][0]), [255, 0, 0], atol=2)


def test_what_is_transparent_is_white(fake_host):
    clear = Image.new("RGBA", (300, 300), (255, 0, 0, 0))
    grey = Image.new("LA", (300, 300), (0, 255))

    [result] = fake_host("image_preprocess.plugin").execute({"IMAGE": batch(file_of(clear), file_of(grey))})

    assert [colours(pixels) for pixels in result["PIXELS"]] == [[255, 255, 255], [0, 0, 0]]


def test_a_picture_that_was_taken_upside_down(fake_host):
    exif = Image.Exif()
    exif[0x0112] = 3  # Orientation: turned by 180 degrees
    halves = Image.new("RGB", (256, 256), "white")
    halves.paste("black", (0, 0, 256, 128))

    [result] = fake_host("image_preprocess.plugin").execute({"IMAGE": batch(file_of(halves, exif=exif))})

    top, bottom = result["PIXELS"][0][0, 0, 0], result["PIXELS"][0][0, -1, 0]
    assert top > 0 > bottom


def test_broken_images_fail_alone(fake_host):
    host = fake_host("image_preprocess.plugin")
    requests = [{"IMAGE": batch(RED_PNG, data)} for data, _ in BROKEN.values()]

    *errors, fine = host.execute([*requests, {"IMAGE": batch(RED_PNG)}], errors="return")

    for error, (_, message) in zip(errors, BROKEN.values(), strict=True):
        assert isinstance(error, InvalidArgError)
        assert str(error).startswith("image 1: ")
        assert message in str(error)
    assert colours(fine["PIXELS"][0]) == [255, 0, 0]


@pytest.mark.parametrize("data", [SAMPLE.read_bytes(), file_of(RED.resize((40, 40)))])
def test_damaged_bytes_are_an_answer_or_an_invalid_argument(fake_host, data):
    host = fake_host("image_preprocess.plugin")
    rng = np.random.default_rng(0)
    damaged = []
    for _ in range(60):
        copy = bytearray(data)
        for position in rng.integers(len(copy), size=4):
            copy[position] = rng.integers(256)
        damaged.append({"IMAGE": batch(bytes(copy))})

    results = host.execute(damaged, errors="return")

    assert all(isinstance(result, (dict, InvalidArgError)) for result in results)


def test_in_the_real_triton(triton_core):
    core = triton_core()

    files = [batch(RED_PNG, RED_PNG), batch(b"x")]
    futures = [core.infer_async("image_preprocess", {"IMAGE": each}) for each in files]

    assert colours(futures[0].result(20)["PIXELS"][1]) == [255, 0, 0]
    with pytest.raises(InvalidArgError, match="image 0: neither a JPEG nor a PNG"):
        futures[1].result(20)


def test_over_http_and_grpc(tritonserver):
    grpc = pytest.importorskip("tritonclient.grpc")
    client = pytest.importorskip("client")
    server = tritonserver()

    over_http = client.preprocess([str(SAMPLE), str(SAMPLE)], server.http_url)
    image = grpc.InferInput("IMAGE", [1, 1], "BYTES")
    image.set_data_from_numpy(batch(SAMPLE.read_bytes()))
    with grpc.InferenceServerClient(server.grpc_url) as connection:
        over_grpc = connection.infer("image_preprocess", [image]).as_numpy("PIXELS")

    assert over_http.shape == (2, 3, 224, 224)
    np.testing.assert_array_equal(over_grpc[0], over_http[1])
    np.testing.assert_allclose(over_grpc[0], plainly(Image.open(SAMPLE)), atol=1.01 / 255 / STD.min())

"""JPEG and PNG files become the input of an image classifier: [3, 224, 224], as torchvision prepares it."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from triton_backend_sdk import InvalidArgError, Model, ModelInstance, Request, Response, TritonError, hookimpl

RESIZE, CROP = 256, 224
# Of ImageNet, in RGB: what most published classifiers were trained with.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


@hookimpl
def model_initialize(model: Model) -> None:
    model.state.most = model.parameters.get_int("max_pixels", 50_000_000)


@hookimpl
def execute(instance: ModelInstance, requests: list[Request]) -> list[Response | TritonError]:
    return [answer(request, instance.model.state.most) for request in requests]


def answer(request: Request, most: int) -> Response | TritonError:
    files = request["IMAGE"].numpy()  # [batch, 1], each element the bytes of a file
    pixels = request.output("PIXELS", (len(files), 3, CROP, CROP)).numpy()
    for row, [data] in enumerate(files):
        try:
            normalize(crop(read(data, most)), out=pixels[row])
        except Exception as error:  # broken files make Pillow raise OSError, SyntaxError, struct.error, ...
            # Returned, it fails this request and not those that Triton has batched with it.
            return InvalidArgError(f"image {row}: {reason(error)}")
    return Response()


def read(data: bytes, most: int) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    if image.width * image.height > most:  # known before any pixel is decoded
        raise ValueError(f"{image.width}x{image.height} pixels are more than the {most} allowed")
    if image.mode.startswith("I"):  # Pillow would make it white
        raise ValueError("16 bits per pixel are more than the 8 supported")
    upright = ImageOps.exif_transpose(image)  # phones store pictures as the sensor lay
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright.convert("RGBA"))
    return upright.convert("RGB")


def crop(image: Image.Image) -> Image.Image:
    """Scale the shorter side to RESIZE and cut CROP x CROP from the middle."""
    width, height = (RESIZE * side // min(image.size) for side in image.size)
    left, top = round((width - CROP) / 2), round((height - CROP) / 2)
    # In pixels of the original: only what is kept is computed, however long the other side is.
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + CROP) * x, (top + CROP) * y)
    return image.resize((CROP, CROP), Image.Resampling.BILINEAR, box=box)


def normalize(image: Image.Image, out: npt.NDArray[np.float32]) -> None:
    """Write an RGB image as [3, height, width] with mean 0 and deviation 1."""
    array = np.asarray(image, dtype=np.float32)
    np.divide(array / 255 - MEAN, STD, out=out.transpose(1, 2, 0))


def reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "neither a JPEG nor a PNG"  # Pillow's own words tell the address of a Python object
    return str(error) or type(error).__name__

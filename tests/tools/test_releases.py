"""Server versions and container versions."""

import pytest

from triton_backend_sdk.tools.dockerfile import DEFAULT_VERSION, Image
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.releases import IMAGES, image_version


@pytest.mark.parametrize(
    ("server", "image"),
    [
        *(("2.2", "20.08"), ("2.6", "20.12"), ("2.7", "21.02"), ("2.13", "21.08"), ("2.17", "21.12")),
        *(("2.29", "22.12"), ("2.41", "23.12"), ("2.50", "24.09"), ("2.51.0", "24.10"), ("2.53", "24.12")),
        *(("2.54", "25.01"), ("2.59", "25.06"), ("2.60", "25.08"), ("2.64", "25.12"), ("2.65", "26.01")),
        *(("2.69", "26.05"), ("2.71", "26.07"), ("2.73", "26.09")),
    ],
)
def test_a_servers_version_is_an_images(server, image):
    assert image_version(server) == image_version(image) == image


def test_each_image_has_one_server():
    assert len({*IMAGES.values()}) == len(IMAGES) == 72
    assert DEFAULT_VERSION in IMAGES.values()


@pytest.mark.parametrize("given", ["27.01", "25.07"])
def test_an_image_may_be_newer_than_the_table(given):
    assert image_version(given) == given


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("2.80", "such as 2.72 (26.08) or 2.73 (26.09)"),
        ("2.1", "such as 2.2 (20.08) or 2.3 (20.09)"),
        ("2.51.1", "such as 2.50 (24.09) or 2.51 (24.10)"),
        *(
            (given, "2.2 (20.08) to 2.73 (26.09)")
            for given in ("3.1", "25.13", "25.7", "latest", "", "24.10\n")
        ),
    ],
)
def test_what_is_none_names_those_near(given, near):
    with pytest.raises(HandledError) as caught:
        image_version(given)
    assert str(caught.value).endswith(
        f"is no release of Triton: expected a container version, as in 26.05, or a server version, {near}"
    )


def test_an_image_takes_both():
    assert Image("mine", version="2.69").server.endswith(":26.05-py3")

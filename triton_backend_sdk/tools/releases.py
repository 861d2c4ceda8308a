"""Which tritonserver is in which of NVIDIA's container images: 2.51 is in 24.10."""

from __future__ import annotations

import re

from triton_backend_sdk.tools.errors import HandledError

#: Runs of versions that came once a month: the first minor, the year and month of its image, the last minor.
_RUNS = ((2, 2020, 8, 6), (7, 2021, 2, 59), (60, 2025, 8, 73))


def _images() -> dict[int, str]:
    found = {}
    for first, year, month, last in _RUNS:
        for minor in range(first, last + 1):
            years, months = divmod(month - 1 + minor - first, 12)
            found[minor] = f"{year + years - 2000:02d}.{months + 1:02d}"
    return found


#: N of server version 2.N -> container version.
IMAGES = _images()


def image_version(given: str) -> str:
    """Give a container version, as in 24.10, for one or for the server's own, as in 2.51 or 2.51.0.

    :raises HandledError: it is neither; names those that are near.
    """
    if re.fullmatch(r"\d\d\.(0[1-9]|1[0-2])", given):
        return given
    server = re.fullmatch(r"2\.(\d+)(?:\.(\d+))?", given)
    if server and int(server[1]) in IMAGES and server[2] in (None, "0"):
        return IMAGES[int(server[1])]
    wanted = "expected a container version, as in 26.05, or a server version"
    raise HandledError(f"{given!r} is no release of Triton: {wanted}, {_known(server and int(server[1]))}")


def _known(minor: int | None) -> str:
    if minor is None:
        first, last = min(IMAGES), max(IMAGES)
        return f"2.{first} ({IMAGES[first]}) to 2.{last} ({IMAGES[last]})"
    near = sorted(sorted(IMAGES, key=lambda known: abs(known - minor))[:2])
    return "such as " + " or ".join(f"2.{known} ({IMAGES[known]})" for known in near)

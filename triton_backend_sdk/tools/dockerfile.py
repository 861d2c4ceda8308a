"""Dockerfiles for a backend: pure functions from what goes into the image to the text.

Three styles. ``build``, the default, compiles the backend inside the image, so that its Python fits whatever
the image carries. ``stanza`` copies a backend built on this machine, which must have the image's Python.
``minimal`` takes the bare server out of the full image into NVIDIA's ``-min``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from triton_backend_sdk._version import __version__
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.releases import image_version

DEFAULT_VERSION = "26.05"
REGISTRY_IMAGE = "nvcr.io/nvidia/tritonserver"
BACKENDS = "/opt/tritonserver/backends"

#: What the runtime inside a built backend imports; a test holds it equal to pyproject.toml.
RUNTIME_REQUIREMENTS = ("cffi>=1.16", "numpy>=1.26", "pluggy>=1.5")

#: First container release on each Ubuntu, newest first, and the Python that comes with it.
_PYTHONS = (("24.11", "3.12"), ("23.05", "3.10"), ("00.00", "3.8"))
_OLDEST = "23.05"


@dataclass(frozen=True)
class Image:
    """What goes into an image; see the ``render_*`` functions for the text.

    :raises HandledError: a name, version, image or requirement that cannot be in a Dockerfile.
    """

    name: str
    #: The project's own requirements, as in pyproject.toml.
    requirements: Sequence[str] = ()
    #: Container release, as in 26.05; given as the server's version, as in 2.69, it becomes that.
    version: str = DEFAULT_VERSION
    #: The image that carries the server, where it is not NVIDIA's of that release.
    full: str | None = None
    #: The small image that ``minimal`` starts from, where it is not NVIDIA's of that release.
    base: str | None = None
    #: The backend is the ready-made one, which needs no project; called python it replaces the stock one.
    compat: bool = False

    def __post_init__(self) -> None:
        if not (self.name.isidentifier() and self.name.isascii()):
            raise HandledError(f"{self.name!r} cannot name a backend: a Python package name was expected")
        object.__setattr__(self, "version", image_version(self.version))
        if self.version < _OLDEST and not self.full:
            reason = f"it has Python {self.python}, a backend needs 3.10: take {_OLDEST} or newer"
            raise HandledError(f"release {self.version} is too old: {reason}")
        for reference in (self.full, self.base):
            if reference is not None and not re.fullmatch(r"[A-Za-z0-9][\w./:@-]*", reference):
                raise HandledError(f"{reference!r} is no image: NAME[:TAG] or NAME@DIGEST was expected")
        for requirement in self.requirements:
            if not requirement.isprintable():
                raise HandledError(f"requirement {requirement!r} holds a line break or a control character")

    @property
    def python(self) -> str:
        """Python of NVIDIA's image of this release, as in 3.12."""
        return next(python for since, python in _PYTHONS if self.version >= since)

    @property
    def tag(self) -> str:
        """What the image is called in the commands shown: a name of its own, as docker has a ``python``."""
        return f"triton_{self.name}" if self.compat else self.name

    @property
    def built(self) -> str:
        """Where the backend is built inside the image: not over the stock one."""
        return "/src/build/backends" if self.compat else BACKENDS

    @property
    def server(self) -> str:
        """The image that carries the server."""
        return self.full or f"{REGISTRY_IMAGE}:{self.version}-py3"

    @property
    def small(self) -> str:
        """The image without a server that ``minimal`` starts from."""
        return self.base or f"{REGISTRY_IMAGE}:{self.version}-py3-min"


def render_build(image: Image) -> str:
    """Build the backend inside the image; the build context is the project."""
    return _text(
        _head(image, "built inside it, by its own Python, so that the two fit", "build"),
        _commands(f"docker build -t {image.tag} .", _run(image)),
        f"FROM {image.server} AS build\n" + _ALLOW_PIP,
        _build(image, "gcc", "libc6-dev", "libpython3-dev", "python3-pip"),
        f"FROM {image.server}\n" + _ALLOW_PIP,
        _requirements(image) + _put_stock_aside(image),
        _copy_built(image),
    )


def render_stanza(image: Image) -> str:
    """Copy a backend built on this machine; the build context is the folder that ``tbsdk build`` wrote to."""
    python = "the same Python as the image" if image.full else f"Python {image.python}, the image's"
    return _text(
        _head(image, f"built on your machine, which takes {python}", "stanza"),
        _commands(
            shlex.join(["tbsdk", *build_words(image), "-o", "build/backends"]),
            f"{shlex.join(['tbsdk', 'dockerfile', *_compat(image), '--style', 'stanza'])}"
            f" | docker build -t {image.tag} -f - build/backends",
            _run(image),
        ),
        f"FROM {image.server}\n" + _ALLOW_PIP,
        _requirements(image) + _put_stock_aside(image),
        f"COPY ./{image.name} {BACKENDS}/{image.name}",
    )


def render_minimal(image: Image) -> str:
    """Start from the image without a server, and add the bare server; the build context is the project."""
    return _text(
        _head(image, "with the bare server: none of Triton's own backends", "minimal"),
        _commands(f"docker build -t {image.tag} .", _run(image)),
        f"FROM {image.server} AS full",
        f"FROM {image.small} AS python\n" + _ALLOW_PIP,
        _apt("libpython3-dev", "python3", "python3-pip"),
        _requirements(image),
        "FROM python AS build",
        _build(image, "gcc", "libc6-dev"),
        "FROM python",
        "COPY --from=full /opt/tritonserver/bin /opt/tritonserver/bin\n"
        "COPY --from=full /opt/tritonserver/lib /opt/tritonserver/lib",
        _server_libraries(),
        _copy_built(image) + '\nENV PATH="/opt/tritonserver/bin:${PATH}"',
    )


STYLES: dict[str, Callable[[Image], str]] = {
    "build": render_build,
    "stanza": render_stanza,
    "minimal": render_minimal,
}


def write(text: str, file: Path) -> None:
    """Write a Dockerfile, over one that ``tbsdk dockerfile`` wrote but over no other.

    :raises HandledError: the file is somebody's own, or cannot be written.
    """
    try:
        if file.exists() and _MARK not in file.read_text(encoding="utf-8", errors="replace"):
            raise HandledError(
                f"{file} exists and was not written by tbsdk dockerfile", "choose another -o FILE"
            )
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HandledError(f"cannot write {file}: {error.strerror}", "choose another -o FILE") from error


def sdk_checkout() -> Path | None:
    """Give the folder that this SDK was installed from, or None where pip took it from an index."""
    try:
        text = metadata.distribution("triton-backend-sdk").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlsplit(json.loads(text or "{}").get("url", ""))
    folder = Path(unquote(url.path))
    return folder if url.scheme == "file" and folder.is_dir() else None


def build_words(image: Image) -> list[str]:
    """Give the words after ``tbsdk`` that build the image's backend."""
    return ["build", *_compat(image)]


def _compat(image: Image) -> list[str]:
    return ["--compat", "--name", image.name] if image.compat else []


_MARK = "# Written by: tbsdk dockerfile"
_ALLOW_PIP = (
    "# Ubuntu's pip wants a virtual environment; the Python inside Triton is the system's own.\n"
    "ENV PIP_BREAK_SYSTEM_PACKAGES=1"
)


def _text(head: str, commands: str, *blocks: str) -> str:
    return f"{head}\n{commands}\n\n" + "\n\n".join(blocks) + "\n"


def _head(image: Image, how: str, style: str) -> str:
    return f"# tritonserver with the backend {image.name}, {how}.\n{_MARK} --style {style}\n#"


def _commands(*commands: str) -> str:
    return "\n".join(f"#   {command}" for command in commands)


def _run(image: Image) -> str:
    return (
        f'docker run --rm -p 8000-8002:8000-8002 -v "$PWD/model_repository:/models" {image.tag} '
        "tritonserver --model-repository=/models"
    )


def _build(image: Image, *packages: str) -> str:
    sdk = shlex.quote(f"triton-backend-sdk=={__version__}")
    return "\n".join(
        [
            _apt(*packages),
            "WORKDIR /src",
            "COPY . .",
            "# pip takes the SDK from the folder wheels/ of the project where it is there; to fill it:",
            "#   python3 -m pip wheel --no-deps -w wheels PATH_OF_THE_SDK",
            f"RUN python3 -m pip install --no-cache-dir --find-links wheels {sdk} \\",
            f" && {shlex.join(['tbsdk', *build_words(image), '-o', image.built])}",
        ]
    )


def _copy_built(image: Image) -> str:
    return f"COPY --from=build {image.built}/{image.name} {BACKENDS}/{image.name}"


def _put_stock_aside(image: Image) -> str:
    if not (image.compat and image.name == "python"):
        return ""
    return f" \\\n && mv {BACKENDS}/python {BACKENDS}/python.stock"


def _apt(*packages: str) -> str:
    return "\n".join(
        [
            # A pin of an Ubuntu package breaks within weeks: the archive keeps the newest version only.
            "# hadolint ignore=DL3008",
            "RUN apt-get update \\",
            f" && apt-get install -y --no-install-recommends {' '.join(packages)} \\",
            " && rm -rf /var/lib/apt/lists/*",
        ]
    )


def _requirements(image: Image) -> str:
    lines = [f"      {shlex.quote(requirement)}" for requirement in _merged(image.requirements)]
    note = "# What your model.py files import goes here too.\n" if image.compat else ""
    return note + " \\\n".join(["RUN python3 -m pip install --no-cache-dir", *lines])


def _merged(requirements: Sequence[str]) -> list[str]:
    """Join the runtime's requirements and the project's; the project's line wins where both name one."""
    merged = {_distribution(line): line for line in (*RUNTIME_REQUIREMENTS, *requirements)}
    merged.pop("triton-backend-sdk", None)  # its runtime is inside the built backend
    return [merged[name] for name in sorted(merged)]


def _distribution(requirement: str) -> str:
    match = re.match(r"\s*([A-Za-z0-9][\w.-]*)", requirement)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else requirement


def _server_libraries() -> str:
    return "\n".join(
        [
            "# What the server links and the small image lacks, such as DCGM, from the full one.",
            'SHELL ["/bin/bash", "-o", "pipefail", "-c"]',
            "RUN --mount=type=bind,from=full,source=/,target=/full \\",
            "    chroot /full ldd /opt/tritonserver/bin/tritonserver | awk '$3 ~ \"^/\" {print $3}' \\",
            "  | while read -r library; do \\",
            '      if [ ! -e "$library" ]; then \\',
            '        mkdir -p "${library%/*}" \\',
            '     && cp --dereference "/full${library%%.so*}"*.so* "${library%/*}/"; \\',
            "      fi; \\",
            "    done \\",
            " && ldconfig",
        ]
    )

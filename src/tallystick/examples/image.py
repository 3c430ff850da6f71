"""Builds the images of the example apps without Docker, without root and without a base image.

    built = build("digits", user_cache)     # a second; from then on a look into the cache

The layout it returns can be served by any registry; see `devnet.registry`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallystick.examples import packages, runtime
from tallystick.examples.catalogue import EXAMPLES, TRIALS, Example
from tallystick.examples.layout import Blob, File, Layer, Tree, write_image, write_layer

_FORMAT = "5"
"""Raised when this module would build something else from the same sources."""

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class UnknownExample(Exception):
    """There is no example of this name."""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An OCI image layout on disk."""

    layout: Path
    digest: str
    """The manifest's, as `sha256:…`: what the app's checksum on chain has to be."""
    size: int
    """Bytes to download: configuration and compressed layers."""


def build(name: str, cache_dir: Path) -> BuiltImage:
    """The image of the example `name`, from the cache if it was built before.

    Blocks for a second or two the first time, longer where a package has to be downloaded.
    Raises `UnknownExample`, `packages.PackageUnavailable` or `runtime.RuntimeUnusable`.
    """
    example = find(name)
    layout = cache_dir / "examples" / f"{name}-{_key(example)}"
    if not (layout / "index.json").exists():
        _publish(layout, lambda scratch: _assemble(example, scratch, cache_dir))
    return _read(layout)


def find(name: str) -> Example:
    """The example of that name. Raises `UnknownExample`."""
    known = {**EXAMPLES, **TRIALS}
    if name not in known:
        raise UnknownExample(f"there is no example {name!r}; there are {', '.join(EXAMPLES)}.")
    return known[name]


def _sources(example: Example) -> dict[str, bytes]:
    folder = Path(__file__).parent / example.name
    return {name: (folder / name).read_bytes() for name in ("main.py", "requirements.txt")
            if (folder / name).exists()}  # fmt: skip


def _key(example: Example) -> str:
    parts = [
        _FORMAT,
        runtime.identity(),
        repr(example),
        repr(sorted(_sources(example).items())),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _publish(target: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder, and give it its name when it is complete. The first builder wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    try:
        fill(scratch)
        scratch.chmod(0o755)
        if not target.exists():
            os.replace(scratch, target)
    except OSError:
        if not target.exists():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _assemble(example: Example, layout: Path, cache_dir: Path) -> None:
    base = _base_layer(layout, cache_dir)
    write_image(layout, [base, write_layer(layout, _app_tree(example))], _configuration())


def _base_layer(layout: Path, cache_dir: Path) -> Layer:
    """The layer with Python, which all examples share."""
    base = cache_dir / "examples" / f"python-{_FORMAT}-{runtime.identity()}"

    def fill(scratch: Path) -> None:
        layer = write_layer(scratch, runtime.runtime_tree())
        blob = layer.blob
        record = [blob.media_type, blob.digest, blob.size, layer.diff_id]
        (scratch / "layer.json").write_text(json.dumps(record))

    if not (base / "layer.json").exists():
        _publish(base, fill)
    media_type, digest, size, diff_id = json.loads((base / "layer.json").read_text())
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    name = digest.removeprefix("sha256:")
    os.link(base / "blobs" / "sha256" / name, blobs / name)
    return Layer(Blob(media_type, digest, size), diff_id)


def _app_tree(example: Example) -> Tree:
    library = Path(sysconfig.get_path("stdlib"))
    taken: dict[str, bytes] = {}
    if example.wheel_files:
        pins = Path(__file__).parent / example.name / "requirements.txt"
        taken = packages.members(pins, example.wheel_files)
    return {
        "app/main.py": File(_sources(example)["main.py"]),
        **{f"app/{Path(path).name}": File(content) for path, content in taken.items()},
        **{f"app/{module}": File(library / module) for module in example.library_modules},
    }


def _configuration() -> dict[str, Any]:
    return {
        "architecture": _ARCHITECTURES.get(platform.machine().lower(), platform.machine()),
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"],
            "Entrypoint": [runtime.PYTHON, "-E", "-B", "/app/main.py"],
            "WorkingDir": "/app",
        },
    }


def _read(layout: Path) -> BuiltImage:
    """What a finished layout says about itself."""
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    blobs = layout / "blobs" / "sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    size = manifest["config"]["size"] + sum(layer["size"] for layer in manifest["layers"])
    return BuiltImage(layout, digest, size)

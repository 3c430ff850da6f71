"""The example images on a market's shelf."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tallystick.devnet.shelf import Shelf
from tallystick.examples.catalogue import EXAMPLES, IMAGE_VERSION
from tallystick.examples.image import build
from tallystick.examples.packages import PackageUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """An image that the market's registry hands out."""

    repository: str
    tag: str
    digest: str


def stock(shelf: Path, cache: Path, *, say: Callable[[str], None]) -> Mapping[str, Shelved]:
    """Build every example that can be built, and put it on the shelf.

    Takes seconds the first time. `say` is told of an example that cannot be had.
    """
    if not shelf.exists():
        say("Building the images of the example apps (once).")
    found: dict[str, Shelved] = {}
    for name in EXAMPLES:
        try:
            built = build(name, cache)
        except PackageUnavailable as missing:
            say(f"The example {name} is left out: {missing}")
            continue
        repository = f"tallystick/{name}"
        digest = Shelf(shelf).add(repository, built.layout)
        found[name] = Shelved(repository=repository, tag=IMAGE_VERSION, digest=digest)
    return found

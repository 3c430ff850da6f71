"""Which of a daemon's images are ours to remove, and which of them go when room is short."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Layers = tuple[tuple[str, int], ...]
"""An image from below: of each layer, what it is (with all that it lies on), and its bytes."""


def layers_of(image: Mapping[str, Any], history: list[dict[str, Any]]) -> Layers:
    """From Docker's inspection of an image and its history, the newest layer first.

    An image that hides its history counts as a single layer, shared with none.
    """
    root = (image.get("RootFS") or {}).get("Layers") or [str(image.get("Id"))]
    name, found = str(root[0]), []
    for step in reversed(history):
        name = f"{name}\n{step.get('Created')} {step.get('CreatedBy')} {step.get('Size')}"
        if size := int(step.get("Size") or 0):
            found.append((name, size))
    whole = int(image.get("Size") or 0)
    if sum(size for _, size in found) < whole:
        return ((str(image.get("Id")), whole),)
    return tuple(found)


def total(images: Mapping[str, Layers]) -> int:
    """Bytes of all images together; what they share counts once."""
    return sum(dict(layer for layers in images.values() for layer in layers).values())


@dataclass(frozen=True, slots=True)
class Ledger:
    """A file, shared by the workers of a machine: our images, and when they were of use."""

    path: Path

    def read(self) -> dict[str, float]:
        """Seconds since 1970 of the last use, by the image's name at the daemon."""
        try:
            notes = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return {str(k): float(v) for k, v in notes.items()} if isinstance(notes, dict) else {}

    def touch(self, name: str) -> None:
        """The image was of use just now, and is ours if it was not before."""
        self._change(lambda notes: notes.update({name: time.time()}))

    def drop(self, name: str) -> None:
        """The image is no longer there."""
        self._change(lambda notes: notes.pop(name, None))

    def _change(self, change: Callable[[dict[str, float]], object]) -> None:
        with self._alone():
            notes = self.read()
            change(notes)
            fresh = self.path.with_suffix(".new")
            fresh.write_text(json.dumps(notes))
            fresh.replace(self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self.path.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

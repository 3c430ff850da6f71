"""`join-worker-pool.sh`, filled with a pool's values."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources
from shlex import quote

from tallystick import __version__
from tallystick.scheduler.joining.files import Shelf
from tallystick.scheduler.joining.offer import Offer


def script(offer: Offer, shelf: Shelf) -> str:
    """The script of one pool. Each value becomes one word of the shell, whatever is in it."""
    own, requirements = shelf.files[shelf.own], shelf.requirements
    needs = requirements.sha256 if requirements else ""
    values = {
        "POOL_NAME": offer.name,
        "POOL_ADDRESS": str(offer.pool),
        "FOLDER": offer.folder,
        "URL": offer.url,
        "VERSION": __version__,
        "WHEEL": shelf.own,
        "WHEEL_SHA256": own.sha256,
        "REQUIREMENTS_SHA256": needs,
        "ARCHITECTURES": " ".join(shelf.architectures),
        "MARK": hashlib.sha256(f"{own.sha256} {needs}".encode()).hexdigest()[:12],
    }
    # In one pass: a value that looks like a place to fill is not filled again.
    return re.sub(r"@([A-Z0-9_]+)@", lambda found: quote(values[found[1]]), _template())


@cache
def _template() -> str:
    folder = resources.files("tallystick.scheduler.joining")
    return (folder / "join-worker-pool.sh.in").read_text()

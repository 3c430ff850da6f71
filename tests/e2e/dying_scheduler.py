"""A scheduler that is killed at chosen facts of its journal, as `dying_worker` is."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import anyio
from dying_worker import mortal_append

from tallystick.engine.journal import Journal
from tallystick.scheduler import app

if __name__ == "__main__":
    Journal.append = mortal_append  # type: ignore[method-assign, assignment]
    logging.basicConfig(level=logging.INFO)
    anyio.run(app.serve, Path(sys.argv[-1]))

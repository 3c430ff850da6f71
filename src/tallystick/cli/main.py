"""Where `tally` begins: services start at once, commands are loaded when they are named."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module

from tallystick.cli import failure, services


def main() -> None:
    """Run the program on the words of its command line, and exit."""
    gc.disable()  # until all is loaded: looking for garbage takes an eighth of a start
    raise SystemExit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Do what `words` say; returns the exit code."""
    try:
        if services.names_service(words):
            return services.start(words)
        return _command(words)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the edge: it becomes a sentence)
        return failure.report(error)


def _command(words: Sequence[str]) -> int:
    program = import_module("tallystick.cli.program")
    code: int = program.invoke(words)
    return code

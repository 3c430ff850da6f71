"""What went wrong, in one sentence for whoever typed the command; bugs go to a file."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

BUG, MISTAKE, USAGE, INTERRUPTED = 70, 1, 2, 130
"""Exit codes. 70 is EX_SOFTWARE of sysexits.h."""


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class Mistake(Exception):
    """The command cannot be done as it was given; the sentence says what to do instead."""


def report(error: BaseException) -> int:
    """Tell what `error` means on stderr, and return the exit code that goes with it."""
    causes = list(_causes(error))
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return INTERRUPTED
    sentences = [in_words(cause) for cause in causes]
    if known := [sentence for sentence in sentences if sentence]:
        for sentence in dict.fromkeys(known):
            print(f"tally: {sentence}", file=sys.stderr)
        if len(known) == len(sentences):
            return next((code for cause in causes if (code := _code(cause))), MISTAKE)
    try:
        kept = f"the trace is in {_keep(error)}."
    except OSError as trouble:  # on a full disk
        kept = f"its trace cannot be kept ({trouble.strerror}):\n"
        kept += "".join(traceback.format_exception(error)).rstrip()
    print(f"tally: this is a bug in Tallystick; {kept}", file=sys.stderr)
    return BUG


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What `error` consists of: task groups wrap their children's errors."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _causes(part)
    else:
        yield error


def _code(error: BaseException) -> int:
    """The exit code that a noun of ours carries; 0 when it has none of its own."""
    return int(getattr(error, "exit_code", 0))


def in_words(error: BaseException) -> str | None:
    """The sentence of an error that is no bug: one of our nouns, or the system's refusal."""
    if type(error).__module__.startswith("tallystick."):
        return str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        where = error.filename
        if error.errno in _NO_ROOM:  # a copy fails where it is written
            where = error.filename2 or where
        place = f"{where}: " if where else ""
        return f"{place}{error.strerror}."
    return None


def _keep(error: BaseException) -> Path:
    """Write the trace to a file that can be attached to a report."""
    name = f"bug-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    path = _state_folder() / name
    path.touch(mode=0o600)
    path.write_text("".join(traceback.format_exception(error)))
    return path


def _state_folder() -> Path:
    """Where programs keep their logs; a folder of our own where that cannot be written."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = state / "tallystick"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="tallystick-"))
    return folder

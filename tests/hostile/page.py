"""Writes docs/reference/attacks.md from the tables: `python tests/hostile/page.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from attacks import DEEDS, GLANCES, Deed
from results import RESULTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "attacks.md"
EXECUTORS = ("docker", "runc", "crun", "bubblewrap")
GLANCED = (*EXECUTORS, "runsc")
"""What gVisor lets a job do to the end has tests of its own."""
_ENDS = {
    "exited": "it ends by itself",
    "timed out": "it is killed at its time limit",
    "out of memory": "it is killed for memory",
    "disk full": "it is killed, or its output refused, as too large",
    "killed": "it is killed",
}


def page() -> str:
    """The whole page."""
    return "\n".join(lines()) + "\n"


def lines() -> Iterator[str]:
    """Line by line."""
    tries = len(GLANCES) + len(DEEDS)
    yield "<!-- Written by tests/hostile/page.py; do not edit. -->\n"
    yield "# Attacks that are tried on every executor\n"
    yield f"{tries} apps that mean harm, each on {', '.join(EXECUTORS)}, and {len(RESULTS)}"
    yield "results that mean harm. The tables are those of the tests in `tests/hostile/`, which"
    yield "fail when an app gets what this page does not say."
    yield "After every attack nothing of the job is left: no process, mount, control group,"
    yield "loop device, container or volume; the file of the host that was aimed at is what it"
    yield "was; and an honest job runs.\n"
    yield "What these names and limits mean, and what is *not* protected, is in"
    yield "[The sandbox](../explanation/sandbox.md).\n"
    yield "## What an app tries to get\n"
    yield "Tried as root of the image and as an ordinary user of it, without any network. runsc"
    yield "is gVisor, which is used when it is named.\n"
    yield "| | The app | " + " | ".join(GLANCED) + " |"
    yield "|---|---|" + "---|" * len(GLANCED)
    notes: list[str] = []
    for glance in GLANCES:
        cells = [_cell(glance.lets.get(name), notes) for name in GLANCED]
        yield f"| {glance.name} | {_text(glance.what)} | " + " | ".join(cells) + " |"
    yield ""
    yield from (f"{number}. {note}" for number, note in enumerate(notes, 1))
    yield "\n## What an app does\n"
    yield f"Alike on {', '.join(EXECUTORS)}.\n"
    yield "| | The app | What becomes of it | Its output |"
    yield "|---|---|---|---|"
    for deed in DEEDS:
        yield f"| {deed.name} | {_text(deed.what)} | {_ends(deed)} | {_output(deed)} |"
    yield "\n## What a result tries\n"
    yield "A zip that a stranger made, as the result store and the requester read it.\n"
    yield "| | The zip | Refused |"
    yield "|---|---|---|"
    for name, result in RESULTS.items():
        yield f"| {name} | {_text(result.what)} | {result.answer} |"


def _cell(note: str | None, notes: list[str]) -> str:
    if note is None:
        return "held"
    if note not in notes:
        notes.append(note)
    return f"let ({notes.index(note) + 1})"


def _text(words: str) -> str:
    return re.sub(r"[|]", r"\\|", words)


def _ends(deed: Deed) -> str:
    return ", or ".join(_ENDS[end] for end in deed.ends)


def _output(deed: Deed) -> str:
    if deed.refused:
        return f"no result: `{deed.refused}`"
    return "a safe result" if "computed.json" in deed.script else "none"


if __name__ == "__main__":
    PAGE.write_text(page())

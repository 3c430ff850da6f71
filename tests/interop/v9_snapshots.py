"""Recorded exchanges as text that people read: what differs from run to run has a name.

With TALLYSTICK_SNAPSHOTS=write in the environment they are written instead of compared.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from v9_scheduler import V9Scheduler
from v9_worker import Exchange, V9Worker

SNAPSHOTS = Path(__file__).parent / "snapshots"
LIFE = [
    *("STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED"),
    *("DATA_DOWNLOADING", "DATA_DOWNLOADED", "COMPUTING", "COMPUTED"),
    *("CONTRIBUTING", "CONTRIBUTED", "REVEALING", "REVEALED"),
    *("RESULT_UPLOADING", "RESULT_UPLOADED", "COMPLETING", "COMPLETED"),
]
"""What a worker reports of a task that it computes, reveals and uploads."""
_NAMES = (
    (re.compile(r'"memorySize":\d+'), '"memorySize":<GB>'),
    (re.compile(r'"cpu":"(x86_64|aarch64)"'), '"cpu":"<machine>"'),
    (re.compile(r'"zip":"[^"]*"'), '"zip":"<base64>"'),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<token>"),
    (re.compile(r"0x[0-9a-f]{130}"), "<signature>"),
    (re.compile(r"/ipfs/\w+"), "/ipfs/<cid>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<host>"),
    (re.compile(r'"blockNumber":\s?\d+'), '"blockNumber":<block>'),
    (re.compile(r"blockNumber=\d+"), "blockNumber=<block>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00"), "<date>"),
    (re.compile(r"0x[0-9a-f]{64}"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<challenge>"),
    (re.compile(r"[A-Za-z0-9+/]{43}="), "<challenge>"),
    (re.compile(r"0x[0-9a-f]{40}"), "<address>"),
)


def compared(name: str, worker: V9Worker, lab: Any, task: str, *words: str) -> None:
    """Compare what was said with the snapshot of this name; of what was told over the channel
    only the first of each of these words, since a slow worker is reminded."""
    _compare(name, worker.exchanges, worker.channel.received, lab, task, words)


def heard(name: str, scheduler: V9Scheduler, lab: Any, task: str, *words: str) -> None:
    """The same, from the other end: what a v9 scheduler heard from one worker, and told it,
    whether or not it still listened."""
    told = [json.dumps(each) for each in scheduler.core.told]
    looks = "GET /tasks/"  # a worker looks there as often as it is in doubt
    said = [each for each in scheduler.exchanges if not each.request.startswith(looks)]
    said.sort(key=lambda each: each.request.startswith("GET /replicates/available"))
    _compare(name, said, told, lab, task, words)


def _compare(
    name: str,
    exchanges: list[Any],
    received: list[str],
    lab: Any,
    task: str,
    words: tuple[str, ...],
) -> None:
    names = {str(address): f"<{role}>" for role, address in lab.market.accounts.items()}
    known = {task: "<task>", str(lab.market.workerpool): "<pool>", **names}
    known[str(lab.market.hub)] = "<hub>"
    lines = [_spoken(each) for each in _once(exchanges)]
    lines += ["# told over the channel", *_told(received, words)]
    text = "\n\n".join(lines) + "\n"
    for value, word in known.items():
        text = text.replace(value, word)
    for pattern, word in _NAMES:
        text = pattern.sub(word, text)
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("TALLYSTICK_SNAPSHOTS") == "write":
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} says otherwise"


def _once(exchanges: list[Exchange]) -> list[Exchange]:
    """In the order of a task's life, which is not quite that of a clock; without what is asked
    again and again: of pings the first is enough, and demands that had nothing tell nothing."""
    kept = dict[tuple[str, str], Exchange]()
    for each in exchanges:
        if each.status not in (204, 503):
            path = each.request.partition("?")[0]
            kept.setdefault((path, _status(each)), each)
    ping = kept.pop(("POST /workers/ping", ""))
    return [ping, *sorted(kept.values(), key=_stage)]


def _status(each: Exchange) -> str:
    return str(json.loads(each.body)["status"]) if "/updateStatus" in each.request else ""


def _stage(each: Exchange) -> tuple[int, str]:
    if "/v1/results" in each.request:
        return LIFE.index("RESULT_UPLOADING"), "then"
    status = _status(each)
    return ([*LIFE, "ABORTED"].index(status), "") if status else (-1, "")


def _spoken(each: Exchange) -> str:
    parts = [each.request]
    if each.body:
        parts.append(each.body)
    known = _status(each) in ("CONTRIBUTED", "REVEALED")  # the chain may have said so before
    parts += ["< 200, or 208" if known else f"< {each.status}", each.answer]
    if each.request == "GET /version":
        parts[-1] = "<version>"
    return "\n".join(part for part in parts if part)


def _told(received: list[str], words: tuple[str, ...]) -> list[str]:
    told = [json.loads(body) for body in received]
    first = {
        word: next(each for each in told if each["taskNotificationType"] == word)
        for word in words
    }
    return [json.dumps(each) for each in first.values()]

"""What a worker's folder tells of its tasks and its money, whether the worker runs or not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, get_args

from tallystick.chain.spent import Fee, fees
from tallystick.engine.errors import Refused
from tallystick.engine.journal import Entry
from tallystick.engine.read_only import JournalView, NotThere
from tallystick.lifecycle import views
from tallystick.lifecycle.facts import Assigned, Fact, Finalized
from tallystick.lifecycle.task import TaskStatus
from tallystick.poco.values import Address, Nrlc, Wei
from tallystick.worker.chronicle import (
    Chronicle,
    as_history,
    as_row,
    chronicle,
    stake_is_locked,
)
from tallystick.worker.earnings import LAST_LINES, SETTLED, Earned, Settled, day_of, settled
from tallystick.worker.folder import TaskFolder

_DECISION = "decision "


class NoSuchTask(Refused):
    """This worker has never heard of that task, or of several that begin so."""


class Records:
    """Reads the journal and the book of transactions in `home`; writes nothing."""

    def __init__(self, home: Path) -> None:
        """Raises NotThere when there is no journal."""
        self._home = home
        self._journal = JournalView[Fact](home / "journal.db", get_args(Fact))
        self.me = self._wallet()
        """This worker's wallet; None while it was never given a task."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    def rows(self, limit: int = 0) -> list[dict[str, Any]]:
        """A row for each task, the newest first; at most `limit`, 0 for all."""
        paid = self._settled()
        told = sorted(self._all(), key=lambda each: each.began, reverse=True)
        return [self._row(each, paid) for each in (told[:limit] if limit else told)]

    def history(self, name: str) -> dict[str, Any]:
        """All about the task whose id begins with `name`. Raises NoSuchTask."""
        told = self._one(name)
        stream = str(told.task.id)
        return {
            **as_history(told),
            **self._money(told, self._settled()),
            "gas": sum(fee.wei for fee in self._fees() if str(fee.task) == stream),
            "last_lines": self._journal.noted(LAST_LINES + stream) or "",
            "decision": self._decision(stream),
        }

    def printed(self, name: str) -> dict[str, Any]:
        """What the app of a task printed: all that is kept while its folder lasts, else the
        end. Raises NoSuchTask."""
        task = self._one(name).task.id
        logs = TaskFolder(self._home, task).logs()
        if logs is None:
            lines = self._journal.noted(f"{LAST_LINES}{task}") or ""
            return {"task": str(task), "stdout": lines, "stderr": "", "whole": False}
        kept = {"stdout": logs.stdout, "stderr": logs.stderr}
        return {"task": str(task), **kept, "whole": True}

    def earnings(self) -> tuple[list[Earned], dict[str, Wei]]:
        """What each task brought, oldest first, and by day the gas that belongs to none."""
        paid, gas, told = self._settled(), Counter[str](), list(self._all())
        known, other = {str(each.task.id) for each in told}, Counter[str]()
        for fee in self._fees():
            if fee.task is not None and str(fee.task) in known:
                gas[str(fee.task)] += fee.wei
            else:
                other[day_of(fee.at)] += fee.wei
        earned = [self._earned(each, paid, gas) for each in told if each.mine is not None]
        return sorted(earned, key=lambda each: each.at), dict(other)

    def _wallet(self) -> Address | None:
        return next(
            (e.fact.worker for e in self._journal.read() if isinstance(e.fact, Assigned)), None
        )

    def _all(self) -> Iterator[Chronicle]:
        streams: dict[str, list[Entry[Fact]]] = defaultdict(list)
        for entry in self._journal.read():
            streams[entry.stream].append(entry)
        for entries in streams.values():
            told = chronicle(entries, self.me) if self.me else None
            if told is not None:
                yield told

    def _one(self, name: str) -> Chronicle:
        found = {e.stream for e in self._journal.read() if e.stream.startswith(name.lower())}
        if len(found) != 1 or len(name) < 3:
            what = "knows several tasks that begin with" if len(found) > 1 else "has no task"
            raise NoSuchTask(f"This worker {what} {name[:80]!r}; see `tally worker tasks`.")
        entries = list(self._journal.read(stream=found.pop()))
        told = chronicle(entries, self.me) if self.me else None
        if told is None:
            raise NoSuchTask(f"This worker has no task {name[:80]!r} of its own.")
        return told

    def _row(self, told: Chronicle, paid: Mapping[str, Settled]) -> dict[str, Any]:
        lines = self._journal.noted(LAST_LINES + str(told.task.id))
        return {**as_row(told), **self._money(told, paid), "last_lines": lines or ""}

    def _money(self, told: Chronicle, paid: Mapping[str, Settled]) -> dict[str, Any]:
        entry = paid.get(str(told.task.id))
        return {
            "reward": entry.reward if entry else 0,
            "lost": entry.lost if entry else 0,
            "settled": entry is not None,
        }

    def _earned(
        self, told: Chronicle, paid: Mapping[str, Settled], gas: Mapping[str, int]
    ) -> Earned:
        stream, mine = str(told.task.id), told.mine
        assert mine is not None
        entry = paid.get(stream)
        locked: Nrlc = told.task.deal.worker_stake if stake_is_locked(told) else 0
        return Earned(
            task=stream,
            status=views.modern(mine),
            at=(entry.at if entry else 0) or told.moments[-1].at,
            reward=entry.reward if entry else 0,
            lost=entry.lost if entry else 0,
            locked=locked,
            gas=gas.get(stream, 0),
            paid=bool(entry and entry.reward),
        )

    def _settled(self) -> dict[str, Settled]:
        """What was noted of tasks whose end still stands in the block that was read."""
        blocks = {
            e.stream: e.ref.block_hash
            for e in self._journal.read()
            if isinstance(e.fact, Finalized) and e.ref
        }
        notes = self._journal.notes(SETTLED)
        found = {k.removeprefix(SETTLED): settled(text) for k, text in notes.items()}
        return {k: v for k, v in found.items() if v and blocks.get(k) == v.block_hash}

    def _fees(self) -> list[Fee]:
        try:
            return list(fees(self._home / "transactions.db"))
        except NotThere:
            return []

    def _decision(self, stream: str) -> dict[str, Any] | None:
        text = self._journal.noted(_DECISION + stream)
        if text is None:
            return None
        at, kind, code, sentence = json.loads(text)
        return {"at": at, "kind": kind, "code": code, "sentence": sentence}


def owed_to_be_settled(told: Chronicle) -> bool:
    """Whether the end of a task may have moved money of ours."""
    return bool(told.mine and told.mine.vote) and told.task.status is TaskStatus.COMPLETED

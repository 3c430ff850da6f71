"""From a bought task to its end: followed, paid for, downloaded, told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tallystick.chain.wallet import Wallet
from tallystick.cli.progress import Progress, called, short
from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, TaskId
from tallystick.requester.amounts import show_amount
from tallystick.requester.buy import Purchase
from tallystick.requester.download import download
from tallystick.requester.follow import follow
from tallystick.requester.money import Settlement, settlement
from tallystick.requester.news import End, Happened, News, Told
from tallystick.requester.refusals import ToldToContract
from tallystick.requester.session import Session
from tallystick.requester.transact import looked_after


class Speaker(Protocol):
    """Whoever can say a line to people."""

    def say(self, text: str) -> None:
        """Tell people a sentence."""
        ...


REORG = 64
"""Blocks that a chain may have gone back since the match, for where its end is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """All about a task that has ended."""

    task: TaskId
    deal: Deal
    end: End
    money: Settlement
    matched_in: int
    """The block of the deal."""
    seconds: float
    """From the match to the end, by our own watch."""
    computing: float
    """Seconds of the longest computation among the replicates, as the scheduler tells."""
    result: Path | None = None

    @property
    def paid(self) -> bool:
        """Whether the task was completed, and so paid."""
        return self.end is End.COMPLETED

    @property
    def blocks(self) -> int | None:
        """From the block of the match to the one of the end; None, too, when the chain went
        back in between and has the match in an earlier block now."""
        if self.money.block is None or self.money.block < self.matched_in:
            return None
        return self.money.block - self.matched_in

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "task": str(self.task),
            "deal": str(self.deal.id),
            "status": str(self.end),
            "seconds": round(self.seconds, 3),
            "computing_seconds": round(self.computing, 3),
            "blocks": self.blocks,
            "paid_nrlc": self.deal.task_price if self.paid else 0,
            "gains_nrlc": {str(who): gain for who, gain in self.money.gains.items()},
            "result": str(self.result) if self.result else None,
        }


async def see_through(
    session: Session,
    purchase: Purchase,
    task: TaskId,
    *,
    screen: Progress,
    reader: Wallet,
    out: Path,
) -> Ending:
    """Show `task` on `screen` until it has ended; its result goes to the folder `out`."""
    started, watch = time.monotonic(), _Stopwatch()
    adviser = _Adviser(purchase.deal, screen)

    def tell(news: News) -> None:
        watch.see(news)
        screen.tell(news)
        adviser.see(news)

    async with looked_after(session, reader):
        end = await follow(session, task, purchase.deal, tell)
    seconds = time.monotonic() - started
    money = await settlement(session, task, since=max(0, purchase.block - REORG))
    result = None
    if end is End.COMPLETED:
        result = await _download(session, task, out, screen, reader)
    return Ending(
        task=task,
        deal=purchase.deal,
        end=end,
        money=money,
        matched_in=purchase.block,
        seconds=seconds,
        computing=watch.longest,
        result=result,
    )


async def _download(
    session: Session, task: TaskId, out: Path, screen: Progress, reader: Wallet
) -> Path | None:
    """A paid task stays paid when its result cannot be had now: then that is told."""
    try:
        found = await session.hub.task(task)
        if found is None:
            return None
        return await download(session, found, out, force=True, reader=lambda: reader)
    except ToldToContract as told:
        screen.say(str(told))
        return None
    except (Refused, Unavailable, OSError) as trouble:
        screen.say(f"The result of {short(task)} was not downloaded: {trouble}")
        screen.say(f"Try again with: tally result download {task}")
        return None


class _Adviser:
    """Says once what a person can do about a task that nobody seems to be able to compute."""

    def __init__(self, deal: Deal, screen: Progress) -> None:
        self._deal, self._screen, self._said = deal, screen, False

    def see(self, news: News) -> None:
        if not isinstance(news, Told) or self._said:
            return
        replicates = news.story.replicates
        if replicates and all("FAILED" in each.status for each in replicates):
            self._said = True
            until = f"{datetime.fromtimestamp(self._deal.final_deadline, UTC):%H:%M:%S} UTC"
            self._screen.say(
                f"Every worker that tried has failed. Read why: tally task logs {news.task}\n"
                f"If nobody succeeds, the money comes back after {until}. Ctrl-C only stops "
                "this watching."
            )


class _Stopwatch:
    """How long replicates computed, by the scheduler's story."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._began: dict[str | None, float] = {}

    def see(self, news: News) -> None:
        if isinstance(news, Told):
            for fact in news.story.facts:
                self._note(fact)

    def _note(self, fact: Happened) -> None:
        if fact.kind == "Began" and "compute" in fact.text.lower():
            self._began[fact.worker] = fact.at
        elif fact.kind == "Computed" and fact.worker in self._began:
            self.longest = max(self.longest, fact.at - self._began.pop(fact.worker))


def tell_end(screen: Speaker, ending: Ending, names: Mapping[str, str]) -> None:
    """In sentences: how it ended, who earned what, where the result is."""
    task = ending.task
    match ending.end:
        case End.COMPLETED:
            blocks = "" if ending.blocks is None else f", {ending.blocks} blocks"
            screen.say(f"Task {task} is COMPLETED and paid ({ending.seconds:.1f} s{blocks}).")
        case End.FAILED:
            screen.say(f"Task {task} FAILED; the requester has its money back.")
        case End.OVERDUE:
            screen.say(f"Task {task} is overdue. Take the money back: tally task claim {task}")
    for account, gain in sorted(ending.money.gains.items(), key=lambda each: each[1]):
        screen.say(f"  {_role(account, ending.deal, names):<24} {_plus(gain)}")
    if ending.result is not None:
        screen.say(f"The result is in {ending.result}")
        for path in sorted(ending.result.iterdir()):
            size = f"{path.stat().st_size:,} bytes" if path.is_file() else "folder"
            screen.say(f"  {path.name}  ({size})")


def _role(account: Address, deal: Deal, names: Mapping[str, str]) -> str:
    known = {deal.requester: "requester", deal.app.owner: "app owner"}
    known |= {deal.workerpool.owner: "scheduler"}
    return names.get(str(account)) or known.get(account) or called(str(account), names)


def _plus(gain: int) -> str:
    return ("+" if gain > 0 else "") + show_amount(gain)

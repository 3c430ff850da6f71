"""One worker: what it is, has, does and did, and what that brought it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from tallystick.lifecycle.views import modern, seed
from tallystick.poco.values import Address
from tallystick.scheduler.dashboard.board import BAD, Outcome, outcome
from tallystick.scheduler.dashboard.crowd import Crowd
from tallystick.scheduler.dashboard.idle import Reasons, wanted
from tallystick.scheduler.dashboard.place import Dashboard, Missing
from tallystick.scheduler.dashboard.viewer import Viewer

if TYPE_CHECKING:
    from tallystick.lifecycle.replicate import Replicate
    from tallystick.lifecycle.task import Task
    from tallystick.scheduler.audits import Audits
    from tallystick.scheduler.pool import Pool

_PAGE: Final = 50
"""Replicates of one page."""
_POINTS: Final = 120
_PROGRAM: Final = "tallystick/"


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the page."""
    page = _Page(dashboard, Crowd(dashboard))
    app.add_route("/dashboard/workers/{worker}", page.answer, include_in_schema=False)


def version_of(program: str) -> str:
    """What a worker's User-Agent says of its version; "" for peers of another make, which do
    not tell."""
    return program.removeprefix(_PROGRAM).split(" ")[0] if program.startswith(_PROGRAM) else ""


def work_of(pool: Pool, worker: Address) -> list[str]:
    """The tasks that are not over and of which a worker has a replicate at work."""
    return [
        str(task.id)
        for task in pool.openings.held_by(worker)
        if outcome(task.replicates[worker], task) is Outcome.RUNNING
    ]


def reasons(place: Dashboard) -> Reasons:
    """Who can say why a worker has no work, as things are now."""
    pool = place.pool
    lost_after, price = place.config.lost_after, place.gas_price
    return Reasons(pool, place.admission, lost_after, wanted(pool), price)


_BELIEFS: Final = {
    "probation": "All its results are audited",
    "believed": "Some of its results are audited, by chance",
    "distrusted": "It gets no tasks",
    "auditor": "It is the operator's own, and what it computes decides",
}
"""What each standing with a pool that audits means."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What audits found about a worker."""

    audited: int
    differed: int
    standing: str
    """In a word; empty where nobody audits now."""
    means: str
    tone: str

    @property
    def agreed(self) -> int:
        """Audits in which others computed the same."""
        return self.audited - self.differed


def trust_in(audits: Audits, worker: Address) -> Trust | None:
    """What audits found about `worker`; None where the pool does not audit and never did."""
    told = audits.told(worker)
    if audits.policy is None and not told["audits"]:
        return None
    belief = told["belief"]
    means = _BELIEFS.get(belief, "The pool does not audit now")
    if belief == "probation" and audits.policy is not None:
        left = audits.policy.probation - told["audits"]
        means += f", {left} more to go" if left > 0 else ""
    tone = {"distrusted": "bad", "probation": "soft"}.get(belief, "good" if belief else "soft")
    return Trust(told["audits"], told["audits_differed"], belief, f"{means}.", tone)


@dataclass(frozen=True, slots=True)
class _Share:
    """One replicate as the page shows it."""

    task: str
    index: int
    outcome: Outcome
    modern: str
    seed: str
    cause: str
    given: float | None
    """When the worker got it, seconds since the epoch."""
    ended: float | None
    """When its task ended."""
    paid: int
    """nRLC."""
    forfeited: int


@dataclass(frozen=True, slots=True)
class _Page:
    place: Dashboard
    crowd: Crowd

    async def answer(self, request: Request) -> Response:
        async def values(viewer: Viewer) -> dict[str, Any]:
            return await self.values(request.path_params["worker"], request.query_params)

        return await self.place.show(request, "worker.html", values)

    async def values(self, named: str, query: QueryParams) -> dict[str, Any]:
        place = self.place
        worker, silence = self._known(named)
        model = place.pool.roster.model(worker)
        assert model is not None
        await place.board.refresh()
        await place.standings.look([worker])
        member = self.crowd.member(worker, model, silence)
        number, cause = query.get("page", ""), query.get("cause", "")
        page = max(1, int(number)) if number.isascii() and number.isdigit() else 1
        shares = self._shares(worker, cause if cause in member.record.causes else "")
        shown = list(islice(shares, (page - 1) * _PAGE, page * _PAGE + 1))
        return {
            "member": member,
            "heard": place.past.clock() - silence,
            "version_told": version_of(place.pool.roster.program(worker)),
            "idle": reasons(place).why(worker, model, silence, member.standing),
            "work": work_of(place.pool, worker),
            "shares": shown[:_PAGE],
            "page": page,
            "more": len(shown) > _PAGE,
            "cause": cause if cause in member.record.causes else "",
            "causes": [(name, n) for name, n in member.record.causes.most_common() if n],
            "outcomes": [(name, member.record.outcomes[name]) for name in Outcome],
            "bad": BAD,
            "earned": self._earned(worker),
            "trust": trust_in(place.pool.audits, worker),
        }

    def _known(self, named: str) -> tuple[Address, float]:
        try:
            worker = Address(named.lower())
        except ValueError:
            worker = Address(bytes(20))
        for known, _, silence in self.place.pool.roster:
            if known == worker:
                return known, silence
        raise Missing("No worker with this address ever registered here: look at Workers.")

    def _shares(self, worker: Address, cause: str) -> Iterator[_Share]:
        """Its replicates, the newest first; those that did not succeed for one cause alone, if
        there is one."""
        for stream in reversed(self.place.board.record(str(worker)).tasks):
            task = self.place.pool.engine.states.get(stream)
            mine = task.replicates.get(worker) if task else None
            if task is None or mine is None:
                continue
            share = self._share(stream, task, mine)
            if not cause or share.cause == cause:
                yield share

    def _share(self, stream: str, task: Task, mine: Replicate) -> _Share:
        place, worker = self.place, str(mine.worker)
        money = place.book.of(stream) if place.book else None
        end, came = place.past.end(stream), outcome(mine, task)
        return _Share(
            task=stream,
            index=task.index,
            outcome=came,
            modern=modern(mine),
            seed=seed(mine),
            cause=mine.cause or ("WORKER_LOST" if came is Outcome.LOST else ""),
            given=place.past.given(stream, worker),
            ended=end.at if end and task.status.over else None,
            paid=((money.paid if money else None) or {}).get(worker, 0),
            forfeited=((money.forfeited if money else None) or {}).get(worker, 0),
        )

    def _earned(self, worker: Address) -> list[tuple[float, float]]:
        """What it has earned in all, in RLC, after each task that paid it."""
        book, sum, points = self.place.book, 0, list[tuple[float, float]]()
        for stream in self.place.board.record(str(worker)).tasks:
            money, end = book.of(stream) if book else None, self.place.past.end(stream)
            got = ((money.paid if money else None) or {}).get(str(worker), 0)
            if got and end is not None:
                if not points:
                    points.append(
                        (self.place.past.given(stream, str(worker)) or end.at - 1, 0.0)
                    )
                sum += got
                points.append((end.at, sum / 10**9))
        step = max(1, -(-len(points) // _POINTS))
        return sorted(points[::-1][::step])

"""The pages of tasks: all of them with filter and search, and one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task
from tallystick.poco.values import DealId, TaskId
from tallystick.scheduler.dashboard.costs import Costs
from tallystick.scheduler.dashboard.outside import Explorer
from tallystick.scheduler.dashboard.place import Dashboard, Missing
from tallystick.scheduler.dashboard.task_told import TaskTeller
from tallystick.scheduler.dashboard.viewer import Viewer

TASKS: Final = "/dashboard/tasks"
_PAGE: Final = 50
_LONGEST: Final = 100


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks are wanted; what is empty does not matter. Ids and addresses may be cut."""

    q: str = ""
    """How the task's id begins."""
    status: str = ""
    deal: str = ""
    app: str = ""
    requester: str = ""
    worker: str = ""
    """How the address of a worker begins, or a part of its name."""

    @classmethod
    def asked(cls, request: Request) -> Filter:
        """The filter in the address of a page."""
        told = {
            each.name: request.query_params.get(each.name, "").strip()[:_LONGEST]
            for each in fields(cls)
        }
        return cls(**{**{k: v.lower() for k, v in told.items()}, "status": told["status"]})

    @property
    def query(self) -> str:
        """The same as a part of an address."""
        return urlencode({each.name: v for each in fields(self) if (v := self._of(each.name))})

    @property
    def wanted(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.query)

    def keep(self, tasks: Iterable[Task], names: Mapping[str, str]) -> Iterator[Task]:
        """Those of `tasks` that are wanted; `names` of workers by their addresses."""
        return (task for task in tasks if self._takes(task, names))

    def _of(self, name: str) -> str:
        return str(getattr(self, name))

    def _takes(self, task: Task, names: Mapping[str, str]) -> bool:
        deal = task.deal
        return (
            str(task.id).startswith(self.q)
            and (not self.status or task_status(task) == self.status)
            and str(deal.id).startswith(self.deal)
            and str(deal.app.pointer).startswith(self.app)
            and str(deal.requester).startswith(self.requester)
            and (not self.worker or self._has_worker(task, names))
        )

    def _has_worker(self, task: Task, names: Mapping[str, str]) -> bool:
        return any(
            str(worker).startswith(self.worker)
            or self.worker in names.get(str(worker), "").lower()
            for worker in task.replicates
        )


@dataclass(slots=True)
class _Pages:
    """Both pages."""

    dashboard: Dashboard
    teller: TaskTeller

    async def every(self, request: Request) -> Response:
        """All tasks, the newest first."""
        wanted, after = Filter.asked(request), request.query_params.get("after", "")

        async def values(viewer: Viewer) -> dict[str, Any]:
            return self._listed(wanted, after)

        return await self.dashboard.show(request, "tasks.html", values)

    def _listed(self, wanted: Filter, after: str) -> dict[str, Any]:
        candidates = self._candidates(wanted)
        names = self._names() if wanted.worker else {}
        statuses = Counter(task_status(task) for task in candidates)
        rest = iter(candidates)
        if after and not any(str(task.id) == after for task in rest):
            raise Missing("That page of tasks is not there any more: begin with the newest.")
        found = list(islice(wanted.keep(rest, names), _PAGE + 1))
        more = str(found[_PAGE - 1].id) if len(found) > _PAGE else ""
        return {
            "tasks": found[:_PAGE],
            "status_of": task_status,
            "statuses": sorted(statuses.items()),
            "wanted": wanted,
            "after": after,
            "more": more,
        }

    def _names(self) -> Mapping[str, str]:
        return {str(worker): model.name for worker, model, _ in self.dashboard.pool.roster}

    def _candidates(self, wanted: Filter) -> list[Task]:
        """The newest first; of one deal, if its whole id is given."""
        window = self.dashboard.window
        try:
            found = list(window.tasks_of(DealId(wanted.deal)))
        except ValueError:
            found = list(self.dashboard.pool.tasks())
        return window.newest_first(found)

    async def one(self, request: Request) -> Response:
        """One task, with everything that happened to it."""

        async def values(viewer: Viewer) -> dict[str, Any]:
            return await self.teller.tell(_task_id(request), viewer)

        return await self.dashboard.show(request, "task.html", values)


def _task_id(request: Request) -> TaskId:
    try:
        return TaskId(request.path_params["task"].lower())
    except ValueError as problem:
        raise Missing("A task is named by 0x and 64 hex digits.") from problem


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add both pages."""
    explorer = Explorer(dashboard.config.explorer_url)
    pages = _Pages(dashboard, TaskTeller(dashboard, Costs(dashboard.pool.hub), explorer))
    app.add_route(TASKS, pages.every, include_in_schema=False)
    app.add_route(f"{TASKS}/{{task}}", pages.one, include_in_schema=False)

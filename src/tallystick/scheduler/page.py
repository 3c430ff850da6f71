"""What the pool is doing, on one page for a browser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from tallystick.lifecycle import views
from tallystick.lifecycle.pool import busy_slots
from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task
from tallystick.scheduler.look import POLICY, STYLE

if TYPE_CHECKING:
    from tallystick.scheduler.pool import Pool

_TASKS = 50


@dataclass(frozen=True, slots=True)
class Page:
    """Workers and newest tasks of one pool; looks again by itself."""

    pool: Pool
    chain_id: int
    lost_after: float
    """Seconds without a sign of life after which a worker is shown as lost."""

    def attach(self, app: FastAPI) -> None:
        """Add the page to `app`."""
        app.get("/", response_class=HTMLResponse, include_in_schema=False)(self.answer)

    async def answer(self) -> HTMLResponse:
        """The page as it is now."""
        headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
        return HTMLResponse(self.render(), headers=headers)

    def render(self) -> str:
        """Everything that others said is escaped."""
        known, still_open = list(self.pool.tasks()), len(list(self.pool.open_tasks()))
        return "\n".join(
            [
                '<!doctype html><html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width"><title>Workerpool</title>',
                f'<meta http-equiv="refresh" content="3"><style>{STYLE}</style></head><body>',
                "<h1>Workerpool</h1>",
                f"<p>Chain {self.chain_id}, hub <code>{self.pool.hub.address}</code>.",
                f"{len(known)} tasks, {still_open} of them open.</p>",
                "<h2>Workers</h2>",
                _table(("Name", "Wallet", "Slots", "Last heard"), self._workers()),
                "<h2>Newest tasks</h2>",
                _table(
                    ("Task", "Status", "Trust", "Replicates"),
                    map(_task, known[: -_TASKS - 1 : -1]),
                ),
                "</body></html>",
            ]
        )

    def _workers(self) -> Iterable[Sequence[str]]:
        open_tasks = list(self.pool.open_tasks())
        for worker, model, silence in self.pool.roster:
            alive = f"{silence:.0f} s ago" if silence < self.lost_after else "lost"
            busy = f"{busy_slots(worker, open_tasks)} of {model.slots} busy"
            yield model.name, str(worker), busy, alive


def _task(task: Task) -> Sequence[str]:
    replicates = ", ".join(views.modern(r) for r in task.replicates.values())
    return str(task.id), task_status(task), str(task.deal.trust), replicates or "none yet"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

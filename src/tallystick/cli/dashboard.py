"""The screen of `tally worker top`. Only this module loads Textual."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from anyio import to_thread
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Footer, Static

from tallystick.cli import worker_words as words
from tallystick.cli.terminal import clean
from tallystick.worker.remote import NoAnswer, NotRunning

Ask = Callable[[str], dict[str, Any]]
"""Asks the worker; raises NotRunning, NoAnswer."""

STEPS = (
    "start",
    "fetch app",
    "fetch data",
    "compute",
    "check",
    "contribute",
    "reveal",
    "upload",
    "complete",
)
_BAR = 10
_EVERY = 1.0
_MONEY_EVERY = 10
"""Looks at the journal's sums are dearer than at what the worker has in memory."""
_DECISIONS = 5


class Dashboard(App[None]):
    """One worker, asked once a second over its control socket."""

    CSS = """
    #head { height: 3; padding: 0 1; }
    #money { height: 2; padding: 0 1; }
    #tasks { height: 1fr; min-height: 4; }
    #use { height: 2; padding: 0 1; }
    #why { height: 7; padding: 0 1; border-top: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "order('pause')", "Pause"),
        Binding("r", "order('resume')", "Resume"),
        Binding("d", "order('drain')", "Drain"),
        Binding("q", "quit", "Quit"),
    ]
    ENABLE_COMMAND_PALETTE = False
    TITLE = "tally worker top"

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask
        self._looks = 0
        self._before: Mapping[str, Any] = {}
        self._sums: Mapping[str, Any] = {}

    def compose(self) -> ComposeResult:
        """Head, money, tasks, use, decisions, keys."""
        with Vertical():
            yield Static(id="head")
            yield Static(id="money")
            yield DataTable[str](id="tasks", cursor_type="none")
            yield Static(id="use")
            yield Static(id="why")
        yield Footer()

    async def on_mount(self) -> None:
        """Begin to look."""
        table = self.query_one("#tasks", DataTable)
        table.add_columns("task", "progress", "step", "for", "time left", "stake")
        await self.look()
        self.set_interval(_EVERY, self.look)

    async def look(self) -> None:
        """Ask everything once, and show it."""
        try:
            status = await self._asked("status")
            use = await self._asked("usage")
            if self._looks % _MONEY_EVERY == 0:
                self._sums = (await self._asked("earnings")).get("total", {})
        except (NotRunning, NoAnswer) as absence:
            self._put("head", [f"{absence}"])
            return
        self._looks += 1
        self._show(status, use)
        self._before = {**use, "now": status["now"]}

    async def action_order(self, word: str) -> None:
        """Tell the worker what to do, and look at once."""
        try:
            await self._asked(word)
        except (NotRunning, NoAnswer) as refusal:
            self.notify(str(refusal), severity="error")
        await self.look()

    async def _asked(self, do: str) -> dict[str, Any]:
        return await to_thread.run_sync(partial(self._ask, do))

    def _show(self, status: Mapping[str, Any], use: Mapping[str, Any]) -> None:
        self._put("head", head(status))
        self._put("use", resources(use, self._before, status["now"]))
        if status["state"] == "starting":
            return
        self._put("money", money(status["money"], self._sums))
        self._put("why", decisions(status))
        table = self.query_one("#tasks", DataTable)
        table.clear()
        for row in task_rows(status):
            table.add_row(*row)

    def _put(self, place: str, lines: Iterable[str]) -> None:
        """Strangers' words are shown as they are: no markup, no control characters."""
        text = Text(clean("\n".join(lines)), no_wrap=place != "why", overflow="ellipsis")
        self.query_one(f"#{place}", Static).update(text)


def head(status: Mapping[str, Any]) -> Iterator[str]:
    """Who it is and how it is."""
    up = words.span(status["now"] - status["began"])
    yield f"{status['name']} is {status['state']}, up {up}"
    yield f"pool {status.get('pool') or 'unknown'}"
    if status["state"] == "starting":
        yield "waits for the scheduler, the chain and the container runtime"
        return
    slots, heard = status["slots"], status["scheduler"]["heard_at"]
    ping = words.age(None if heard is None else status["now"] - heard)
    block = status["chain"]["block"]
    yield f"slots {slots['busy']}/{slots['total']}, last ping {ping}, block {block}"


def money(known: Mapping[str, Any], sums: Mapping[str, Any]) -> Iterator[str]:
    """What there is, and what was earned."""
    eth = "free gas" if known["free_gas"] else words.ether(known["eth"])
    stake, locked = words.amount(known["stake"]), words.amount(known["locked"])
    yield f"{eth}, deposit {stake}, locked {locked}, known {words.age(known['age'])}"
    if sums:
        reward, lost = words.amount(sums["reward"]), words.amount(sums["lost"])
        yield f"earned {reward} with {sums['paid']} of {sums['tasks']} tasks, lost {lost}"


def resources(use: Mapping[str, Any], before: Mapping[str, Any], now: float) -> Iterator[str]:
    """What the worker and its apps take, and what is left of the machine."""
    worker = _percent("worker_cpu", use, before, now)
    jobs = _percent("jobs_cpu", use, before, now)
    yield (
        f"worker {words.size(use['worker_memory'])} {worker}, apps"
        f" {words.size(use['jobs_memory'])} {jobs}, tasks' files {words.size(use['jobs_disk'])}"
    )
    free, memory = words.size(use["machine_free_memory"]), words.size(use["machine_memory"])
    yield (
        f"machine: load {use['machine_load']} on {use['machine_cpus']} CPUs, free: {free} of"
        f" {memory}, disk {words.size(use['free_disk'])}"
    )


def decisions(status: Mapping[str, Any]) -> Iterator[str]:
    """What it waits for, and what it decided last."""
    yield f"waits for: {words.waits_for(status)}"
    for each in status["decisions"][: -_DECISIONS - 1 : -1]:
        task = f" {words.short(each['task'])}" if each["task"] else ""
        yield f"{words.clock(each['at'])[11:19]} {each['kind']}{task}: {each['sentence']}"


def task_rows(status: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each task that is worked on."""
    for each, row in zip(status["running"], words.running_rows(status), strict=True):
        task, step, since, left = row
        yield task, progress(each["step"]), step, since, left, words.amount(each["stake"])


def progress(step: str) -> str:
    """How far a step is, as a bar."""
    done = STEPS.index(step) + 1 if step in STEPS else 0
    filled = round(_BAR * done / len(STEPS))
    return "█" * filled + "░" * (_BAR - filled)


def _percent(name: str, use: Mapping[str, Any], before: Mapping[str, Any], now: float) -> str:
    """Of one processor, since the last look."""
    if not before or now <= before["now"]:
        return "-"
    share = (use[name] - before[name]) / (now - before["now"])
    return f"{max(0.0, share):.0%}"

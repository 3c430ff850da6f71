"""`tally worker status|why|tasks|logs`: looking at one worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from tallystick.cli import worker_words as words
from tallystick.cli.terminal import Voice
from tallystick.cli.worker_place import NOT_RUNNING, Place, about_a_worker, absent
from tallystick.worker import desk_records, remote
from tallystick.worker.records import Records

Task = Annotated[str, typer.Argument(help="A task's id, or how it begins.")]


def attach(group: typer.Typer) -> None:
    """Add `tally worker status`, `why`, `tasks` and `logs`."""
    group.command("status")(status)
    group.command("why")(why)
    group.command("tasks")(tasks)
    group.command("logs")(logs)


@about_a_worker
def status(*, where: Place, voice: Voice) -> None:
    """Tell how a worker is doing: state, money, slots, running tasks, what it waits for."""
    told = where.ask_or_none("status")
    if told is None:
        _status_on_disk(where, voice)
        raise typer.Exit(NOT_RUNNING)
    if not voice.json:
        voice.fields(dict(words.status_fields(told)))
        if rows := words.running_rows(told):
            voice.table(("task", "step", "for", "time left"), rows)
    voice.answer(told)


@about_a_worker
def why(
    task: Annotated[
        str, typer.Argument(help="A task's id, or how it begins; none: why no work at all.")
    ] = "",
    *,
    where: Place,
    voice: Voice,
) -> None:
    """Tell why a worker is not earning, the gravest reason first; or what a task came to."""
    told = where.ask_or_none("why", task=task)
    if told is None:
        if not voice.json:
            absent(voice, where)
        with Records(where.home) as records:
            told = desk_records.why(records, task)
    if not voice.json:
        _tell_task(voice, told) if task else _tell_causes(voice, told["causes"])
    voice.answer(told)


@about_a_worker
def tasks(
    task: Annotated[
        str, typer.Argument(help="A task's id, or how it begins; none: all of them.")
    ] = "",
    *,
    limit: Annotated[int, typer.Option("--limit", help="So many, the newest; 0: all.")] = 50,
    where: Place,
    voice: Voice,
) -> None:
    """List a worker's tasks, failed and aborted ones too; or tell the whole history of one."""
    if where.ask_or_none("status") is None and not voice.json:
        absent(voice, where)
    with Records(where.home) as records:
        told = records.history(task) if task else {"tasks": records.rows(max(0, limit))}
    if not voice.json:
        _tell_task(voice, told) if task else _tell_tasks(voice, told["tasks"])
    voice.answer(told)


@about_a_worker
def logs(
    task: Annotated[
        str, typer.Argument(help="A task: what its app printed; none: the worker's own log.")
    ] = "",
    *,
    lines: Annotated[
        int, typer.Option("--lines", "-n", help="So many of the last lines.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new ones.")
    ] = False,
    where: Place,
    voice: Voice,
) -> None:
    """Print what a running worker logged last, or what the app of a task printed."""
    if task:
        _app_logs(where, voice, task)
        return
    count = min(max(0, lines), 1_000)
    if follow:
        for line in remote.follow(where.home, "follow", count=count):
            _tell_line(voice, line)
            voice.answer(line)
        return
    told = where.ask("logs", count=count)
    if not voice.json:
        for line in told["lines"]:
            _tell_line(voice, line)
    voice.answer(told)


def _status_on_disk(where: Place, voice: Voice) -> None:
    with Records(where.home) as records:
        told = {"state": "not running", "home": str(where.home), **desk_records.still(records)}
    if not voice.json:
        absent(voice, where)
        voice.fields({"state": "not running", "wallet": told["wallet"] or "unknown"})
        if told["unfinished"]:
            voice.say("Unfinished, and taken up again at the next start:")
            _tell_tasks(voice, told["unfinished"])
    voice.answer(told)


def _app_logs(where: Place, voice: Voice, task: str) -> None:
    with Records(where.home) as records:
        told = records.printed(task)
    if not voice.json:
        for stream in ("stdout", "stderr"):
            if told[stream]:
                voice.say(f"--- {stream}{'' if told['whole'] else ', the end of it'}")
                voice.say(told[stream].rstrip("\n"))
        if not told["stdout"] and not told["stderr"]:
            voice.say("Nothing that the app of this task printed is kept.")
    voice.answer(told)


def _tell_causes(voice: Voice, causes: Iterable[Mapping[str, Any]]) -> None:
    causes = list(causes)
    if not any(each["weight"] != "note" for each in causes):
        voice.say("Nothing keeps this worker from earning.")
    for number, each in enumerate(causes, 1):
        when = f" ({words.clock(each['at'])})" if each["at"] else ""
        voice.say(f"{number}. [{each['weight']}] {each['sentence']}{when}")
        if each["remedy"]:
            voice.say(f"   {each['remedy']}")


def _tell_tasks(voice: Voice, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    if not rows:
        voice.say("This worker never had a task.")
        return
    heads = ("task", "status", "status (3.0)", "cause", "exit", "began", "earned")
    voice.table(heads, [words.task_row(row) for row in rows])


def _tell_task(voice: Voice, told: Mapping[str, Any]) -> None:
    for sentence in told.get("upshot") or desk_records.upshot(told):
        voice.say(sentence)
    voice.fields(dict(_task_fields(told)))
    for each in told["moments"]:
        status = f"{each['status'] or '-'} / {each['seed_status'] or '-'}"
        cause = f" ({each['cause']})" if each["cause"] else ""
        voice.say(f"  {words.clock(each['at'])}  {each['fact']:<16} {status}{cause}")
    if told["last_lines"]:
        voice.say("The app's last lines:")
        voice.say(told["last_lines"])


def _task_fields(told: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    yield "task", told["task"]
    yield "deal", f"{told['deal']}, index {told['index']}"
    yield "app", told["app"]
    yield "requester", told["requester"]
    yield "status", f"{told['status'] or '-'}; as of 3.0: {told['seed_status'] or '-'}"
    yield "my digest", told["digest"] or "-"
    yield "my vote", told["vote"] or "-"
    yield "consensus", told["consensus"] or "-"
    yield "my weight", told["weight"] or "-"
    yield "reward", words.amount(told["reward"]) if told["settled"] else "-"
    yield "stake", words.amount(told["stake"]) + (", locked" if told["stake_is_locked"] else "")
    yield "gas paid", words.ether(told["gas"])
    yield "votes until", words.clock(told["contribution_deadline"])
    yield "reveal until", words.clock(told["reveal_deadline"])
    yield "final deadline", words.clock(told["final_deadline"])


def _tell_line(voice: Voice, line: Mapping[str, Any]) -> None:
    if not voice.json:
        voice.say(f"{words.clock(line['at'])} {line['level'].upper()} {line['message']}")

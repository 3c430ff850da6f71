"""`tally pool status|workers|tasks|deals`: looking at a running pool."""

from __future__ import annotations

from typing import Annotated

import typer

from tallystick.cli import pool_words as words
from tallystick.cli.pool_place import Config, place
from tallystick.cli.terminal import Json, Voice

Limit = Annotated[int, typer.Option("--limit", min=0, help="So many, the newest; 0: all.")]


def attach(group: typer.Typer) -> None:
    """Add `tally pool status` and the lists of workers, tasks and deals."""
    group.command("status")(status)
    group.command("workers")(workers)
    group.command("tasks")(tasks)
    group.command("deals")(deals)


def status(*, config: Config = None, json: Json = False) -> None:
    """Tell how a pool is doing: workers, tasks, orders, money, and what it warns of."""
    told, voice = place(config).ask("status"), Voice(json=json)
    if not json:
        voice.fields(dict(words.status_fields(told)))
        for sentence in words.warnings(told):
            voice.say(f"! {sentence}")
    voice.answer(told)


def workers(*, config: Config = None, json: Json = False) -> None:
    """List who computes for a pool, and who is blocked."""
    told, voice = place(config).ask("workers"), Voice(json=json)
    if not json and not told["workers"]:
        voice.say("No worker has ever registered here.")
    elif not json:
        voice.table(words.WORKER_HEADS, map(words.worker_row, told["workers"]))
    voice.answer(told)


def tasks(
    *,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Only those that are not over.")
    ] = False,
    limit: Limit = 50,
    config: Config = None,
    json: Json = False,
) -> None:
    """List a pool's tasks, newest first."""
    voice = Voice(json=json)
    told = place(config).ask("tasks", limit=limit, unfinished=unfinished)
    if not json and not told["tasks"]:
        voice.say("There is no such task.")
    elif not json:
        voice.table(words.TASK_HEADS, map(words.task_row, told["tasks"]))
    voice.answer(told)


def deals(*, limit: Limit = 50, config: Config = None, json: Json = False) -> None:
    """Tell what each deal of a pool brought and cost: reward, stake, gas, profit."""
    told, voice = place(config).ask("deals", limit=limit), Voice(json=json)
    if not json and not told["deals"]:
        voice.say("Nobody has bought from this pool yet.")
    elif not json:
        rows = [*map(words.deal_row, told["deals"]), words.total_row(told["total"])]
        voice.table(words.DEAL_HEADS, rows)
        if told["eth_per_rlc"] is None:
            voice.say("Profit is unknown: set eth_per_rlc, what one RLC is worth in ETH.")
    voice.answer(told)

"""`tally task`: one task, looked at and claimed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import typer

from tallystick.chain.wallet import Wallet
from tallystick.cli import local, parsing
from tallystick.cli.progress import called, sentence
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.market import Market
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Nrlc, TaskId
from tallystick.requester import task_api
from tallystick.requester.amounts import show_amount
from tallystick.requester.claim import claim as claim_back
from tallystick.requester.deals import Found, find_task
from tallystick.requester.news import Happened, ReplicateView, Story
from tallystick.requester.session import Session
from tallystick.requester.task_api import ComputeLogs

group = typer.Typer(
    help="Look at a task, read its logs, take the money of a dead one back.",
    no_args_is_help=True,
)


def attach(program: typer.Typer) -> None:
    """Add `tally task`."""
    program.add_typer(group, name="task")


@group.command()
def show(task: parsing.Task, *, data: local.Data = None, json: Json = False) -> None:
    """Tell where a task is: on chain, at the scheduler, at every worker."""
    market = local.running_market(data)

    async def look(_: Market, session: Session) -> tuple[Found, Story | None]:
        found = await find_task(session, task)
        try:
            return found, await task_api.story(session, task)
        except Unavailable:
            return found, None

    found, story = local.with_market(data, look)
    voice = Voice(json=json)
    if not json:
        voice.fields(_fields(found))
        _tell_story(voice, story, local.names(market))
    voice.answer(_as_json(found, story))


@group.command()
def logs(
    task: parsing.Task,
    *,
    data: local.Data = None,
    wallet: local.WalletOption = None,
    password_file: local.PasswordFile = None,
    json: Json = False,
) -> None:
    """Print what the app wrote, worker by worker. For the requester of the deal only."""

    async def read(market: Market, session: Session) -> tuple[ComputeLogs, ...]:
        await find_task(session, task)
        me = local.unlocked(market, wallet, password_file)
        return await task_api.logs(session, task, me)

    found = local.with_market(data, read)
    voice = Voice(json=json)
    if not json:
        _print_logs(voice, found, local.names(local.running_market(data)))
    voice.answer({"task": str(task), "logs": [_log(each) for each in found]})


@group.command()
def claim(
    task: parsing.Task,
    *,
    data: local.Data = None,
    wallet: local.WalletOption = None,
    password_file: local.PasswordFile = None,
    json: Json = False,
) -> None:
    """Take the money back of a task that missed its final deadline."""
    unlock = partial(local.unlocked, wallet=wallet, password_file=password_file)
    back = local.with_market(data, partial(_claim, task, unlock))
    voice = Voice(json=json)
    if not json:
        voice.say(f"The task {task} FAILED; {show_amount(back)} are back at the requester.")
    voice.answer({"task": str(task), "status": "FAILED", "refunded_nrlc": back})


async def _claim(
    task: TaskId, unlock: Callable[[Market], Wallet], market: Market, session: Session
) -> Nrlc:
    found = await find_task(session, task)
    return await claim_back(session, unlock(market), found.deal, found.index)


def _fields(found: Found) -> dict[str, object]:
    deal, chain = found.deal, found.on_chain
    return {
        "task": found.id,
        "status": chain.state.name if chain else "UNSET (not initialized yet)",
        "deal": f"{deal.id}, index {found.index}",
        "trust, category": f"{deal.trust}, {deal.category}",
        "price": show_amount(deal.task_price),
        "contributions until": _instant(deal.contribution_deadline),
        "to be finished by": _instant(deal.final_deadline),
        "result": chain.results.decode(errors="replace") if chain and chain.results else "none",
    }


def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _tell_story(voice: Voice, story: Story | None, names: dict[str, str]) -> None:
    if story is None:
        voice.say("The scheduler knows nothing about it.")
        return
    voice.say(f"at the scheduler: {story.status}")
    for each in story.replicates:
        cause = f" ({each.cause})" if each.cause else ""
        voice.say(f"  {called(each.worker, names):<16} {each.status}{cause}")
    for fact in story.facts:
        who = called(fact.worker, names) if fact.worker else fact.by
        voice.say(f"  {_instant(fact.at)}  {who:<16} {sentence(fact)}")


def _print_logs(voice: Voice, found: tuple[ComputeLogs, ...], names: Mapping[str, str]) -> None:
    for each in found:
        for stream, text in (("stdout", each.stdout), ("stderr", each.stderr)):
            if text:
                voice.say(f"--- {called(each.worker, names)}, {stream}")
                voice.say(text.rstrip("\n"))


def _log(each: ComputeLogs) -> dict[str, str]:
    return {"worker": each.worker, "stdout": each.stdout, "stderr": each.stderr}


def _as_json(found: Found, story: Story | None) -> dict[str, Any]:
    chain = found.on_chain
    return {
        "task": str(found.id),
        "status": chain.state.name if chain else "UNSET",
        "deal": str(found.deal.id),
        "index": found.index,
        "final_deadline": found.deal.final_deadline,
        "results": chain.results.decode(errors="replace") if chain else "",
        "contributors": [str(each) for each in chain.contributors] if chain else [],
        "scheduler_status": story.status if story else None,
        "replicates": [_replicate(each) for each in story.replicates] if story else [],
        "facts": [_fact(each) for each in story.facts] if story else [],
    }


def _replicate(each: ReplicateView) -> dict[str, str | None]:
    return {"worker": each.worker, "status": each.status, "cause": each.cause}


def _fact(each: Happened) -> dict[str, Any]:
    return {
        "at": each.at,
        "kind": each.kind,
        "by": each.by,
        "worker": each.worker,
        "text": each.text,
    }

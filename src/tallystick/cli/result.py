"""`tally result`: results that are there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli import local, parsing
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.market import Market
from tallystick.requester.deals import find_task
from tallystick.requester.download import download, free_folder
from tallystick.requester.refusals import NoResult
from tallystick.requester.session import Session

group = typer.Typer(help="Download results.", no_args_is_help=True)


def attach(program: typer.Typer) -> None:
    """Add `tally result`."""
    program.add_typer(group, name="result")


@group.callback()
def _only_a_group() -> None: ...


@group.command("download")
def download_result(
    task: parsing.Task,
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to.", show_default="a new folder"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files in --out.")] = False,
    data: local.Data = None,
    wallet: local.WalletOption = None,
    password_file: local.PasswordFile = None,
    json: Json = False,
) -> None:
    """Fetch the result of a task, check it against the chain, and unpack it."""

    async def fetch(market: Market, session: Session) -> Path:
        found = await find_task(session, task)
        if found.on_chain is None:
            raise NoResult(f"The task {task} was not even begun: it has no result.")
        place = out or free_folder(Path(f"result-{str(task)[2:10]}"))
        reader = partial(local.unlocked, market, wallet, password_file)
        return await download(session, found.on_chain, place, force=force, reader=reader)

    folder = local.with_market(data, fetch)
    voice = Voice(json=json)
    if not json:
        voice.say(f"The result is in {folder}")
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    voice.answer({"task": str(task), "folder": str(folder), "files": files})

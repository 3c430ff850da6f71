"""`tally run`: buy a computation, watch it, have its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

import anyio
import typer

from tallystick.chain.wallet import Wallet
from tallystick.cli import local, parsing
from tallystick.cli.buying import Errand, app_params, purchase
from tallystick.cli.ending import Ending, see_through, tell_end
from tallystick.cli.progress import Progress, progress
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.market import Market
from tallystick.poco.values import TaskId
from tallystick.requester.buy import Purchase
from tallystick.requester.download import check_target, free_folder
from tallystick.requester.orders import Wish
from tallystick.requester.session import Session

Image = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="An app of the market, its address, or an image with its registry.",
    ),
]
Args = Annotated[
    list[str] | None,
    typer.Argument(metavar="ARGS", help="For the app. After -- everything is for it."),
]
Trust = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="How sure to be: at most 1 wrong result in so many; 1: trust."
    ),
]
Category = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="How long the app may run; 0: 5 minutes, 1: 20, 2: an hour, 3: 3 hours, 4: 10.",
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="DATASET", help="What to compute on: an address or URL."),
]
Inputs = Annotated[
    list[str] | None, typer.Option("--input", metavar="URL", help="A file for /iexec_in.")
]
Count = Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many tasks.")]
MaxPrice = Annotated[
    int | None,
    typer.Option(
        "--max-price", parser=parsing.amount, metavar="AMOUNT", help="Most for a task: '2 RLC'."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FOLDER", help="Where the result goes.", show_default="a new folder"
    ),
]
_NEW = Path("result-of-a-task")
"""Stands for the new folder of a result: where it will be is known, its name is not."""
Force = Annotated[bool, typer.Option("--force", help="Replace files in --out.")]


class Show(Protocol):
    """Follows a task to its end, for somebody who looks."""

    async def __call__(self, purchase: Purchase, task: TaskId, *, out: Path) -> Ending:
        """How `task` ended; its result is below `out` when it has one."""
        ...


def attach(program: typer.Typer) -> None:
    """Add `tally run`."""
    settings = {"ignore_unknown_options": True}
    program.command("run", context_settings=settings)(run)


def run(
    image: Image,
    args: Args = None,
    *,
    trust: Trust = 1,
    category: Category = 0,
    dataset: Dataset = None,
    inputs: Inputs = None,
    count: Count = 1,
    max_price: MaxPrice = None,
    out: Out = None,
    force: Force = False,
    data: local.Data = None,
    wallet: local.WalletOption = None,
    password_file: local.PasswordFile = None,
    json: Json = False,
) -> None:
    """Buy a computation: run an app image on the market.

    Options that tally does not know are passed to the app; after -- all of them are.
    """
    wish = Wish(
        category=category,
        trust=trust,
        count=count,
        max_price=max_price,
        params=app_params(args or (), tuple(map(_input, inputs or ()))),
    )
    check_target(_NEW if out is None else out, force=force)
    voice = Voice(json=json)
    errand = Errand(image=image, wish=wish, dataset=dataset, say=voice.say)
    unlock = partial(local.unlocked, wallet=wallet, password_file=password_file)
    endings = local.with_market(data, partial(_do, errand, unlock, voice=voice, out=out))
    voice.answer(_answer(endings))
    if not all(ending.paid for ending in endings):
        raise typer.Exit(1)


def _input(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise typer.BadParameter(f"An input is an http(s) URL, not {url!r}.")
    return url


async def _do(
    errand: Errand,
    unlock: Callable[[Market], Wallet],
    market: Market,
    session: Session,
    *,
    voice: Voice,
    out: Path | None,
) -> list[Ending]:
    names, wallet = local.names(market), unlock(market)
    purchases = await purchase(errand, wallet, session, apps=local.apps(market))
    with progress(voice, names) as screen:
        show = partial(see_through, session, screen=screen, reader=wallet)
        endings = await _see_all(purchases, show, out, screen)
    for ending in endings:
        tell_end(voice, ending, names)
    return endings


async def _see_all(
    purchases: Sequence[Purchase], show: Show, out: Path | None, screen: Progress
) -> list[Ending]:
    endings: dict[TaskId, Ending] = {}
    bought = [(purchase, task) for purchase in purchases for task in purchase.tasks]

    async def see(purchase: Purchase, task: TaskId, folder: Path) -> None:
        endings[task] = await show(purchase, task, out=folder)

    try:
        async with anyio.create_task_group() as watching:
            for number, (purchase, task) in enumerate(bought):
                folder = _place_for(task, out, number if len(bought) > 1 else None)
                watching.start_soon(see, purchase, task, folder)
    except anyio.get_cancelled_exc_class():
        for _, task in bought:
            if task not in endings:
                screen.say(f"The task goes on without you: tally task show {task}")
        raise
    return [endings[task] for _, task in bought]


def _place_for(task: TaskId, out: Path | None, number: int | None) -> Path:
    if out is None:
        return free_folder(Path(f"result-{str(task)[2:10]}"))
    return out if number is None else out / str(number)


def _answer(endings: Sequence[Ending]) -> dict[str, Any]:
    return {
        "status": "COMPLETED" if all(ending.paid for ending in endings) else "FAILED",
        "paid_nrlc": sum(ending.deal.task_price for ending in endings if ending.paid),
        "tasks": [ending.as_json() for ending in endings],
    }

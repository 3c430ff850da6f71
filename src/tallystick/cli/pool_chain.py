"""`tally pool create|policy`: the workerpool on the chain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from platformdirs import user_data_dir

from tallystick.chain.fees import Fees
from tallystick.chain.records import WorkerpoolInfo
from tallystick.chain.wallet import Wallet
from tallystick.cli import parsing
from tallystick.cli.failure import Mistake
from tallystick.cli.passwords import ask_password
from tallystick.cli.pool_place import Config, Place, Yes, confirm, place
from tallystick.cli.terminal import Json, Voice
from tallystick.cli.worker_words import amount, ether
from tallystick.engine.settings import table
from tallystick.poco.values import Address
from tallystick.requester import keyring
from tallystick.scheduler.admin_chain import Owner, at_hub
from tallystick.scheduler.money import Shares, policy_mistake, shares

CREATE_GAS = 532_000
"""What `createWorkerpool` takes with a short description."""
POLICY_GAS = 60_000
"""What `changePolicy` takes at most."""
_EXAMPLE = 10**9
"""nRLC: the price in a preview when the settings sell nothing."""

Draft = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings to be: rpc_urls, hub, wallet."),
]
Node = Annotated[
    str, typer.Option("--rpc-url", help="A node of the chain; else from the settings.")
]
HubOption = Annotated[
    Address | None,
    typer.Option("--hub", parser=parsing.address, metavar="ADDRESS", help="PoCo's hub there."),
]
WalletOption = Annotated[
    str | None,
    typer.Option("--wallet", help="The owner to be: a keystore file or its address."),
]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="Opens the wallet.")
]


def attach(group: typer.Typer) -> None:
    """Add `tally pool create` and `tally pool policy`."""
    group.command("create")(create)
    group.command("policy")(policy)


def create(
    description: Annotated[str, typer.Argument(help="What the pool is called on the chain.")],
    *,
    config: Draft = None,
    rpc_url: Node = "",
    hub: HubOption = None,
    wallet: WalletOption = None,
    password_file: PasswordFile = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Create a workerpool on the chain.

    It belongs to the wallet, which must be the scheduler's: it signs orders and authorizations,
    and its deposit is the stake of every deal.
    """
    told = table(config) if config else {}
    nodes, where = [rpc_url] if rpc_url else told.get("rpc_urls"), hub or told.get("hub")
    if not nodes or not where:
        raise Mistake("Which chain? Name --rpc-url and --hub, or settings that have them.")
    opened = _wallet(wallet or told.get("wallet"), password_file or told.get("password_file"))
    voice = Voice(json=json)
    act = partial(_create, voice, description, yes=yes)
    book = Path(user_data_dir("tallystick")) / "pools" / f"{opened.address}.sqlite"
    made = anyio.run(partial(_at, tuple(nodes), Address(str(where)), opened, book, act))
    if not json:
        voice.say(f"The workerpool is {made['workerpool']}. Put it into the settings, deposit")
        voice.say("RLC for the stake of deals, and start it: tally pool start --config FILE")
    voice.answer(made)


def policy(
    *,
    worker_stake_ratio: Annotated[
        int,
        typer.Option("--worker-stake-ratio", help="Percent of the price that a vote locks."),
    ],
    scheduler_reward_ratio: Annotated[
        int, typer.Option("--scheduler-reward-ratio", help="Percent that the scheduler keeps.")
    ],
    config: Config = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Change what workers stake and what the scheduler keeps, for deals to come.

    Tells first what that means for each order of the settings.
    """
    if mistake := policy_mistake(worker_stake_ratio, scheduler_reward_ratio):
        raise Mistake(mistake)
    where, voice = place(config), Voice(json=json)
    settings, ratios = where.config, (worker_stake_ratio, scheduler_reward_ratio)
    fees = Fees(
        multiplier=settings.gas_price_multiplier,
        cap=settings.gas_price_cap,
        legacy=settings.legacy_fees,
    )
    book = settings.data_dir / "transactions.db"
    act = partial(_change, voice, where, ratios, yes=yes)
    at = partial(_at, settings.rpc_urls, settings.hub, where.wallet(), book, act, fees=fees)
    told = anyio.run(partial(at, database=settings.database))
    if not json:
        voice.say(
            f"Changed by transaction {told['transaction']}; deals made before stay as they"
        )
        voice.say("were.")
    voice.answer(told)


async def _at(
    nodes: tuple[str, ...],
    hub: Address,
    wallet: Wallet,
    book: Path,
    act: Any,
    *,
    fees: Fees | None = None,
    database: str = "",
) -> dict[str, Any]:
    async with at_hub(
        nodes, hub, wallet, book=book, fees=fees or Fees(), database=database
    ) as owner:
        found: dict[str, Any] = await act(owner)
        return found


async def _create(voice: Voice, description: str, owner: Owner, *, yes: bool) -> dict[str, Any]:
    me = owner.wallet.address
    has = await owner.hub.balance(me)
    voice.say(f"{me} on chain {owner.hub.domain.chain_id} has {ether(has)};")
    voice.say(f"creating a workerpool takes about {CREATE_GAS} units of gas.")
    confirm(f"Create the workerpool {description!r}?", yes=yes)
    made, receipt = await owner.create(description)
    return {
        "workerpool": str(made),
        "owner": str(me),
        "transaction": str(receipt.hash),
        "gas_used": receipt.gas_used,
    }


async def _change(
    voice: Voice, where: Place, ratios: tuple[int, int], owner: Owner, *, yes: bool
) -> dict[str, Any]:
    pool = where.config.workerpool
    before = await owner.owned(pool)
    preview = _preview(where, before, ratios)
    if not voice.json:
        _tell(voice, before, ratios, preview)
    confirm("Change the policy?", yes=yes)
    if await anyio.to_thread.run_sync(lambda: where.runs):
        names = ("worker_stake_ratio", "scheduler_reward_ratio")
        request = dict(zip(names, ratios, strict=True))
        told = await anyio.to_thread.run_sync(lambda: where.ask("policy", **request))
    else:
        receipt = await owner.change_policy(pool, *ratios)
        told = {"transaction": str(receipt.hash), "gas_used": receipt.gas_used}
    after = await owner.owned(pool)
    return {
        **told,
        "workerpool": str(pool),
        "worker_stake_ratio": after.stake_ratio,
        "scheduler_reward_ratio": after.reward_ratio,
        "before": {
            "worker_stake_ratio": before.stake_ratio,
            "scheduler_reward_ratio": before.reward_ratio,
        },
        "preview": preview,
    }


def _preview(
    where: Place, before: WorkerpoolInfo, ratios: tuple[int, int]
) -> list[dict[str, Any]]:
    prices = dict.fromkeys(terms.price for terms in where.config.orders) or {_EXAMPLE: None}
    stake, kept = ratios
    return [
        {
            "price_nrlc": price,
            "before": _divided(
                shares(price, stake_ratio=before.stake_ratio, reward_ratio=before.reward_ratio)
            ),
            "after": _divided(shares(price, stake_ratio=stake, reward_ratio=kept)),
        }
        for price in prices
    ]


def _divided(found: Shares) -> dict[str, int]:
    return {
        "worker_stake_nrlc": found.worker_stake,
        "workers_nrlc": found.workers,
        "scheduler_nrlc": found.scheduler,
    }


def _tell(
    voice: Voice,
    before: WorkerpoolInfo,
    ratios: tuple[int, int],
    preview: list[dict[str, Any]],
) -> None:
    voice.say(f"Workers stake {before.stake_ratio} % of the price now, and {ratios[0]} % then.")
    voice.say(f"The scheduler keeps {before.reward_ratio} % now, and {ratios[1]} % then.")
    heads = ("a task of", "", "stake of a worker", "to the workers", "to the scheduler")
    voice.table(heads, [row for each in preview for row in _rows(each)])
    if ratios[0] == 0:
        voice.say(
            "! Without a stake a wrong vote costs nothing: only trust keeps workers honest."
        )
    if ratios[0] > 100:
        voice.say("! A worker would risk more than the whole task costs: few will come.")
    if ratios[1] == 100:
        voice.say("! Workers would be paid nothing.")
    voice.say(f"It takes about {POLICY_GAS} units of gas, and counts for deals made after it.")


def _rows(each: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            amount(each["price_nrlc"]) if when == "before" else "",
            "now" if when == "before" else "then",
            *map(amount, each[when].values()),
        )
        for when in ("before", "after")
    ]


def _wallet(which: str | None, password_file: str | Path | None) -> Wallet:
    kept = keyring.find(keyring.default_folder(), which)
    file = Path(password_file) if password_file else None
    return Wallet.load(kept.path, ask_password(file, str(kept.path)))

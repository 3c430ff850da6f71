"""What each transaction of a task burns, on a real node with the real contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from anyio import to_thread

from tallystick.bench.gas_lives import LIVES, RIGHT, live
from tallystick.bench.gas_stage import Offer, Stage, stage
from tallystick.bench.report import Options, Report, Row
from tallystick.devnet.actors import RLC
from tallystick.poco.orders import Operation
from tallystick.poco.values import Hash

NAME = "gas"
SUMMARY = "gas of every transaction of PoCo, and of whole tasks by trust, path and batch"

MEASURED = "measured with these contracts on Anvil by other code"
"""What the reference figures are: another client took them before ours existed."""
DEPLOYMENT = 34_600_000
"""Gas of the 45 transactions that put the contracts on a chain."""

Figure = tuple[str, int, float | None]
"""What it is, the gas, and what it should be (None: nobody else measured it)."""

_REVEAL, _FINAL = 2 * 300 + 1, 10 * 300 + 1
"""Seconds after which these phases are over, in the shortest category."""


async def run(options: Options) -> Report:
    """Every transaction once: gas does not depend on the machine."""
    figures = await to_thread.run_sync(measured, options.work)
    rows = [
        Row(
            what=what,
            figure=gas,
            unit="gas",
            reference=reference,
            against=MEASURED if reference else "",
        )
        for what, gas, reference in figures
    ]
    notes = (
        "PoCo 6.1 in token mode. Everybody has on the hub just what a deal locks: each life"
        " begins and ends with empty accounts, which is the dearest case.",
        "Whole tasks: from the match to the end, all transactions of everybody.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def measured(folder: Path) -> list[Figure]:
    """All figures, on a node in `folder`."""
    with stage(folder) as place:
        return [
            ("deployment, all contracts", place.deployed, DEPLOYMENT),
            *(figure for part in PARTS for figure in part(place)),
        ]


def _accounts(place: Stage) -> Iterator[Figure]:
    with place.rehearsed():
        for what, who, spec in (
            ("deposit, the first of all", place.requester, 112_000),
            ("deposit", place.scheduler, 82_100),
        ):
            amount = 10_000 * RLC if who is place.requester else RLC
            yield what, place.send(who, place.calls.deposit(amount)), spec
        everything = place.calls.withdraw(10_000 * RLC)
        yield "withdraw everything", place.send(place.requester, everything), 70_200


def _assets(place: Stage) -> Iterator[Figure]:
    calls, me, some = place.calls, place.requester, Hash(b"\x77" * 32)
    app = calls.create_app(me.address, "app", multiaddr=b"registry/app:1", checksum=some)
    data = calls.create_dataset(me.address, "data", multiaddr=b"/p2p/a", checksum=some)
    with place.rehearsed():
        yield "create an app", place.send(me, app), 565_000
        yield "create a dataset", place.send(me, data), 536_000
        pool = calls.create_workerpool(me.address, "pool")
        yield "create a workerpool", place.send(me, pool), 532_000
        request = replace(place.orders(Offer())[-1], sign=b"")
        order = calls.manage_order(request, Operation.SIGN)
        yield "sign an order on chain", place.send(me, order), 72_900


def _matches(place: Stage) -> Iterator[Figure]:
    for what, offer, spec in (
        ("match orders", Offer(), 810_000),
        ("match orders, no parameters", Offer(params=""), 786_000),
        ("match orders, no dataset", Offer(dataset=False), 674_000),
    ):
        with place.rehearsed():
            place.stake(offer)
            yield what, place.match(offer), spec
    with place.rehearsed():
        place.stake(Offer())
        sponsored = place.calls.sponsor_match_orders(*place.orders(Offer()))
        yield "match orders, sponsored", place.send(place.requester, sponsored), 796_000


def _lives(place: Stage) -> Iterator[Figure]:
    """The transactions of a task's life, and what whole lives cost."""
    one, five = live(place, LIVES["trust 1"]), live(place, LIVES["trust 5"])
    yield "initialize", one.acts["initialize"][0], 222_300
    with place.rehearsed():
        place.stake(Offer(volume=3))
        place.match(Offer(volume=3))
        yield "initialize three at once", place.initialize_all(3), 559_000
    yield "contribute, the first", five.acts["contribute"][0], 306_400
    yield "contribute, a later one", five.acts["contribute"][1], 272_200
    yield "contribute, the one that decides", five.acts["contribute"][2], 368_000
    yield "contribute, alone", one.acts["contribute"][0], 386_000
    yield "reveal, the first", five.acts["reveal"][0], 93_500
    yield "reveal, a later one", five.acts["reveal"][1], 56_400
    yield "finalize, one worker", one.acts["finalize"][0], 297_400
    yield "finalize, three workers", five.acts["finalize"][0], 462_000
    faulty = live(place, LIVES["trust 5, one of five wrong"])
    yield "finalize, five workers, one wrong", faulty.acts["finalize"][0], 547_000
    quick = live(place, LIVES["trust 1, at once"])
    yield "contribute and finalize", quick.acts["contribute and finalize"][0], 513_000
    known = {"trust 1": 1_808_000, "trust 1, at once": 1_545_000}
    for name, life in LIVES.items():
        yield f"a whole task, {name}", round(live(place, life).each), known.get(name)


def _results(place: Stage) -> Iterator[Figure]:
    for size, spec in ((0, 282_000), (32, 325_000), (100, 394_000), (1000, 1_042_000)):
        with place.rehearsed():
            _voted(place)
            place.reveal(place.workers[0], RIGHT)
            yield f"finalize, a result of {size} bytes", place.finalize(b"\x01" * size), spec


def _ends(place: Stage) -> Iterator[Figure]:
    """What is done about tasks that nobody finishes."""
    with place.rehearsed():
        _voted(place)
        place.pass_time(_REVEAL)
        again = place.calls.reopen(place.task())
        yield "reopen", place.send(place.scheduler, again), 67_700
        place.pass_time(_FINAL)
        over = place.calls.claim(place.task())
        yield "claim, one vote", place.send(place.requester, over), 187_000
    with place.rehearsed():
        place.stake(Offer(volume=4))
        place.match(Offer(volume=3))
        place.initialize_all(2)
        place.pass_time(_FINAL)
        two = place.calls.claim_array([place.task(0), place.task(1)])
        yield "claim two at once", place.send(place.requester, two), 183_000
    with place.rehearsed():
        place.stake(Offer(volume=2))
        place.match(Offer())
        place.pass_time(_FINAL)
        never = place.calls.initialize_and_claim_array([place.deal], [0])
        yield "initialize and claim", place.send(place.requester, never), 284_000


def _voted(place: Stage) -> None:
    worker = place.workers[0]
    place.stake(Offer(), (worker,))
    place.match(Offer())
    place.initialize()
    place.contribute(worker, RIGHT)


PARTS: tuple[Callable[[Stage], Iterator[Figure]], ...] = (
    *(_accounts, _assets, _matches),
    *(_lives, _results, _ends),
)

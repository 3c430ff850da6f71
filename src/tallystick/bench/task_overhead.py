"""What our programs add to a task: a real market, tasks at trust 1, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import anyio

from tallystick.bench.report import Options, Report, Row
from tallystick.chain.wallet import Wallet
from tallystick.devnet.market import Market, MarketOptions, running
from tallystick.devnet.overhead import ACTS, acts_ms, job_seconds
from tallystick.devnet.places import password_in
from tallystick.poco.params import DealParams, encode_params
from tallystick.requester import task_api
from tallystick.requester.assets import app_order, dataset_order
from tallystick.requester.buy import Purchase, buy
from tallystick.requester.follow import follow
from tallystick.requester.money import settlement
from tallystick.requester.orders import Wish
from tallystick.requester.session import Session, open_session

NAME = "task-overhead"
SUMMARY = "milliseconds and blocks that a task at trust 1 costs beside its own work"

LIMIT_MS, LIMIT_BLOCKS, LEAST_BLOCKS = 100.0, 5.0, 4.0
"""What we promise, and what the protocol needs: initialize, contribute, reveal, finalize."""

_TASKS = 10
_APP = "digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One task."""

    acts: dict[str, float]
    """Milliseconds that each act waited for us."""
    blocks: int
    """From the match to the end, without the whole blocks that passed while the job ran."""
    job: float
    """Seconds that the app ran, its sandbox included."""


async def run(options: Options) -> Report:
    """Tasks with 1 s blocks, then with automine; the first of each warms the market up."""
    count = options.repeat or _TASKS
    rows: list[Row] = []
    for block_time, name in ((1, "1 s blocks"), (0, "automine")):
        wanted = MarketOptions(
            data=options.work / f"market-{block_time}", workers=1, block_time=block_time
        )
        async with running(wanted, _silent) as market:
            samples = await _measure(market, count)
        rows += _rows(samples, name)
    notes = (
        f"{count} tasks of the app {_APP} in each mode, after one to warm up.",
        "Own overhead: from the arrival of the fact that made an act due to its leaving, summed"
        f" over {', '.join(ACTS)}.",
        "Blocks: from the match to finalize, without whole blocks that the job ran.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _silent(sentence: str) -> None:
    """The market's sentences are not part of the report."""


def _rows(samples: list[Sample], mode: str) -> list[Row]:
    totals = [sum(sample.acts.values()) for sample in samples]
    rows = [
        _row(f"own overhead, {mode}, median", median(totals), "ms", LIMIT_MS),
        _row(f"own overhead, {mode}, worst", max(totals), "ms", LIMIT_MS),
    ]
    for act in ACTS:
        times = [sample.acts[act] for sample in samples if act in sample.acts]
        if times:
            rows.append(Row(what=f"  {act}, {mode}", figure=median(times), unit="ms"))
    blocks = median([sample.blocks for sample in samples])
    rows.append(_row(f"blocks, {mode}, median", blocks, "blocks", LIMIT_BLOCKS))
    rows.append(
        Row(
            what=f"blocks, {mode}, median",
            figure=blocks,
            unit="blocks",
            reference=LEAST_BLOCKS,
            against="the protocol's minimum",
        )
    )
    jobs = median([sample.job for sample in samples])
    rows.append(Row(what=f"the job itself, {mode}, median", figure=jobs, unit="s"))
    return rows


def _row(what: str, figure: float, unit: str, limit: float) -> Row:
    return Row(what=what, figure=figure, unit=unit, reference=limit, against="our promise")


async def _measure(market: Market, count: int) -> list[Sample]:
    async with open_session(market.place) as session:
        wallet = Wallet.load(market.keystores["requester"], password_in(market.password_file))
        await _until_a_worker_waits(session)
        samples = [await _sample(market, session, wallet) for _ in range(count + 1)]
    return samples[1:]


async def _until_a_worker_waits(session: Session) -> None:
    with anyio.fail_after(60):
        while not await task_api.workers(session):  # noqa: ASYNC110 (another process)
            await anyio.sleep(0.1)


async def _sample(market: Market, session: Session, wallet: Wallet) -> Sample:
    bought = await _buy(market, session, wallet)
    (task,) = bought.tasks
    await follow(session, task, bought.deal, lambda news: None)
    seconds = await job_seconds(market.data, task)
    money = await settlement(session, task, since=bought.block)
    assert money.block is not None
    busy = int(seconds // market.block_time) if market.block_time else 0
    return Sample(
        acts=await acts_ms(market.data, task),
        blocks=money.block - bought.block - busy,
        job=seconds,
    )


async def _buy(market: Market, session: Session, wallet: Wallet) -> Purchase:
    apps = {name: app.address for name, app in market.apps.items()}
    app = await app_order(session, wallet, _APP, apps)
    dataset = await dataset_order(session, wallet, None)
    params = encode_params(DealParams(storage_provider="ipfs"))
    async for bought in buy(session, wallet, Wish(params=params), app=app, dataset=dataset):
        return bought
    raise AssertionError("a purchase makes at least one deal, or raises")

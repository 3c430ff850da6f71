"""What our programs add to a task: a real market, tasks at trust 1, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import anyio

from tallystick.bench.report import Options, Report, Row, promised, silent
from tallystick.chain.wallet import Wallet
from tallystick.devnet.market import Market, MarketOptions, running
from tallystick.devnet.overhead import AT_ONCE, CLASSIC, acts_ms, job_seconds
from tallystick.devnet.places import password_in
from tallystick.poco.params import DealParams, encode_params
from tallystick.poco.values import TaskId
from tallystick.requester import task_api
from tallystick.requester.assets import app_order, dataset_order
from tallystick.requester.buy import Purchase, buy
from tallystick.requester.follow import follow
from tallystick.requester.money import settlement
from tallystick.requester.orders import Wish
from tallystick.requester.session import Session, open_session

NAME = "task-overhead"
SUMMARY = "milliseconds and blocks that a task at trust 1 costs beside its own work"

LIMIT_MS, LIMIT_BLOCKS = 100.0, 5.0
"""What we promise."""
CLASSIC_PATH, ONE_CALL = "classic", "one transaction"
"""Contribute, reveal, finalize; and all of it at once, where one vote decides."""
PATHS = {CLASSIC_PATH: CLASSIC, ONE_CALL: AT_ONCE}
"""What is done on each."""
_LEAST_BLOCKS = {CLASSIC_PATH: 4.0, ONE_CALL: 2.0}
"""What the protocol needs: initialize, contribute, reveal, finalize; or initialize, finish."""
MODES = {"1 s blocks": 1, "automine": 0}

_WRITTEN_S = 5.0
"""How long a time may wait for the commit that it rides on."""
_TASKS = 5
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
    seconds: float
    """From the match to the end, as the requester sees them."""
    gas: int
    """Of every transaction from the match to the end."""


async def run(options: Options) -> Report:
    """Tasks with 1 s blocks, then with automine, on both paths; the first of each warms the
    market up."""
    count = options.samples(_TASKS)
    rows: list[Row] = []
    for mode in MODES:
        both = {path: await _on(path, mode, options.work, count) for path in PATHS}
        for path, samples in both.items():
            rows += _rows(samples, path, mode)
        rows += _compared(both, mode)
    notes = (
        f"{count} tasks of the app {_APP} on each path in each mode, after one to warm up.",
        "Own overhead: from the arrival of the fact that made an act due to its leaving, summed"
        " over the acts.",
        "Blocks: from the match to the end, without whole blocks that the job ran.",
        "Time: from the match to the end, without the job. Gas: of every transaction from the"
        " match to the end, both included.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


async def _on(path: str, mode: str, work: Path, count: int) -> list[Sample]:
    classic, block_time = path == CLASSIC_PATH, MODES[mode]
    wanted = MarketOptions(
        data=work / f"market-{block_time}-{path.split(maxsplit=1)[0]}",
        workers=1,
        block_time=block_time,
        classic=classic,
    )
    async with running(wanted, silent) as market:
        return await _measure(market, PATHS[path], count)


def _rows(samples: list[Sample], path: str, mode: str) -> list[Row]:
    totals, name = [sum(sample.acts.values()) for sample in samples], f"{path}, {mode}"
    rows = [
        promised(f"own overhead, {name}, median", median(totals), "ms", LIMIT_MS),
        promised(f"own overhead, {name}, worst", max(totals), "ms", LIMIT_MS),
    ]
    for act in PATHS[path]:
        times = [sample.acts[act] for sample in samples if act in sample.acts]
        if times:
            rows.append(Row(what=f"  {act}, {name}", figure=median(times), unit="ms"))
    blocks = median([sample.blocks for sample in samples])
    rows.append(promised(f"blocks, {name}, median", blocks, "blocks", LIMIT_BLOCKS))
    rows.append(
        Row(
            what=f"blocks, {name}, median",
            figure=blocks,
            unit="blocks",
            reference=_LEAST_BLOCKS[path],
            against="the protocol's minimum",
        )
    )
    jobs = median([sample.job for sample in samples])
    rows.append(Row(what=f"the job itself, {name}, median", figure=jobs, unit="s"))
    return rows


_COMPARED: tuple[tuple[str, str, Callable[[Sample], float]], ...] = (
    ("time beside the job", "s", lambda sample: sample.seconds - sample.job),
    ("gas", "gas", lambda sample: sample.gas),
)


def _compared(both: Mapping[str, list[Sample]], mode: str) -> list[Row]:
    """Time and gas of the one path beside the other."""
    rows: list[Row] = []
    for what, unit, of in _COMPARED:
        classic = median([of(sample) for sample in both[CLASSIC_PATH]])
        at_once = median([of(sample) for sample in both[ONE_CALL]])
        rows += [
            Row(what=f"{what}, {CLASSIC_PATH}, {mode}, median", figure=classic, unit=unit),
            Row(
                what=f"{what}, {ONE_CALL}, {mode}, median",
                figure=at_once,
                unit=unit,
                reference=classic,
                against="the classic path",
            ),
        ]
    return rows


async def _measure(market: Market, acts: Sequence[str], count: int) -> list[Sample]:
    async with open_session(market.place) as session:
        wallet = Wallet.load(market.keystores["requester"], password_in(market.password_file))
        await _until_a_worker_waits(session)
        samples = [await _sample(market, session, wallet, acts) for _ in range(count + 1)]
    return samples[1:]


async def _until_a_worker_waits(session: Session) -> None:
    with anyio.fail_after(60):
        while not await task_api.workers(session):  # noqa: ASYNC110 (another process)
            await anyio.sleep(0.1)


async def _sample(
    market: Market, session: Session, wallet: Wallet, expected: Sequence[str]
) -> Sample:
    bought = await _buy(market, session, wallet)
    (task,), began = bought.tasks, time.monotonic()
    await follow(session, task, bought.deal, lambda news: None)
    ended = time.monotonic()
    seconds = await job_seconds(market.data, task)
    money = await settlement(session, task, since=bought.block)
    assert money.block is not None
    busy = int(seconds // market.block_time) if market.block_time else 0
    return Sample(
        acts=await _acts(market, task, expected),
        blocks=money.block - bought.block - busy,
        job=seconds,
        seconds=ended - began,
        gas=await _gas(session, bought.block, money.block),
    )


async def _acts(market: Market, task: TaskId, expected: Sequence[str]) -> dict[str, float]:
    """The times of the `expected` acts, or of those that are known after a while: a journal
    takes a time in with its next commit, which may come after the end of the task."""
    known: dict[str, float] = {}
    with anyio.move_on_after(_WRITTEN_S):
        while not set(expected) <= known.keys():
            known = await acts_ms(market.data, task)
            await anyio.sleep(0.05)
    return known


async def _gas(session: Session, first: int, last: int) -> int:
    """Of all transactions in these blocks: nobody else uses the market."""
    found = [
        await session.rpc.call("eth_getBlockByNumber", hex(number), False)
        for number in range(first, last + 1)
    ]
    return sum(int(block["gasUsed"], 16) for block in found)


async def _buy(market: Market, session: Session, wallet: Wallet) -> Purchase:
    apps = {name: app.address for name, app in market.apps.items()}
    app = await app_order(session, wallet, _APP, apps)
    dataset = await dataset_order(session, wallet, None)
    params = encode_params(DealParams(storage_provider="ipfs"))
    async for bought in buy(session, wallet, Wish(params=params), app=app, dataset=dataset):
        return bought
    raise AssertionError("a purchase makes at least one deal, or raises")

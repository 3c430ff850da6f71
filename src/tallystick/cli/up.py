"""`tally up`: a whole market in the foreground, with a first task that is bought and paid."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, replace
from typing import Annotated, Any

import anyio
import typer

from tallystick.cli import local
from tallystick.cli.buying import Errand, app_params, purchase
from tallystick.cli.ending import Ending, see_through, tell_end
from tallystick.cli.progress import Progress, progress
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.market import Market, MarketOptions, reset, running
from tallystick.devnet.overhead import own_overhead_ms
from tallystick.devnet.packages import default_cache
from tallystick.engine.errors import Refused, Unavailable
from tallystick.examples.catalogue import EXAMPLES, Example
from tallystick.execution.choose import choose
from tallystick.requester.download import free_folder
from tallystick.requester.orders import Wish
from tallystick.requester.session import Session, open_session

HIGH_TRUST = 5
"""Of the second task: three workers that are new have to agree."""

Workers = Annotated[int, typer.Option(min=1, max=50, metavar="N", help="How many workers.")]
BlockTime = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Seconds between blocks; 0: one for every transaction.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(metavar="PORT", help="The first of five ports.", show_default="free ones"),
]
Once = Annotated[bool, typer.Option("--once", help="Stop when the first task is paid.")]
Reset = Annotated[bool, typer.Option("--reset", help="Forget the market's past first.")]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="docker, runc, crun or bubblewrap.",
        show_default="what works",
    ),
]


def attach(program: typer.Typer) -> None:
    """Add `tally up`."""
    program.command("up")(up)


def up(
    *,
    workers: Workers = 3,
    block_time: BlockTime = 1,
    data: local.Data = None,
    port: Port = None,
    once: Once = False,
    reset_first: Reset = False,
    executor: Executor = None,
    json: Json = False,
) -> None:
    """Start a whole market on this machine and watch a first task being paid.

    Runs until Ctrl-C; the next time it goes on where it was.
    """
    folder = local.data_folder(data)
    voice = Voice(json=json)
    if reset_first:
        reset(folder)
    options = MarketOptions(
        data=folder, workers=workers, block_time=block_time, port=port, executor=executor
    )
    if not anyio.run(_up, options, once, voice):
        raise typer.Exit(1)


async def _up(options: MarketOptions, once: bool, voice: Voice) -> bool:
    """Whether the first task was paid. Without `once`, only an interruption ends it."""
    began = time.monotonic()
    voice.say(f"Starting a market with {options.workers} workers in {options.data} ...")
    options = await _with_executor(options, voice)
    async with (
        running(options, voice.say) as market,
        open_session(market.place) as session,
        _farewell(voice),
    ):
        _welcome(voice, market)
        show = _Show(market, session, voice, executor=options.executor or "", began=began)
        paid = await show.first(forgiving=not once)
        if not once:
            await show.go_on(options.workers)
    return paid


@asynccontextmanager
async def _farewell(voice: Voice) -> AsyncIterator[None]:
    """Somebody who has pressed Ctrl-C is told at once that it was noticed."""
    try:
        yield
    except anyio.get_cancelled_exc_class():
        voice.say("Stopping; everything is kept. The next tally up goes on from here.")
        raise


async def _with_executor(options: MarketOptions, voice: Voice) -> MarketOptions:
    """The options with a container runtime that works here; its limits are told."""
    found = await choose(options.executor, default_cache() / "probe")
    try:
        for sentence in found.limits_not_enforced():
            voice.say(f"{found.name}: {sentence}")
        return replace(options, executor=found.name)
    finally:
        await found.aclose()


def _welcome(voice: Voice, market: Market) -> None:
    voice.say(
        f"The market is up: chain {market.chain_id} at {market.rpc_url}, hub {market.hub}."
    )
    voice.say(f"Dashboard {market.scheduler_url}/, results {market.results_url}.")
    voice.say(f"What happens on the chain: {market.explorer_url}/")


@dataclass(frozen=True, slots=True)
class _Show:
    """What a visitor of the market gets to see."""

    market: Market
    session: Session
    voice: Voice
    _: KW_ONLY
    executor: str
    began: float
    """By the monotonic clock."""

    @property
    def names(self) -> dict[str, str]:
        return local.names(self.market)

    @property
    def example(self) -> Example:
        """The app of the first task: the first one whose image could be built."""
        built = (each for name, each in EXAMPLES.items() if name in self.market.apps)
        return next(built, next(iter(EXAMPLES.values())))

    async def first(self, *, forgiving: bool) -> bool:
        """The first task, with everything; whether it was paid."""
        try:
            with progress(self.voice, self.names) as screen:
                ending = await self._task(1, screen)
            self._tell_end(ending)
        except (Refused, Unavailable) as trouble:
            if not forgiving:
                raise
            self.voice.say(f"The first task was not bought: {trouble}")
            return False
        overhead = await own_overhead_ms(self.market, ending.task)
        self.voice.answer(self._answer(ending, overhead))
        return ending.paid

    async def go_on(self, workers: int) -> None:
        """Another task in the background, and then whatever comes, until interrupted."""
        trust = min(HIGH_TRUST, 2**workers)
        if trust > 2:
            self.voice.say(f"A second task, at trust {trust}: several workers have to agree.")
            try:
                with progress(self.voice, self.names) as screen:
                    ending = await self._task(trust, screen)
                self._tell_end(ending)
            except (Refused, Unavailable) as trouble:
                self.voice.say(f"The second task: {trouble}")
        self.voice.say(
            "The market stays up. Buy more in another terminal: "
            f"tally run {self.example.name}. Ctrl-C stops all."
        )
        await anyio.sleep_forever()

    async def _task(self, trust: int, screen: Progress) -> Ending:
        wallet = local.unlocked(self.market, None, None)
        errand = Errand(
            image=self.example.name,
            wish=Wish(trust=trust, params=app_params(self.example.default_args.split())),
            say=screen.say,
        )
        (bought,) = await purchase(errand, wallet, self.session, apps=local.apps(self.market))
        (task,) = bought.tasks
        out = free_folder(self.market.data / "output" / str(task)[2:12])
        return await see_through(
            self.session, bought, task, screen=screen, reader=wallet, out=out
        )

    def _tell_end(self, ending: Ending) -> None:
        tell_end(self.voice, ending, self.names)
        if ending.result is not None:
            self.voice.say(f"Look at {ending.result / self.example.show}")

    def _answer(self, ending: Ending, overhead: float | None) -> dict[str, Any]:
        """The figures; `blocks` without those that passed while the job ran."""
        computing = int(ending.computing // (self.market.block_time or ending.computing + 1))
        blocks = None if ending.blocks is None else ending.blocks - computing
        return {
            **ending.as_json(),
            "executor": self.executor,
            "blocks": blocks,
            "blocks_in_all": ending.blocks,
            "own_overhead_ms": overhead,
            "seconds_since_start": round(time.monotonic() - self.began, 3),
            "data": str(self.market.data),
        }

"""`tally sim`: simulated pools in which everything breaks, and crowds with cheats in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer

from tallystick.cli.terminal import Json, Voice
from tallystick.sim.cheats import Cheat, Count, Crowd, observe
from tallystick.sim.rules import RULES
from tallystick.sim.voyage import CHUNK, Fate, voyage

group = typer.Typer(
    help="Live through simulated pools: crashes, lies, losses, reorgs, and cheats.",
    no_args_is_help=True,
)
_EVERY = 30.0
"""Seconds between two words of how far it came."""
Seed = Annotated[int, typer.Option("--seed", min=0, help="The first world; or the crowd.")]


def attach(program: typer.Typer) -> None:
    """Add `tally sim`."""
    program.add_typer(group, name="sim")


@group.command("run")
def run(
    *,
    seed: Seed = 0,
    worlds: Annotated[int, typer.Option("--worlds", min=1, help="How many.")] = 100,
    hours: Annotated[
        float,
        typer.Option("--hours", min=0, help="End after so many simulated hours; 0: never."),
    ] = 0,
    processes: Annotated[
        int, typer.Option("--processes", min=0, help="0: one for each processor.")
    ] = 0,
    again: Annotated[
        bool, typer.Option("--replay", help="Only the world of --seed, with its story.")
    ] = False,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="The shipped programs, with simulated edges; slower."),
    ] = False,
    json: Json = False,
) -> None:
    """Live through random pools, every promise watched.

    A world that breaks one is lived again with less and less in it, and its story is told.
    The same seed is the same world.
    """
    voice, kind = Voice(json=json), _worlds(whole=whole)
    if again:
        _replay(seed, voice, kind)
        return
    began, seen = time.monotonic(), Sum()
    chunk = 1 if whole else CHUNK
    fates = voyage(kind.fate, seed, worlds, processes=processes, chunk=chunk)
    stopped = not _lived(fates, seen, voice, kind, of=(worlds, hours * 3600))
    if stopped:
        voice.say(f"Stopped. Go on with --seed {seed + seen.worlds}.")
    _told(voice, seed, seen, time.monotonic() - began)
    if stopped:
        raise typer.Exit(130)


def _lived(
    fates: Iterator[Fate], seen: Sum, voice: Voice, kind: Any, *, of: tuple[int, float]
) -> bool:
    """Whether nobody pressed Ctrl-C before all was `seen`: so many worlds, or seconds."""
    (worlds, seconds), pace = of, _Pace(voice)
    try:
        for fate in fates:
            if fate.broken:
                _broken(fate, voice, kind)
            seen.add(fate)
            if seconds and seen.seconds >= seconds:
                break
            share = max(seen.worlds / worlds, seen.seconds / seconds if seconds else 0)
            pace.tell(f"{seen.worlds:,} worlds", share)
    except KeyboardInterrupt:
        return False
    return True


def _worlds(*, whole: bool) -> Any:
    """The simulator, loaded when it is wanted: `scenarios`."""
    return import_module(f"tallystick.sim.{'whole.' if whole else ''}scenarios")


def _told(voice: Voice, seed: int, seen: Sum, took: float) -> None:
    worlds = "1 world" if seen.worlds == 1 else f"{seen.worlds:,} worlds"
    voice.say(
        f"{worlds}, {seen.seconds / 3600:.1f} simulated hours in {took:.0f} s"
        f" ({seen.seconds / 60 / took:,.0f} hours a minute): {seen.completed} tasks paid,"
        f" {seen.failed} refunded, no promise broken."
    )
    voice.answer(
        {
            "first_seed": seed,
            "worlds": seen.worlds,
            "simulated_seconds": seen.seconds,
            "seconds": round(took, 3),
            "completed": seen.completed,
            "failed": seen.failed,
        }
    )


class Sum:
    """What came of many worlds."""

    def __init__(self) -> None:
        self.worlds = self.seconds = self.completed = self.failed = 0

    def add(self, fate: Fate) -> None:
        """Count one world."""
        self.worlds += 1
        self.seconds += fate.seconds
        self.completed += fate.completed
        self.failed += fate.failed


class _Pace:
    """Says from time to time how far something came, and how long it may take."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._began = self._told = time.monotonic()

    def tell(self, how_far: str, share: float) -> None:
        """`share` of all is done; more than none."""
        if (now := time.monotonic()) - self._told > _EVERY:
            self._told, left = now, (now - self._began) * (1 - share) / share / 60
            self._voice.say(f"{how_far}, {left:.0f} minutes left.")


def _replay(seed: int, voice: Voice, kind: Any) -> None:
    found = kind.fate(seed)
    if found.broken:
        voice.say(found.broken)
        voice.answer({"seed": seed, "broken": found.broken})
        raise typer.Exit(1)
    story = kind.replay(seed).story()
    voice.say(story)
    voice.answer({"seed": seed, "simulated_seconds": found.seconds, "story": story})


def _broken(fate: Fate, voice: Voice, kind: Any) -> None:
    voice.say(f"The world of seed {fate.seed} broke a promise. Looking for a smaller one ...")
    plan, story = kind.smallest(fate.seed)
    whole = " --whole" if kind.__name__.endswith("whole.scenarios") else ""
    again = f"tally sim run --replay --seed {fate.seed}{whole}"
    voice.say(f"{plan}\n{story}\nSee it whole: {again}")
    voice.answer({"seed": fate.seed, "broken": fate.broken, "smallest": repr(plan)})
    raise typer.Exit(1)


@group.command("crashes")
def crashes(
    *,
    life: Annotated[
        str, typer.Option("--life", help="Only this one, such as 'trust 1'; all without it.")
    ] = "",
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Kill twice: at every two points.")
    ] = False,
    part: Annotated[
        str, typer.Option("--part", help="Only a part of the kills: 2/4 is every fourth.")
    ] = "1/1",
    skip: Annotated[
        int, typer.Option("--skip", min=0, help="Leave out so many of a life: they were done.")
    ] = 0,
    most: Annotated[
        int, typer.Option("--most", min=0, help="End after so many kills of a life; 0: never.")
    ] = 0,
    processes: Annotated[
        int, typer.Option("--processes", min=0, help="0: one for each processor.")
    ] = 0,
    json: Json = False,
) -> None:
    """Kill a party at every act of complete lives, and see that the end is the same.

    An act is a durable write, a transaction, a request, a report, or a call of the runtime.
    Pairs come in a fixed, mixed order. Ctrl-C tells how far it came, to go on from there.
    """
    voice, kind = Voice(json=json), import_module("tallystick.sim.whole.crashes")
    lives = [each for each in kind.LIVES if life in ("", each)]
    if not lives:
        raise typer.BadParameter(f"There is no {life!r}: {', '.join(kind.LIVES)}.")
    first, parts = _part(part)
    for name in lives:
        jobs = _kills(kind, name, pairs=pairs, processes=processes)[first - 1 :: parts]
        jobs = jobs[skip:][: most or None]
        fates = voyage(kind.fate, 0, len(jobs), processes=processes, of=jobs, chunk=1)
        _watch(voice, name, fates, skip, len(jobs))


def _part(text: str) -> tuple[int, int]:
    """Which part, counted from 1, of how many."""
    first, _, parts = text.partition("/")
    if not (first.isdecimal() and parts.isdecimal() and 0 < int(first) <= int(parts)):
        raise typer.BadParameter(f"{text!r} is no part, such as 1/4.")
    return int(first), int(parts)


def _kills(kind: Any, name: str, *, pairs: bool, processes: int) -> list[Any]:
    """Whom to kill, and when. For pairs every kill is lived once, to count what comes after."""
    jobs: list[Any] = kind.jobs(name)
    if not pairs:
        return jobs
    counted = voyage(kind.second_life, 0, len(jobs), processes=processes, of=jobs, chunk=1)
    double: list[Any] = kind.double(name, counted)
    return double


def _watch(voice: Voice, name: str, fates: Iterator[Fate], skip: int, jobs: int) -> None:
    """Wait for all fates of a life. Raises Exit when one is bad, and at Ctrl-C."""
    began, pace = time.monotonic(), _Pace(voice)
    done, code = 0, 0
    try:
        for fate in fates:
            if fate.broken:
                voice.say(f"{name}: {fate.broken}")
                voice.answer({"life": name, "broken": fate.broken})
                raise typer.Exit(1)
            done += 1
            pace.tell(f"{name}: {done:,} of {jobs:,} kills", done / jobs)
    except KeyboardInterrupt:
        code = 130
        voice.say(f"Stopped. Go on with --life '{name}' --skip {skip + done}.")
    took = time.monotonic() - began
    voice.say(
        f"{name}: killed {done:,} of {jobs:,} times in {took:.0f} s, and the end was the same."
    )
    voice.answer({"life": name, "kills": done, "of": jobs, "seconds": round(took, 3)})
    if code:
        raise typer.Exit(code)


@group.command("cheats")
def cheats(
    *,
    seed: Seed = 0,
    tasks: Annotated[int, typer.Option("--tasks", min=1, help="Counted.")] = 10_000,
    warm_up: Annotated[
        int, typer.Option("--warm-up", min=0, help="Tasks before, not counted.")
    ] = 100_000,
    workers: Annotated[int, typer.Option("--workers", min=15, help="How many.")] = 200,
    share: Annotated[
        float, typer.Option("--share", min=0, max=0.5, help="Of them that cheat.")
    ] = 0.2,
    json: Json = False,
) -> None:
    """How many wrong results get through, and at what cost: PoCo, quorums, BOINC, audits.

    See docs/explanation/verification.md for what the columns say.
    """
    voice, rows = Voice(json=json), list[tuple[str, str, bool, Count]]()
    for kind in Cheat:
        for returns in (False, True):
            crowd = Crowd(workers=workers, cheats=share, kind=kind, returns=returns)
            for name, make in RULES.items():
                found = observe(crowd, make, warm_up=warm_up, tasks=tasks, seed=seed)
                rows.append((kind.value, name, returns, found))
    if not json:
        voice.table(("cheats", "rule", "executions", "wrong", "caught"), _lines(rows))
    voice.answer(
        {
            "seed": seed,
            "crowds": [
                {
                    "kind": kind,
                    "returns": returns,
                    "rule": name,
                    "executions_per_task": round(found.per_task, 4),
                    "wrong": round(found.wrong_share, 6),
                    "claimed": found.claimed,
                    "caught": found.caught,
                }
                for kind, name, returns, found in rows
            ],
        }
    )


def _lines(rows: list[tuple[str, str, bool, Count]]) -> Iterator[tuple[str, ...]]:
    for kind, name, returns, found in rows:
        yield (
            f"{kind}, come back" if returns else kind,
            name,
            f"{found.per_task:.3f}",
            f"{found.wrong_share:.2%}",
            str(found.caught),
        )

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
from tallystick.sim.voyage import Fate, voyage

group = typer.Typer(
    help="Live through simulated pools: crashes, lies, losses, reorgs, and cheats.",
    no_args_is_help=True,
)
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
    json: Json = False,
) -> None:
    """Live through random pools, every promise watched.

    A world that breaks one is lived again with less and less in it, and its story is told.
    The same seed is the same world.
    """
    voice = Voice(json=json)
    if again:
        _replay(seed, voice)
        return
    began, seen = time.monotonic(), Sum()
    for fate in voyage(_worlds().fate, seed, worlds, processes=processes):
        if fate.broken:
            _broken(fate, voice)
        seen.add(fate)
        if hours and seen.seconds >= hours * 3600:
            break
    _told(voice, seed, seen, time.monotonic() - began)


def _worlds() -> Any:
    """The simulator, loaded when it is wanted: `scenarios`."""
    return import_module("tallystick.sim.scenarios")


def _told(voice: Voice, seed: int, seen: Sum, took: float) -> None:
    voice.say(
        f"{seen.worlds} worlds, {seen.seconds / 3600:.1f} simulated hours in {took:.0f} s"
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


def _replay(seed: int, voice: Voice) -> None:
    found = _worlds().fate(seed)
    if found.broken:
        voice.say(found.broken)
        voice.answer({"seed": seed, "broken": found.broken})
        raise typer.Exit(1)
    story = _worlds().replay(seed).story()
    voice.say(story)
    voice.answer({"seed": seed, "simulated_seconds": found.seconds, "story": story})


def _broken(fate: Fate, voice: Voice) -> None:
    voice.say(f"The world of seed {fate.seed} broke a promise. Looking for a smaller one ...")
    plan, story = _worlds().smallest(fate.seed)
    voice.say(f"{plan}\n{story}\nSee it whole: tally sim run --replay --seed {fate.seed}")
    voice.answer({"seed": fate.seed, "broken": fate.broken, "smallest": repr(plan)})
    raise typer.Exit(1)


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

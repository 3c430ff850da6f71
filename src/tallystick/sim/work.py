"""What machines do: the outcome of each step, good, bad or false."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from eth_hash.auto import keccak

from tallystick.lifecycle.agenda import Do
from tallystick.lifecycle.facts import (
    AppFetched,
    Checked,
    Completed,
    Computed,
    DataFetched,
    Failed,
    Published,
    Started,
    Step,
    Uploaded,
    WorkerFact,
)
from tallystick.poco.values import Address, Digest, Nrlc
from tallystick.sim.odds import Character, Nature, Odds

_CAUSES = {
    Step.FETCH_APP: "APP_IMAGE_DOWNLOAD_FAILED",
    Step.FETCH_DATA: "DATASET_FILE_DOWNLOAD_FAILED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """All that decides what a step comes to."""

    nature: Nature
    character: Character
    free: Nrlc
    """What the worker may still lock."""
    stake: Nrlc
    """What a contribution will lock."""


def outcome(
    me: Address, command: Do, given: Circumstances, *, odds: Odds, random: Random
) -> WorkerFact | None:
    """What the worker will assert; None when the world was not ready and it begins again."""
    step = command.step
    if random.random() < odds.flake:
        return None
    if step is Step.START and given.free < given.stake:
        return Failed(me, step, "STAKE_TOO_LOW")
    if step is not Step.COMPLETE and random.random() < odds.fail:
        return Failed(me, step, "BROKEN_MACHINE")
    if _nobody_can(given.nature) is step:
        return Failed(me, step, _CAUSES[step], digest(me, command, given))
    return _done(me, command, given)


def _nobody_can(nature: Nature) -> Step | None:
    match nature:
        case Nature.NO_APP:
            return Step.FETCH_APP
        case Nature.NO_DATA:
            return Step.FETCH_DATA
        case _:
            return None


def _done(me: Address, command: Do, given: Circumstances) -> WorkerFact:
    match command.step:
        case Step.START:
            return Started(me)
        case Step.FETCH_APP:
            return AppFetched(me)
        case Step.FETCH_DATA:
            return DataFetched(me)
        case Step.COMPUTE:
            crashed = int(given.nature is Nature.CRASHES)
            return Computed(me, digest(me, command, given), crashed)
        case Step.CHECK:
            return Checked(me)
        case Step.PUBLISH:
            return Published(me, f"/ipfs/{command.task}")
        case Step.UPLOAD:
            return Uploaded(me, f"/ipfs/{command.task}")
        case Step.COMPLETE:
            return Completed(me)
        case Step.CONTRIBUTE | Step.FINISH | Step.REVEAL:
            raise AssertionError("those are calls")


def digest(me: Address, command: Do, given: Circumstances) -> Digest:
    """What the worker says the app made."""
    seed = command.task + given.nature.encode()
    match given.character:
        case Character.LIAR:
            return Digest(keccak(seed + me))
        case Character.CONSPIRATOR:
            return Digest(keccak(seed + b"lie"))
        case _:
            erratic = me if given.nature is Nature.ERRATIC else b""
            return Digest(keccak(seed + erratic))

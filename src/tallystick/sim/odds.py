"""What a simulated world is made of, and how unkind it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tallystick.poco.values import Instant, Nrlc


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """Probabilities, per second unless said otherwise. By default nothing bad happens."""

    crash: float = 0.0
    """A machine goes down. Its journal stays."""
    outage: int = 5
    """Mean seconds until a crashed machine is back."""
    death: float = 0.0
    """A machine goes down for good."""
    restore: float = 0.0
    """The scheduler is set back to its last backup."""
    loss: float = 0.0
    """Per message between worker and scheduler: it must be told again."""
    delay: float = 0.0
    """Per second and party: no news from the chain."""
    reorg: float = 0.0
    """Per block: the chain takes blocks back."""
    depth: int = 3
    """The most blocks that one reorg takes back."""
    flake: float = 0.0
    """Per step: a registry or store does not answer, and the step begins again."""
    fail: float = 0.0
    """Per step: it fails for good on this machine."""
    latency: int = 6
    """The most seconds a call waits in the mempool; below the headroom of every deal."""
    block_time: int = 1
    """Seconds between two blocks."""


class Nature(StrEnum):
    """What becomes of a task on an honest machine."""

    WORKS = "works"
    CRASHES = "crashes"
    """The app exits with 1: a result like any other."""
    NO_APP = "no app"
    """The image cannot be had by anybody: a result that is voted on."""
    NO_DATA = "no data"
    """The same for the dataset."""
    ERRATIC = "erratic"
    """Every machine computes something else."""


class Character(StrEnum):
    """How a worker behaves."""

    HONEST = "honest"
    LIAR = "liar"
    """Votes for a result of its own."""
    CONSPIRATOR = "conspirator"
    """Votes for the same wrong result as its friends."""
    SILENT = "silent"
    """Follows the chain and votes, but tells the scheduler nothing."""
    SHY = "shy"
    """Votes and never reveals, so that a consensus may have to be reopened."""
    DAWDLER = "dawdler"
    """Votes and reveals in the last seconds in which its agenda lets it."""
    COPYCAT = "copycat"
    """Votes for what it sees on chain that somebody else has voted for; where digests are
    handed in first, and there is nothing to copy, for something else than it handed in."""
    CROOK = "crook"
    """Works, and sends calls besides that the ledger must refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A worker before it is switched on."""

    character: Character = Character.HONEST
    score: int = 0
    deposit: Nrlc = 10**12
    slots: int = 3
    """How many replicates it takes on at a time."""
    at_once: bool = False
    """Whether it contributes and finalizes at once where one vote decides."""
    classic: bool = False
    """Of whole worlds: it can vote from the start only, as workers did before audits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What somebody will buy: one request, served by one order of the pool for each lot."""

    at: Instant
    """When the first lot is bought; its deal starts when the call is mined."""
    time_unit: int
    trust: int = 1
    price: Nrlc = 10**9
    """Of the pool, for one task; the app costs a tenth of it."""
    lots: tuple[int, ...] = (1,)
    """The volume of each deal; a reorg can make two of them change places."""
    natures: tuple[Nature, ...] = ()
    """What becomes of each task by its index; the rest works."""

    @property
    def volume(self) -> int:
        """Tasks in all."""
        return sum(self.lots)

    def nature(self, index: int) -> Nature:
        """How the app of a task behaves."""
        return self.natures[index] if index < len(self.natures) else Nature.WORKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A world before its first second."""

    seed: int
    purchases: tuple[Purchase, ...]
    machines: tuple[Machine, ...]
    audit: float = 0.0
    """The share of the tasks that one vote decides that is computed a second time; more than
    0: every worker hands in its digest first."""
    auditors: int = 0
    """So many machines, the first ones, are the operator's own."""
    dawdles: bool = False
    """The scheduler finalizes in the last seconds in which its agenda lets it."""
    odds: Odds = field(default_factory=Odds)

"""Hypothesis chooses the calls; the ledger and the real contracts must agree on each."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from contract_mirror import Mirror
from contract_offers import FLAWS, POOL_PRICE, Offers, offers
from contract_reading import INDEXED
from eth_hash.auto import keccak
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tallystick.chain import contracts
from tallystick.chain.abi import selector
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.escrow import Revert
from tallystick.poco.ledger import ChainStatus, Permit, Vote
from tallystick.poco.orders import Operation
from tallystick.poco.values import ZERO_ADDRESS, Address, DealId, Digest, TaskId

WORDS = (b"true", b"false")
DIGESTS = {Digest(keccak(word)): word for word in WORDS}
TRUE, FALSE = DIGESTS
CALLBACK = Address(b"\xca" * 20)

mostly_true = st.sampled_from([TRUE, TRUE, TRUE, FALSE])
crew = st.sampled_from(range(4))
prices = st.sampled_from([0, 1, 3, 4, 7, 33, 101, POOL_PRICE, 2_000 * 10**9])
terms = st.fixed_dictionaries(
    {
        "trust": st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5]),
        # Categories of 300, 60 and 2 seconds: in the last, deadlines pass by themselves.
        "category": st.sampled_from([0, 0, 5, 6]),
        "volume": st.integers(1, 3),
        "pool_price": prices,
        "app_price": prices,
        "dataset_price": st.none() | prices,
        "callback": st.sampled_from([ZERO_ADDRESS, ZERO_ADDRESS, CALLBACK]),
    }
)
scores = st.sampled_from([0, 2, 11, 12, 15, 30, 100])


class TwoChains(RuleBasedStateMachine):
    """Nothing here says what must be refused: only that both must say the same."""

    offered = Bundle("offered")
    deals = Bundle("deals")
    tasks = Bundle("tasks")

    def __init__(self, mirror: Mirror) -> None:
        super().__init__()
        self.mirror = mirror
        self.chain = mirror.chain
        self.at: int | None = None
        """When the next call is to be mined, if a rule has asked for that."""

    def teardown(self) -> None:
        self.mirror.compare_everything()

    def when(self) -> int | None:
        at, self.at = self.at, None
        return at

    def worker(self, number: int) -> Address:
        address: Address = self.chain.workers[number].address
        return address

    def deal(self, deal: DealId) -> Deal:
        return self.mirror.ledger.clerk.deals[deal]

    def made(self, refusal: Revert | None) -> DealId | MultipleResults[DealId]:
        return multiple() if refusal else next(reversed(self.mirror.ledger.clerk.deals))

    def unfinished(self) -> list[TaskId]:
        alive = ChainStatus.ACTIVE, ChainStatus.REVEALING
        tasks = self.mirror.ledger.tasks
        return [task for task in tasks if tasks[task].status in alive]

    def lively(self, task: TaskId) -> TaskId:
        """The task, or one that is not finished: there is little to see with the others."""
        left = self.unfinished()
        return task if task in left or not left else left[0]

    # Orders and deals

    @rule(target=offered, wish=terms)
    def offer(self, wish: dict[str, Any]) -> Offers:
        return self.wished(wish)

    def wished(self, wish: dict[str, Any]) -> Offers:
        basic = {name: wish[name] for name in ("trust", "category", "volume")}
        made = offers(self.mirror, **basic).but(
            app={"price": wish["app_price"]},
            dataset={"price": wish["dataset_price"] or 0},
            workerpool={"price": wish["pool_price"]},
            request={"callback": wish["callback"]},
        )
        return made.without_dataset() if wish["dataset_price"] is None else made

    @rule(
        target=deals,
        these=offered,
        others=offered,
        part=st.sampled_from(["nothing", "app", "workerpool", "request"]),
        flaw=st.sampled_from([None] * 30 + list(FLAWS)),
        sponsor=st.sampled_from([None, None, 4, 5]),
    )
    def match(
        self, these: Offers, others: Offers, part: str, flaw: int | None, sponsor: int | None
    ) -> DealId | MultipleResults[DealId]:
        """The orders of two offers mixed, perhaps with one of the known flaws."""
        mixed = these
        if part != "nothing":
            mixed = replace(these, **{part: getattr(others, part)})
        if flaw is not None:
            mixed = FLAWS[flaw](mixed)
        payer = None if sponsor is None else self.worker(sponsor)
        return self.made(self.mirror.match(*mixed.four, sponsor=payer, at=self.when()))

    @rule(
        these=offered,
        which=st.integers(0, 3),
        operation=st.sampled_from(Operation),
        by_owner=st.sampled_from([True, True, False]),
    )
    def manage(self, these: Offers, which: int, operation: Operation, by_owner: bool) -> None:
        order = these.four[which]
        sender = these.owner(order).address if by_owner else self.worker(0)
        self.mirror.manage(sender, order, operation, bytes(65))

    # Tasks

    @initialize(target=tasks, wish=terms)
    def begin(self, wish: dict[str, Any]) -> TaskId | MultipleResults[TaskId]:
        self.mirror.restart()
        return self.buy(wish)

    @precondition(lambda self: len(self.unfinished()) < 3)
    @rule(target=tasks, wish=terms)
    def buy(self, wish: dict[str, Any]) -> TaskId | MultipleResults[TaskId]:
        if self.mirror.match(*self.wished(wish).four, at=self.when()):
            return multiple()
        deal = next(reversed(self.mirror.ledger.clerk.deals))
        return self.open(deal, 0)

    @rule(target=tasks, deal=deals, offset=st.sampled_from([0, 0, 1, 2, 3, -1]))
    def open(self, deal: DealId, offset: int) -> TaskId | MultipleResults[TaskId]:
        index = max(self.deal(deal).bot_first + offset, 0)
        refusal = self.mirror.initialize(deal, index, at=self.when())
        return multiple() if refusal else self.deal(deal).task_id(index)

    @rule(task=tasks, number=crew, digest=mostly_true, few=st.booleans())
    def vote(self, task: TaskId, number: int, digest: Digest, few: bool) -> None:
        """One vote, or as many as make a consensus."""
        task = self.lively(task)
        for worker in (*range(number, 6), *range(number)):
            self.contribute(task, worker, digest)
            if few or self.mirror.ledger.tasks[task].status is not ChainStatus.ACTIVE:
                break

    @rule(
        task=tasks,
        steps=st.lists(st.tuples(crew, mostly_true), min_size=2, max_size=5),
        results=st.binary(max_size=40),
    )
    def live(self, task: TaskId, steps: list[tuple[int, Digest]], results: bytes) -> None:
        """What a pool, not always honest, would do with a task."""
        task = self.lively(task)
        for number, digest in steps:
            self.proceed(task, number, digest, results)

    def proceed(self, task: TaskId, number: int, digest: Digest, results: bytes) -> None:
        found = self.mirror.ledger.tasks[task]
        if found.status is ChainStatus.ACTIVE and not found.contributions and number == 3:
            self.contribute_and_finalize(task, number, digest, results)
        elif found.status is ChainStatus.ACTIVE:
            self.vote(task, number, digest, False)
        elif found.status is ChainStatus.REVEALING and not found.winners(Vote.PROVED):
            self.reveal_or_reopen(task, number)
        elif found.status is ChainStatus.REVEALING:
            if found.winners(Vote.CONTRIBUTED) and self.at is None:
                self.at = found.reveal_deadline
            self.finalize(task, results)
        else:
            assert self.mirror.claim(task) is not None

    def reveal_or_reopen(self, task: TaskId, number: int) -> None:
        """Some winners reveal, all of them, or none."""
        found = self.mirror.ledger.tasks[task]
        digest = next((d for d in DIGESTS if result_hash(task, d) == found.consensus), TRUE)
        for worker in found.winners(Vote.CONTRIBUTED)[: [9, 1, 2, 0][number]]:
            self.mirror.reveal(worker, task, digest, at=self.when())
        if number == 3:
            self.at = self.at or found.reveal_deadline
            self.mirror.reopen(task, at=self.when())

    @rule(
        what=st.sampled_from(
            ["contribute", "shortcut", "reveal", "reopen", "finalize", "claim", "open"]
        ),
        task=tasks,
        number=crew,
        digest=mostly_true,
        results=st.binary(max_size=40),
        wrong=st.integers(0, 4),
    )
    def try_anything(
        self,
        *,
        what: str,
        task: TaskId,
        number: int,
        digest: Digest,
        results: bytes,
        wrong: int,
    ) -> None:
        """A call at any time, by the right one or by another."""
        stranger = self.worker(0) if wrong == 0 else None
        task = task if number == 0 else self.lively(task)
        match what:
            case "contribute":
                permit = self.mirror.permit(self.worker(wrong % 4), task)
                self.contribute(task, number, digest, permit)
            case "shortcut":
                self.contribute_and_finalize(task, number, digest, results)
            case "reveal":
                self.mirror.reveal(self.worker(number), task, digest, at=self.when())
            case "reopen":
                self.mirror.reopen(task, sender=stranger, at=self.when())
            case "finalize":
                self.finalize(task, results, sender=stranger, right_word=wrong != 1)
            case "open":
                self.open(self.mirror.ledger.tasks[task].deal.id, wrong - 1)
            case _:
                self.mirror.claim(task, at=self.when())

    def contribute(
        self, task: TaskId, number: int, digest: Digest, permit: Permit | None = None
    ) -> None:
        self.mirror.contribute(self.worker(number), task, digest, permit=permit, at=self.when())

    def contribute_and_finalize(
        self, task: TaskId, number: int, digest: Digest, results: bytes
    ) -> None:
        wanted = self.mirror.ledger.tasks[task].deal.has_callback
        self.mirror.contribute_and_finalize(
            *(self.worker(number), task, digest),
            results=results,
            callback=DIGESTS[digest] if wanted else b"",
            at=self.when(),
        )

    def finalize(
        self,
        task: TaskId,
        results: bytes,
        sender: Address | None = None,
        right_word: bool = True,
    ) -> None:
        found = self.mirror.ledger.tasks[task]
        told = DIGESTS.get(Digest(found.digest), b"?")
        self.mirror.finalize(
            task,
            results=results,
            callback=told if found.deal.has_callback == right_word else b"",
            sender=sender,
            at=self.when(),
        )

    @rule(these=st.lists(tasks, max_size=3), late=st.booleans())
    def claim(self, these: list[TaskId], late: bool) -> None:
        if late and these:
            self.at = self.mirror.ledger.tasks[these[0]].deal.final_deadline
        if len(these) == 1:
            self.mirror.claim(these[0], at=self.when())
        else:
            self.mirror.claim_array(these, at=self.when())

    @rule(deal=deals, offsets=st.lists(st.integers(0, 2), max_size=2), late=st.booleans())
    def claim_unopened(self, deal: DealId, offsets: list[int], late: bool) -> None:
        indices = [self.deal(deal).bot_first + offset for offset in offsets]
        at = self.deal(deal).final_deadline if late else self.when()
        self.mirror.initialize_and_claim([deal] * len(indices), indices, at=at)

    # Time, policy, reputation, money

    @precondition(lambda self: self.at is None)
    @rule(
        task=tasks,
        which=st.sampled_from(["contribution_deadline", "reveal_deadline", "final_deadline"]),
        offset=st.sampled_from([-1, 0, 1]),
    )
    def wait_for(self, task: TaskId, which: str, offset: int) -> None:
        """The next call is mined just before a deadline, at it, or after it."""
        found = self.mirror.ledger.tasks[task]
        whose = found if which == "reveal_deadline" else found.deal
        self.at = getattr(whose, which) + offset

    @rule(
        what=st.sampled_from(["policy", "score", "score", "deposit", "withdraw", "transfer"]),
        who=st.integers(0, 9),
        amount=st.sampled_from([0, 1, 10**9, 9 * 10**12, 10**13]),
        percents=st.tuples(st.sampled_from([0, 30, 99]), st.sampled_from([0, 1, 33, 100])),
        score=scores,
    )
    def meanwhile(
        self, what: str, who: int, amount: int, percents: tuple[int, int], score: int
    ) -> None:
        someone, worker = self.chain.actors[who].address, self.worker(who % 4)
        match what:
            case "policy":
                self.mirror.change_policy(*percents)
            case "score":
                self.mirror.give_score(worker, score)
            case "deposit":
                # As far as there is RLC: the ledger knows only what reaches the hub.
                self.mirror.deposit(worker, min(amount, self.mirror.rlc_of(worker)))
            case "withdraw":
                self.mirror.withdraw(someone, amount)
            case _:
                self.mirror.transfer(someone, worker, amount)


def play(mirror: Mirror, *, lives: int, steps: int) -> None:
    machine: Any = partial(TwoChains, mirror)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )


RULES = (
    contracts.MATCH_ORDERS,
    contracts.INITIALIZE,
    contracts.CONTRIBUTE,
    contracts.CONTRIBUTE_AND_FINALIZE,
    contracts.REVEAL,
    contracts.FINALIZE,
    contracts.REOPEN,
    contracts.CLAIM,
    contracts.CLAIM_ARRAY,
    contracts.INITIALIZE_AND_CLAIM_ARRAY,
    contracts.MANAGE_REQUEST_ORDER,
    contracts.WITHDRAW,
)


def one_sided(mirror: Mirror) -> list[str]:
    """The calls that were never accepted, or never refused."""
    return [
        f"{rule} {accepted=}"
        for rule in RULES
        for accepted in (True, False)
        if not mirror.made[selector(rule).hex(), accepted]
    ]


def test_the_ledger_is_the_contracts(mirrored: Mirror):
    play(mirrored, lives=40, steps=40)
    assert mirrored.made.total() > 500
    assert len(one_sided(mirrored)) < 4, "both sides of the rules are to be seen"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_ledger_is_the_contracts_for_long(mirrored: Mirror):
    play(mirrored, lives=200, steps=60)
    assert one_sided(mirrored) == [], "both sides of every rule are to be seen"
    events = {signature.partition("(")[0] for signature in INDEXED}
    assert events - set(mirrored.heard) == set()

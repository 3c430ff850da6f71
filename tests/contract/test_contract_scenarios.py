"""Known lives of a task, on the ledger and on the real contracts, to the nRLC.

The figures are those of a run of the contracts without our code: app 1.000000001, dataset
0.500000003 and workerpool 10.000000007 RLC a task, stakes and rewards by the default policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from contract_mirror import Mirror
from contract_offers import offers
from eth_hash.auto import keccak

from tallystick.poco.rewards import KITTY
from tallystick.poco.values import Address, Digest, TaskId

TRUE, FALSE = Digest(keccak(b"true")), Digest(keccak(b"false"))
STAKE = 3_000_000_002
APP, DATASET, COST = 1_000_000_001, 500_000_003, 11_500_000_011


@dataclass
class Books:
    """What everybody has won or lost since these books were opened."""

    mirror: Mirror
    before: dict[Address, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = {who: self.wealth(who) for who in (*self.parties, *self.workers)}

    @property
    def parties(self) -> list[Address]:
        chain = self.mirror.chain
        owners = (chain.app_owner.address, chain.scheduler.address, chain.requester.address)
        return [*owners, KITTY]

    @property
    def workers(self) -> list[Address]:
        return [worker.address for worker in self.mirror.chain.workers]

    def wealth(self, who: Address) -> int:
        return sum(self.mirror.stake_on_chain(who))

    def net(self, who: Address) -> int:
        return self.wealth(who) - self.before[who]

    def settled(
        self, *, assets: int, scheduler: int, requester: int, workers: list[int], kitty: int = 0
    ) -> None:
        """Whether it came out so, and nothing of anybody's is locked any more."""
        expected = [assets, scheduler, requester, kitty]
        assert [self.net(who) for who in self.parties] == expected
        assert [self.net(who) for who in self.workers] == [*workers] + [0] * (6 - len(workers))
        assert sum(expected) + sum(workers) == 0, "money is neither made nor lost"
        for who in {*self.parties, *self.workers} - {KITTY}:
            assert self.mirror.stake_on_chain(who)[1] == 0


def vote(mirror: Mirror, task: TaskId, *digests: Digest) -> None:
    """Worker 0 votes for the first digest, worker 1 for the second, ..."""
    for worker, digest in zip(mirror.chain.workers, digests, strict=False):
        assert mirror.contribute(worker.address, task, digest) is None


def reveal(mirror: Mirror, task: TaskId, *numbers: int) -> None:
    for number in numbers:
        assert mirror.reveal(mirror.chain.workers[number].address, task, TRUE) is None


def test_trust_1_by_one_worker(mirror: Mirror):
    books, task = Books(mirror), offers(mirror).task()
    vote(mirror, task, TRUE)
    reveal(mirror, task, 0)
    assert mirror.finalize(task, results=b"link") is None
    books.settled(
        assets=APP + DATASET, scheduler=100_000_001, requester=-COST, workers=[9_900_000_006]
    )


def test_trust_5_by_three_workers(mirror: Mirror):
    books, task = Books(mirror), offers(mirror, trust=5).task()
    vote(mirror, task, TRUE, TRUE, TRUE)
    reveal(mirror, task, 0, 1, 2)
    assert mirror.finalize(task) is None
    books.settled(
        assets=APP + DATASET,
        scheduler=100_000_001,
        requester=-COST,
        workers=[3_300_000_002] * 3,
    )


def test_one_of_five_is_wrong_and_pays_the_others(mirror: Mirror):
    books, task = Books(mirror), offers(mirror, trust=5).task()
    vote(mirror, task, FALSE, TRUE, TRUE, TRUE)
    assert mirror.ledger.tasks[task].consensus is None, "three of four are not enough"
    assert mirror.contribute(mirror.chain.workers[4].address, task, TRUE) is None
    reveal(mirror, task, 1, 2, 3, 4)
    assert mirror.finalize(task) is None
    books.settled(
        assets=APP + DATASET,
        scheduler=130_000_001,
        requester=-COST,
        workers=[-STAKE] + [3_217_500_002] * 4,
    )


def test_one_of_three_does_not_reveal(mirror: Mirror):
    books, task = Books(mirror), offers(mirror, trust=5).task()
    vote(mirror, task, TRUE, TRUE, TRUE)
    reveal(mirror, task, 0, 1)
    assert mirror.finalize(task) is not None, "the third may still reveal"
    late = mirror.ledger.tasks[task].reveal_deadline
    assert mirror.finalize(task, at=late) is None
    books.settled(
        assets=APP + DATASET,
        scheduler=130_000_001,
        requester=-COST,
        workers=[6_435_000_004, 6_435_000_004, -STAKE],
    )


def test_a_second_worker_finishes_what_the_first_left(mirror: Mirror):
    books, task = Books(mirror), offers(mirror).task()
    vote(mirror, task, TRUE)
    late = mirror.ledger.tasks[task].reveal_deadline
    assert mirror.reopen(task, at=late) is None
    first, second = (worker.address for worker in mirror.chain.workers[:2])
    assert mirror.contribute(first, task, TRUE) is not None, "once a task is enough"
    assert mirror.contribute(second, task, TRUE) is None
    reveal(mirror, task, 1)
    assert mirror.finalize(task) is None
    books.settled(
        assets=APP + DATASET,
        scheduler=130_000_001,
        requester=-COST,
        workers=[-STAKE, 12_870_000_008],
    )


def test_nobody_computes_and_the_next_success_opens_the_kitty(mirror: Mirror):
    books, task = Books(mirror), offers(mirror, trust=5).task()
    vote(mirror, task, TRUE, FALSE)
    over = mirror.ledger.tasks[task].deal.final_deadline
    assert mirror.claim(task, at=over - 1) is not None
    assert mirror.claim(task, at=over) is None
    books.settled(assets=0, scheduler=-STAKE, requester=0, workers=[0, 0], kitty=STAKE)

    books, task = Books(mirror), offers(mirror).task()
    vote(mirror, task, TRUE)
    reveal(mirror, task, 0)
    assert mirror.finalize(task) is None
    books.settled(
        assets=APP + DATASET,
        scheduler=1_100_000_001,
        requester=-COST,
        workers=[9_900_000_006],
        kitty=-(10**9),
    )


def test_reputation_weighs_votes_and_shares(mirror: Mirror):
    mirror.give_score(mirror.chain.workers[0].address, 30)
    books, task = Books(mirror), offers(mirror, trust=18).task()
    vote(mirror, task, TRUE)
    assert mirror.ledger.tasks[task].consensus is None, "9 is less than 18"
    assert mirror.contribute(mirror.chain.workers[1].address, task, TRUE) is None
    reveal(mirror, task, 0, 1)
    assert mirror.finalize(task) is None
    books.settled(
        assets=APP + DATASET,
        scheduler=100_000_002,
        requester=-COST,
        workers=[7_425_000_004, 2_475_000_001],
    )


def test_the_shortcut_pays_the_same_without_stake_or_reputation(mirror: Mirror):
    books, task = Books(mirror), offers(mirror).task()
    worker = mirror.chain.workers[0].address
    assert mirror.withdraw(worker, mirror.ledger.escrow.balance(worker)) is None
    books = Books(mirror)
    assert mirror.contribute(worker, task, TRUE) is not None, "no stake to lock"
    assert mirror.contribute_and_finalize(worker, task, TRUE, results=b"link") is None
    assert books.net(worker) == 9_900_000_006
    assert books.net(mirror.chain.scheduler.address) == 100_000_001
    assert mirror.ledger.scores.get(worker, 0) == 0


def test_a_claim_returns_every_stake_even_of_liars_and_of_the_rejected(mirror: Mirror):
    books, task = Books(mirror), offers(mirror, trust=3).task()
    vote(mirror, task, FALSE, TRUE, TRUE, TRUE)
    late = mirror.ledger.tasks[task].reveal_deadline
    assert mirror.reopen(task, at=late) is None
    assert mirror.claim(task, at=mirror.ledger.tasks[task].deal.final_deadline) is None
    books.settled(assets=0, scheduler=-STAKE, requester=0, workers=[0] * 4, kitty=STAKE)


def test_after_reopening_the_former_losers_may_win(mirror: Mirror):
    task = offers(mirror, trust=3).task()
    vote(mirror, task, FALSE, TRUE, TRUE, TRUE)
    books_of = mirror.chain.workers
    late = mirror.ledger.tasks[task].reveal_deadline
    assert mirror.reopen(task, at=late) is None
    assert mirror.contribute(books_of[4].address, task, FALSE) is None
    for number in (0, 4):
        assert mirror.reveal(books_of[number].address, task, FALSE) is None
    assert mirror.finalize(task) is None
    assert [mirror.ledger.scores.get(worker.address, 0) for worker in books_of] == [
        *(1, 0, 0, 0, 1, 0)
    ]


def test_a_request_served_in_parts_makes_several_deals(mirror: Mirror):
    first = offers(mirror, volume=2)
    wanted = first.but(request={"volume": 3})
    deal = mirror.ledger.clerk.deals[wanted.deal()]
    assert (deal.bot_first, deal.bot_size) == (0, 2)
    again = offers(mirror, volume=5)
    again.request = wanted.request
    rest = mirror.ledger.clerk.deals[again.deal()]
    assert (rest.bot_first, rest.bot_size) == (2, 1)
    assert mirror.initialize(rest.id, 0) is not None, "indices are absolute"
    assert mirror.initialize(rest.id, 2) is None
    assert mirror.initialize(rest.id, 2) is not None, "once is enough"


def test_a_sponsor_pays_and_is_refunded(mirror: Mirror):
    sponsor = mirror.chain.workers[5].address
    books = Books(mirror)
    deal = mirror.ledger.clerk.deals[offers(mirror).deal(sponsor=sponsor)]
    assert books.net(mirror.chain.requester.address) == 0
    assert mirror.stake_on_chain(sponsor)[1] == COST
    assert mirror.initialize_and_claim([deal.id], [0], at=deal.final_deadline) is None
    books.settled(assets=0, scheduler=-STAKE, requester=0, workers=[], kitty=STAKE)


def test_the_scheduler_of_a_deal_stays_when_the_pool_is_sold(mirror: Mirror):
    wanted = offers(mirror)
    task = wanted.task()
    buyer = mirror.chain.workers[5]
    mirror.sell_pool(buyer.address)
    refusal = mirror.match(*wanted.but(request={"volume": 2}, app={"volume": 2}).four)
    assert refusal is not None
    vote(mirror, task, TRUE)
    reveal(mirror, task, 0)
    assert mirror.finalize(task, sender=buyer.address) is not None
    assert mirror.finalize(task) is None
    assert offers(mirror).deal(), "the buyer's own orders count from now on"


def test_what_is_free_is_not_rewarded(mirror: Mirror):
    books = Books(mirror)
    task = offers(mirror).but(app={"price": 0}, dataset={"price": 0}).task()
    vote(mirror, task, TRUE)
    reveal(mirror, task, 0)
    assert mirror.finalize(task) is None
    books.settled(
        assets=0, scheduler=100_000_001, requester=-10_000_000_007, workers=[9_900_000_006]
    )


def test_nobody_is_paid_for_no_dataset(mirror: Mirror):
    books = Books(mirror)
    bare = offers(mirror).without_dataset().unsigned_but(dataset={"price": DATASET})
    task = bare.task()
    assert mirror.ledger.tasks[task].deal.dataset.price == 0
    assert mirror.contribute_and_finalize(books.workers[0], task, TRUE) is None
    books.settled(
        assets=APP,
        scheduler=100_000_001,
        requester=DATASET - COST,
        workers=[9_900_000_006],
    )


def test_a_fault_costs_a_third_of_the_reputation_rounded_up(mirror: Mirror):
    workers = [worker.address for worker in mirror.chain.workers]
    for number, score in enumerate((4, 5, 6)):
        mirror.give_score(workers[number], score)
    task = offers(mirror, trust=5).task()
    vote(mirror, task, FALSE, TRUE, TRUE, TRUE, TRUE)
    reveal(mirror, task, 3, 4)
    assert mirror.finalize(task, at=mirror.ledger.tasks[task].reveal_deadline) is None
    assert [mirror.ledger.scores[worker] for worker in workers[:5]] == [2, 3, 4, 1, 1]

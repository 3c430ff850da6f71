"""Every call that the contracts refuse is refused by the ledger, for the same reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from contract_mirror import Mirror
from contract_offers import FLAWS, POOL_PRICE, STRANGER, UINT256_MAX, offers
from eth_hash.auto import keccak

from tallystick.devnet.deploy import DEPLOYER
from tallystick.devnet.script import Script
from tallystick.poco import tags
from tallystick.poco.clerk import OVERFLOW
from tallystick.poco.contribution import result_seal
from tallystick.poco.escrow import TOO_POOR
from tallystick.poco.ledger import Permit
from tallystick.poco.orders import Operation, operation_hash
from tallystick.poco.signing import sign
from tallystick.poco.values import ZERO_ADDRESS, Address, DealId, Digest, TaskId

TRUE, FALSE = Digest(keccak(b"true")), Digest(keccak(b"false"))
TEE = tags.tag_of(tags.TEE)


def reason(code: int) -> str:
    return f"iExecV5-matchOrders-0x{code:02x}"


@pytest.fixture
def group(mirror: Mirror, poco_packages: Any) -> Address:
    """A contract that lists members, as a restriction may name one (ERC-734)."""
    console = mirror.chain.console
    sent = console.call("eth_getTransactionCount", str(DEPLOYER), "latest")
    script = Script(DEPLOYER, nonce=int(sent, 16))
    folder = poco_packages.poco / "artifacts/contracts/tools/testing/ERC734Mock.sol"
    artifact = json.loads((folder / "ERC734Mock.json").read_text())
    place = script.create(bytes.fromhex(artifact["bytecode"].removeprefix("0x")))
    script.send(console)
    mirror.now = mirror.chain.now
    return place


@pytest.mark.parametrize("code", FLAWS, ids=hex)
def test_orders_that_do_not_match(mirror: Mirror, code: int):
    good = offers(mirror)
    refusal = mirror.match(*FLAWS[code](good).four)
    assert refusal is not None
    assert refusal.reason == reason(code)
    assert mirror.match(*good.four) is None


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        (lambda s: s[:64] + bytes([s[64] - 27]), reason(0x50)),
        (lambda s: b"", "invalid-signature-format"),
        (lambda s: s + b"\0", "invalid-signature-format"),
        (lambda s: bytes(65), reason(0x50)),
    ],
    ids=["v 0 or 1", "nothing", "too long", "zeros"],
)
def test_signatures_that_do_not_count(mirror: Mirror, sign: Any, why: str):
    good = offers(mirror)
    bad = good.unsigned_but(request={"sign": sign(good.request.sign)})
    refusal = mirror.match(*bad.four)
    assert refusal is not None
    assert refusal.reason == why


def test_a_group_admits_its_members(mirror: Mirror, group: Address):
    wanted = offers(mirror).but(app={"requester_restrict": group})
    refusal = mirror.match(*wanted.four)
    assert refusal is not None
    assert refusal.reason == reason(0x15)
    mirror.admit(group, mirror.chain.requester.address)
    assert mirror.match(*wanted.four) is None
    assert mirror.match(*offers(mirror).but(app={"dataset_restrict": group}).four) is not None


def test_the_compact_form_of_a_signature_counts(mirror: Mirror):
    good = offers(mirror)
    r, s, v = good.request.sign[:32], good.request.sign[32:64], good.request.sign[64]
    folded = (int.from_bytes(s, "big") | (v - 27) << 255).to_bytes(32, "big")
    assert mirror.match(*good.unsigned_but(request={"sign": r + folded}).four) is None


def test_nobody_can_pay_for_nobody(mirror: Mirror):
    """A malformed signature counts as that of the zero address; a sponsor makes it a deal."""
    ghost = offers(mirror).unsigned_but(request={"requester": ZERO_ADDRESS, "sign": bytes(65)})
    refusal = mirror.match(*ghost.four)
    assert refusal is not None
    assert refusal.reason == "IexecEscrow: Transfer from empty address"
    assert mirror.match(*ghost.four, sponsor=mirror.chain.workers[0].address) is None


def test_what_is_no_contract_is_no_asset(mirror: Mirror):
    wanted = offers(mirror)
    odd = wanted.but(app={"app": STRANGER}, request={"app": STRANGER})
    refusal = mirror.match(*odd.four)
    assert refusal is not None
    assert refusal.reason == ""


@pytest.mark.parametrize("whose", ["requester", "scheduler"])
def test_poor_people_make_no_deals(mirror: Mirror, whose: str):
    account = getattr(mirror.chain, whose).address
    wanted = offers(mirror)
    assert mirror.withdraw(account, mirror.ledger.escrow.balance(account) - 1) is None
    refusal = mirror.match(*wanted.four)
    assert refusal is not None
    assert refusal.reason == TOO_POOR
    assert mirror.stake_on_chain(account) == (1, 0), "not even the other's stake is locked"


def test_one_account_must_bear_both_locks(mirror: Mirror):
    scheduler = mirror.chain.scheduler.address
    due = 11_500_000_011 + 3_000_000_002
    assert mirror.withdraw(scheduler, mirror.ledger.escrow.balance(scheduler) - due + 1) is None
    refusal = mirror.match(*offers(mirror).four, sponsor=scheduler)
    assert refusal is not None
    assert refusal.reason == TOO_POOR
    assert mirror.deposit(scheduler, 1) is None
    assert mirror.match(*offers(mirror).four, sponsor=scheduler) is None


@pytest.mark.parametrize("ratio", [30, 29])
@pytest.mark.parametrize(
    "price", [UINT256_MAX, UINT256_MAX // 30, UINT256_MAX // 30 + 1, 2**255]
)
def test_prices_that_no_contract_can_hold(mirror: Mirror, price: int, ratio: int):
    if ratio != 30:
        mirror.change_policy(ratio, 1)
    refusal = mirror.match(*offers(mirror).but(workerpool={"price": price}).four)
    assert refusal is not None
    assert refusal.reason == (OVERFLOW if price * ratio > UINT256_MAX else TOO_POOR)


def test_a_trust_beyond_counting_makes_a_task_that_only_can_be_claimed(mirror: Mirror):
    task = offers(mirror, trust=UINT256_MAX).task()
    me = mirror.chain.workers[0].address
    refusal = mirror.contribute(me, task, TRUE)
    assert refusal is not None
    assert refusal.reason == OVERFLOW
    assert mirror.withdraw(me, mirror.ledger.escrow.balance(me)) is None
    refusal = mirror.contribute(me, task, TRUE)
    assert refusal is not None
    assert refusal.reason == TOO_POOR, "the stake is looked at first"
    assert mirror.claim(task, at=mirror.ledger.tasks[task].deal.final_deadline) is None


def test_orders_are_signed_and_closed_on_chain(mirror: Mirror):
    wanted = offers(mirror, volume=3)
    requester = mirror.chain.requester
    bare = wanted.unsigned_but(request={"sign": b""})
    assert mirror.match(*bare.four) is not None
    refusal = mirror.manage(somebody(mirror), bare.request, Operation.SIGN, bytes(65))
    assert refusal is not None
    assert refusal.reason == "invalid-sender-or-signature"
    assert mirror.manage(requester.address, bare.request, Operation.SIGN) is None
    assert mirror.match(*bare.but(app={"volume": 1}).four) is None
    digest = operation_hash(bare.app, Operation.CLOSE, mirror.domain)
    warrant = sign(mirror.chain.app_owner.key, digest)
    sender = somebody(mirror)
    assert mirror.manage(sender, bare.app, Operation.CLOSE, warrant) is None
    refusal = mirror.match(*bare.four)
    assert refusal is not None
    assert refusal.reason == reason(0x60)
    for order in (wanted.dataset, wanted.workerpool):
        owner = wanted.owner(order).address
        for operation in Operation:
            assert mirror.manage(owner, order, operation) is None


def somebody(mirror: Mirror) -> Address:
    return mirror.chain.workers[5].address


def test_tasks_that_cannot_be_opened(mirror: Mirror):
    deal = offers(mirror, volume=2).deal()
    assert mirror.initialize(DealId(b"\x07" * 32), 0) is not None
    assert mirror.initialize(deal, 2) is not None
    assert mirror.initialize(deal, 1) is None
    assert mirror.initialize(deal, 1) is not None
    assert mirror.initialize_array([deal, deal], [0, 1]) is not None, "all or none"
    assert mirror.initialize_array([deal], [0, 1]) is not None
    over = mirror.ledger.clerk.deals[deal].final_deadline
    assert mirror.initialize_array([deal], [0]) is None
    assert mirror.claim_array([], at=over) is None


def test_contributions_that_do_not_count(mirror: Mirror):
    wanted = offers(mirror, trust=5)
    task = wanted.task()
    me, you = (worker.address for worker in mirror.chain.workers[:2])
    assert mirror.contribute(me, TaskId(b"\x07" * 32), TRUE) is not None, "no such task"
    for permit in (
        mirror.permit(you, task),
        mirror.permit(me, TaskId(b"\x07" * 32)),
        mirror.permit(me, task, signer=mirror.chain.owner),
        mirror.permit(me, task, enclave=you),
        Permit(authorization=bytes(65)),
        Permit(authorization=b""),
    ):
        assert mirror.contribute(me, task, TRUE, permit=permit) is not None
    assert mirror.contribute(me, task, TRUE) is None
    assert mirror.contribute(me, task, FALSE) is not None, "once"
    late = mirror.ledger.tasks[task].deal.contribution_deadline
    assert mirror.contribute(you, task, TRUE, at=late - 1) is None
    third = mirror.chain.workers[2].address
    assert mirror.contribute(third, task, TRUE, at=late) is not None


def test_a_worker_without_money_cannot_stake(mirror: Mirror):
    task, me = offers(mirror).task(), mirror.chain.workers[0].address
    assert mirror.withdraw(me, mirror.ledger.escrow.balance(me) - 3_000_000_001) is None
    refusal = mirror.contribute(me, task, TRUE)
    assert refusal is not None
    assert refusal.reason == TOO_POOR
    assert mirror.deposit(me, 1) is None
    assert mirror.contribute(me, task, TRUE) is None


def test_reveals_that_do_not_count(mirror: Mirror):
    task = offers(mirror, trust=3).task()
    liar, copycat, honest, last, stranger = (w.address for w in mirror.chain.workers[:5])
    stolen = result_seal(honest, task, TRUE)
    assert mirror.contribute(liar, task, FALSE) is None
    assert mirror.contribute(copycat, task, TRUE, seal=stolen) is None
    assert mirror.contribute(honest, task, TRUE) is None
    assert mirror.reveal(honest, task, TRUE) is not None, "no consensus yet"
    assert mirror.contribute(last, task, TRUE) is None
    for worker, digest in ((liar, FALSE), (copycat, TRUE), (honest, FALSE), (stranger, TRUE)):
        assert mirror.reveal(worker, task, digest) is not None
    assert mirror.reveal(honest, task, TRUE) is None
    assert mirror.reveal(honest, task, TRUE) is not None, "once"
    late = mirror.ledger.tasks[task].reveal_deadline
    assert mirror.finalize(task, at=late - 1) is not None
    assert mirror.reveal(last, task, TRUE, at=late) is not None
    assert mirror.reopen(task) is not None, "somebody revealed"
    assert mirror.finalize(task) is None
    assert mirror.finalize(task) is not None, "once"


def test_reopening_has_its_time(mirror: Mirror):
    task = offers(mirror).task()
    me = mirror.chain.workers[0].address
    assert mirror.reopen(task) is not None, "nothing to reopen"
    assert mirror.contribute(me, task, TRUE) is None
    late = mirror.ledger.tasks[task].reveal_deadline
    assert mirror.reopen(task, at=late - 1) is not None
    assert mirror.reopen(task, at=late, sender=me) is not None
    assert mirror.reopen(task) is None
    assert mirror.reopen(task) is not None
    you, deal = mirror.chain.workers[1].address, mirror.ledger.tasks[task].deal
    assert mirror.contribute(you, task, TRUE, at=deal.contribution_deadline - 1) is None
    assert mirror.reopen(task, at=deal.final_deadline) is not None
    assert mirror.finalize(task) is not None
    assert mirror.claim(task) is None
    assert mirror.claim(task) is not None


def test_a_callback_must_fit_the_digest(mirror: Mirror):
    def task_for(callback: Address) -> TaskId:
        task = offers(mirror).but(request={"callback": callback}).task()
        assert mirror.contribute(me, task, TRUE) is None
        assert mirror.reveal(me, task, TRUE) is None
        return task

    me = mirror.chain.workers[0].address
    task = task_for(STRANGER)
    for wrong in (b"", b"false"):
        assert mirror.finalize(task, callback=wrong) is not None
    assert mirror.finalize(task, callback=b"true") is None
    task = task_for(ZERO_ADDRESS)
    assert mirror.finalize(task, callback=b"false") is not None
    assert mirror.finalize(task, callback=b"true") is None, "unasked for, but it fits"


def test_the_shortcut_has_its_conditions(mirror: Mirror):
    me, you = (worker.address for worker in mirror.chain.workers[:2])
    task = offers(mirror, trust=2).task()
    assert mirror.contribute_and_finalize(me, task, TRUE) is not None, "trust 2"
    task = offers(mirror, trust=0).but(request={"callback": STRANGER}).task()
    strange = mirror.permit(you, task)
    assert mirror.contribute_and_finalize(me, task, TRUE, callback=b"true", permit=strange)
    assert mirror.contribute_and_finalize(me, task, TRUE, callback=b"false") is not None
    assert mirror.contribute_and_finalize(me, task, TRUE, callback=b"true") is None
    assert mirror.contribute_and_finalize(you, task, TRUE, callback=b"true") is not None
    task = offers(mirror).task()
    assert mirror.contribute(me, task, TRUE) is None
    late = mirror.ledger.tasks[task].reveal_deadline
    assert mirror.reopen(task, at=late) is None
    assert mirror.contribute_and_finalize(you, task, TRUE) is not None, "somebody voted"
    task = offers(mirror).task()
    late = mirror.ledger.tasks[task].deal.contribution_deadline
    assert mirror.contribute_and_finalize(you, task, TRUE, at=late) is not None


def test_an_enclave_must_vouch_where_the_tag_asks_for_it(mirror: Mirror):
    enclave, me = mirror.chain.workers[5], mirror.chain.workers[0].address
    task = offers(mirror, tag=TEE).but(request={}).task()
    proof = mirror.enclave_sign(enclave, me, task, TRUE)
    assert mirror.contribute(me, task, TRUE) is not None, "no enclave"
    wrong = mirror.permit(me, task, enclave=enclave.address, enclave_sign=bytes(65))
    assert mirror.contribute(me, task, TRUE, permit=wrong) is not None
    right = mirror.permit(me, task, enclave=enclave.address, enclave_sign=proof)
    assert mirror.contribute(me, task, FALSE, permit=right) is not None, "another result"
    assert mirror.contribute(me, task, TRUE, permit=right) is None
    assert mirror.reveal(me, task, TRUE) is None
    assert mirror.finalize(task) is None


def test_a_broker_speaks_for_the_scheduler_about_enclaves(mirror: Mirror):
    broker, enclave = mirror.chain.workers[4:6]
    me = mirror.chain.workers[0].address
    task = offers(mirror, tag=TEE).task()
    mirror.set_broker(broker.address)
    proof = mirror.enclave_sign(enclave, me, task, TRUE)
    vouched = {"enclave": enclave.address, "enclave_sign": proof}
    by_scheduler = mirror.permit(me, task, **vouched)
    assert mirror.contribute_and_finalize(me, task, TRUE, permit=by_scheduler) is not None
    by_broker = mirror.permit(me, task, **vouched, signer=broker)
    assert mirror.contribute_and_finalize(me, task, TRUE, permit=by_broker) is None
    plain = offers(mirror).task()
    assert mirror.contribute(me, plain, TRUE) is None, "without an enclave, the scheduler"


def test_claims_come_in_lists(mirror: Mirror):
    wanted = offers(mirror, volume=4)
    deal = mirror.ledger.clerk.deals[wanted.deal()]
    one, two, three, four = (deal.task_id(index) for index in deal.indices)
    assert mirror.initialize_array([deal.id] * 2, [0, 1]) is None
    assert mirror.claim_array([one]) is not None, "too early"
    assert mirror.initialize_and_claim([deal.id], [2]) is not None, "too early"
    over = deal.final_deadline
    assert mirror.claim_array([one, one], at=over) is not None
    assert mirror.claim_array([one, three]) is not None, "one was never opened"
    assert mirror.claim_array([one, two]) is None
    assert mirror.initialize_and_claim([deal.id] * 2, [2, 2]) is not None
    assert mirror.initialize_and_claim([deal.id], [2, 3]) is not None
    assert mirror.initialize_and_claim([deal.id] * 2, [2, 3]) is None
    assert mirror.claim(four) is not None


def test_money_that_is_not_there_does_not_move(mirror: Mirror):
    me, you = (worker.address for worker in mirror.chain.workers[:2])
    owned = mirror.ledger.escrow.balance(me)
    assert mirror.withdraw(me, owned + 1) is not None
    assert mirror.transfer(me, you, owned + 1) is not None
    assert mirror.transfer(me, ZERO_ADDRESS, 1) is not None
    assert mirror.transfer(me, you, owned) is None
    assert mirror.transfer(me, me, 0) is None
    assert mirror.transfer(you, you, owned) is None
    assert mirror.transfer(you, mirror.chain.hub, 5) is None, "given away"


def test_policies_hold_for_later_deals(mirror: Mirror):
    old = offers(mirror).task()
    mirror.change_policy(77, 33)
    new = offers(mirror).task()
    deals = [mirror.ledger.tasks[task].deal for task in (old, new)]
    assert [deal.worker_stake for deal in deals] == [3_000_000_002, POOL_PRICE * 77 // 100]
    me = mirror.chain.workers[0].address
    for task in (old, new):
        assert mirror.contribute(me, task, TRUE) is None
        assert mirror.reveal(me, task, TRUE) is None
        assert mirror.finalize(task) is None

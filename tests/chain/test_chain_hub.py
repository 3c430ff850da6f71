"""The hub read through our own ABI layer, on the real contracts."""

import pytest
from market_orders import orders

from tallystick.chain.abi import BadAnswer, BadArguments, decode, encode_call, parameters
from tallystick.chain.calls import Calls
from tallystick.chain.hub import Hub, NoSuchContract
from tallystick.chain.logs import (
    AccurateContribution,
    Reward,
    SchedulerNotice,
    TaskConsensus,
    TaskContribute,
    TaskFinalize,
    TaskInitialize,
    TaskReveal,
)
from tallystick.chain.logs import decode as decode_log
from tallystick.chain.records import Account, ContributionState, TaskState
from tallystick.chain.rpc import Rpc
from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused
from tallystick.poco.contribution import authorization_hash, result_hash, result_seal
from tallystick.poco.orders import (
    Operation,
    order_hash,
)
from tallystick.poco.values import Address, DealId, Digest, Hash, TaskId

pytestmark = pytest.mark.anyio

NOBODY = Address(b"\x99" * 20)
DIGEST = Digest(b"\x42" * 32)


def send(chain, actor, call, kinds=object):
    """Lets the node send `call`, and tells the hub's logs of these kinds."""
    receipt = chain.transact(actor.address, call.to, call.data)
    assert receipt["status"] == "0x1", call
    logs = (decode_log(raw) for raw in receipt["logs"])
    return [log for log in logs if log is not None and isinstance(log, kinds)]


async def test_a_task_is_followed_from_its_orders_to_its_reward(shared_chain, hub: Hub):
    chain, worker = shared_chain, shared_chain.workers[0]
    terms = orders(chain, hub.domain, params='{"iexec_args":"ü"}', volume=3)
    (notice,) = send(chain, chain.requester, hub.calls.match_orders(*terms), SchedulerNotice)
    assert notice.workerpool == chain.workerpool
    assert notice.at.timestamp == (await hub.head()).timestamp

    deal = await hub.deal(notice.deal)
    assert (deal.trust, deal.category, deal.time_unit) == (1, 0, 300)
    assert (deal.bot_first, deal.bot_size, deal.worker_stake) == (0, 3, 3_000)
    assert (deal.start, deal.params) == (notice.at.timestamp, '{"iexec_args":"ü"}')
    assert deal.app.owner == chain.app_owner.address
    assert deal.workerpool.owner == chain.scheduler.address
    assert await hub.consumed(order_hash(terms[3], hub.domain)) == 3

    task = deal.task_id(2)
    assert await hub.task(task) is None
    (begun,) = send(chain, chain.scheduler, hub.calls.initialize(deal.id, 2), TaskInitialize)
    assert (begun.task, begun.workerpool) == (task, chain.workerpool)
    seen = await hub.task(task)
    assert (seen.state, seen.deal, seen.index) == (TaskState.ACTIVE, deal.id, 2)
    assert seen.final_deadline == deal.final_deadline
    assert seen.contribution_deadline == deal.contribution_deadline

    permit = Wallet(chain.scheduler.key).sign_message(authorization_hash(worker.address, task))
    vote = result_hash(task, DIGEST)
    seal = result_seal(worker.address, task, DIGEST)
    assert await hub.contribution(task, worker.address) is None
    contribute = hub.calls.contribute(task, vote, seal, authorization=permit)
    logs = send(chain, worker, contribute, TaskContribute | TaskConsensus)
    assert [(type(log), log.result_hash) for log in logs] == [
        (TaskContribute, vote),
        (TaskConsensus, vote),
    ]
    _, account = await hub.together(hub.queries.task(task), hub.queries.account(worker.address))
    assert account.locked == 3_000

    (told,) = send(chain, worker, hub.calls.reveal(task, DIGEST), TaskReveal)
    assert (told.worker, told.digest) == (worker.address, DIGEST)
    finalize = hub.calls.finalize(task, b'{"storage":"none"}')
    done = send(chain, chain.scheduler, finalize, TaskFinalize | Reward | AccurateContribution)
    assert TaskFinalize(task, b'{"storage":"none"}', done[-1].at) in done
    assert {(log.account, log.amount) for log in done if isinstance(log, Reward)} >= {
        (worker.address, 9_900),
        (chain.scheduler.address, 100),
    }
    assert (await hub.task(task)).state is TaskState.COMPLETED
    contribution = await hub.contribution(task, worker.address)
    assert (contribution.state, contribution.seal) == (ContributionState.PROVED, seal)


async def test_what_does_not_exist_is_said_so(shared_chain, hub: Hub):
    assert await hub.deal(DealId(b"\x01" * 32)) is None
    assert await hub.task(TaskId(b"\x01" * 32)) is None
    assert await hub.score(NOBODY) == 0
    assert await hub.account(NOBODY) == Account(0, 0)
    assert await hub.balance(NOBODY) == await hub.rlc_balance(NOBODY) == 0
    with pytest.raises(Refused, match="no category 99"):
        await hub.category(99)
    for read in (hub.app, hub.dataset, hub.workerpool):
        with pytest.raises(NoSuchContract, match=f"at {NOBODY} on chain 31337"):
            await read(NOBODY)


async def test_an_address_without_a_hub_is_refused(shared_chain, rpc: Rpc):
    for address in (NOBODY, shared_chain.rlc):
        with pytest.raises(NoSuchContract, match="no PoCo hub"):
            await Hub.open(rpc, address)


async def test_assets_accounts_and_addresses_are_read(shared_chain, hub: Hub):
    chain = shared_chain
    app = await hub.app(chain.app)
    assert (app.owner, app.type) == (chain.app_owner.address, "DOCKER")
    assert app.multiaddr == b"127.0.0.1:5000/test/app:1"
    assert app.checksum == Hash(b"\x11" * 32)
    pool = await hub.workerpool(chain.workerpool)
    assert (pool.description, pool.stake_ratio, pool.reward_ratio) == ("test pool", 30, 1)
    assert hub.token == chain.rlc
    assert hub.registries.workerpool == chain.workerpool_registry
    assert await hub.ask(hub.queries.categories()) == 7
    separator = await hub.ask(hub.queries.domain_separator())
    assert separator == hub.domain.separator


async def test_money_moves_between_wallet_and_hub(shared_chain, hub: Hub):
    chain, worker = shared_chain, shared_chain.workers[5]
    before, inside = await hub.rlc_balance(worker.address), await hub.account(worker.address)
    send(chain, worker, hub.calls.deposit(70))
    send(chain, worker, hub.calls.withdraw(20))
    send(chain, worker, hub.calls.transfer_rlc(NOBODY, 5))
    assert await hub.rlc_balance(worker.address) == before - 55
    assert (await hub.account(worker.address)).stake == inside.stake + 50
    assert await hub.rlc_balance(NOBODY) == 5


async def test_orders_are_signed_and_closed_on_chain(shared_chain, hub: Hub):
    (app, *_), owner = orders(shared_chain, hub.domain, salt=77), shared_chain.app_owner
    key = order_hash(app, hub.domain)
    send(shared_chain, owner, hub.calls.manage_order(app, Operation.SIGN))
    assert await hub.ask(hub.queries.presigned(key)) == owner.address
    send(shared_chain, owner, hub.calls.manage_order(app, Operation.CLOSE))
    assert await hub.consumed(key) == app.volume


def test_calls_know_when_they_are_the_same():
    places = [Address(bytes([n]) * 20) for n in range(1, 6)]
    calls = Calls(*places)
    task = TaskId(b"\x05" * 32)
    assert calls.reveal(task, DIGEST) == calls.reveal(task, DIGEST)
    assert calls.reveal(task, DIGEST) != calls.claim(task)
    assert calls.reveal(task, DIGEST).data[:4].hex() == "fc334e8c"
    assert DIGEST.hex() not in repr(calls.reveal(task, DIGEST))


def test_signatures_are_taken_apart():
    assert parameters("f()") == ()
    assert parameters("f((a,(b,c)[])[2],d)") == ("(a,(b,c)[])[2]", "d")


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(BadArguments):
        encode_call("f(uint256)", (-1,))
    with pytest.raises(BadArguments):
        encode_call("f(bytes32)", (b"\x01" * 33,))
    with pytest.raises(BadAnswer):
        decode(("uint256",), b"")


def test_broken_text_of_a_stranger_is_still_read():
    word = bytes(31) + b"\x20" + bytes(31) + b"\x02" + b"\xff\xfe" + bytes(30)
    assert decode(("string",), word) == ("\ufffd\ufffd",)

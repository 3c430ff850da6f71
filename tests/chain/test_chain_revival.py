"""A market's node dies and comes back older: what three wallets had sent is done again."""

import gzip

import anyio
import pytest
from market_orders import orders

from tallystick.chain.heads import Heads
from tallystick.chain.hub import Hub
from tallystick.chain.records import ContributionState, TaskState
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.devnet.anvil import Anvil, AnvilOptions
from tallystick.poco.contribution import authorization_hash, result_hash, result_seal
from tallystick.poco.deal import Deal, deal_id
from tallystick.poco.orders import order_hash
from tallystick.poco.values import Digest

pytestmark = pytest.mark.anyio

DIGEST = Digest(b"\x42" * 32)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def life(chain, hub: Hub):
    """A task's transactions in order: who sends what. And the task."""
    terms = orders(chain, hub.domain)
    deal = deal_id(order_hash(terms[3], hub.domain), 0)
    task = Deal(deal, start=0, time_unit=300, trust=1).task_id(0)
    worker = chain.workers[0]
    permit = Wallet(chain.scheduler.key).sign_message(authorization_hash(worker.address, task))
    contribute = hub.calls.contribute(
        task,
        result_hash(task, DIGEST),
        result_seal(worker.address, task, DIGEST),
        authorization=permit,
    )
    return task, (
        (chain.requester, hub.calls.match_orders(*terms)),
        (chain.scheduler, hub.calls.initialize(deal, 0)),
        (worker, contribute),
        (worker, hub.calls.reveal(task, DIGEST)),
        (chain.scheduler, hub.calls.finalize(task, b"link")),
    )


async def test_a_node_that_lost_a_whole_task_gets_it_again(chain, tmp_path, anvil_binary):
    state = tmp_path / "state.json"
    state.write_bytes(gzip.decompress(bytes.fromhex(chain.rpc("anvil_dumpState")[2:])))
    async with Rpc([chain.url]) as rpc, anyio.create_task_group() as tasks:
        hub, heads = await Hub.open(rpc, chain.hub), Heads(rpc, chain.ws_url, poll=0.1)
        tasks.start_soon(heads.run)
        task, steps = life(chain, hub)
        senders = {}
        for actor in {actor.role: actor for actor, _ in steps}.values():
            senders[actor.role] = Sender(
                rpc,
                Wallet(actor.key),
                tmp_path / f"{actor.role}.sqlite",
                chain_id=chain.chain_id,
                heads=heads,
            )
            tasks.start_soon(senders[actor.role].run)
        for actor, call in steps:
            await senders[actor.role].send(call)
        assert (await hub.task(task)).state is TaskState.COMPLETED

        chain.node.kill()
        await anyio.sleep(0.2)
        options = AnvilOptions(
            binary=anvil_binary,
            folder=tmp_path / "again",
            port=chain.node.port,
            state=state,
            block_time=1,
        )
        with Anvil(options):
            assert await hub.task(task) is None
            with anyio.fail_after(30):
                while (found := await hub.task(task)) is None or (
                    found.state is not TaskState.COMPLETED
                ):
                    await heads.change(heads.count, within=2)
            vote = await hub.contribution(task, chain.workers[0].address)
            assert vote.state is ContributionState.PROVED
            assert all(sender.foreign == () for sender in senders.values())
            tasks.cancel_scope.cancel()

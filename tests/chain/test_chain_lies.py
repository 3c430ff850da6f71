"""One of two nodes contradicts what is known: another one is asked, of a real chain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from chain_lab import BELL, CLAIMED, Lab, ring, rung

from tallystick.chain.bloom import bloom_of, may_hold
from tallystick.chain.heads import Heads
from tallystick.chain.queries import read_head
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Patience, Sender
from tallystick.chain.watcher import Blocks, Memory, Watcher
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import ZERO_ADDRESS, DealId, Hash
from tallystick.scheduler import deals

pytestmark = pytest.mark.anyio


class Twisted(Rpc):
    """The first node tells what `twist` makes of its answers, the second one the truth."""

    def __init__(self, lab: Lab, twist, *, nodes: int = 2) -> None:
        port = lab.url.rsplit(":", 1)[1]
        urls = [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
        super().__init__(urls[:nodes], timeout=60, survey_every=3600)
        self._twist = twist
        self.lied = anyio.Event()

    async def _post(self, node: Any, body: Any) -> Any:
        told = await super()._post(node, body)
        if "127.0.0.1" not in node.url:
            return told
        asked = body if isinstance(body, list) else [body]
        answers = {each["id"]: each for each in (told if isinstance(told, list) else [told])}
        for each in asked:
            lie = self._twist(each["method"], answers[each["id"]].get("result"))
            if lie != answers[each["id"]].get("result"):
                self.lied.set()
            answers[each["id"]]["result"] = lie
        return told


def no_logs(method: str, result: Any) -> Any:
    return [] if method == "eth_getLogs" else result


async def told(rpc: Rpc, lab: Lab, numbers: int) -> list[int]:
    """What a watcher hears while the bell is rung."""
    found: list[int] = []
    all_heard = anyio.Event()
    heads = Heads(rpc, poll=0.05)
    watcher = Watcher(rpc, address=BELL, topics=[CLAIMED], cursor=Memory(), heads=heads)

    async def listen() -> None:
        async for news in watcher.follow():
            if isinstance(news, Blocks):
                found.extend(rung(news.logs))
            if len(found) >= numbers:
                all_heard.set()
            watcher.taken(news)

    async with Rpc([lab.url]) as honest, anyio.create_task_group() as tasks:
        tasks.start_soon(heads.run)
        tasks.start_soon(listen)
        sender = Sender(honest, lab.wallet(), lab._folder / "book.db", chain_id=31337)
        for number in range(1, numbers + 1):
            await sender.send(ring(number))
        with anyio.fail_after(60):
            await all_heard.wait()
        tasks.cancel_scope.cancel()
    return found


async def test_logs_that_a_node_leaves_out_are_had_from_the_other(lab: Lab):
    async with Twisted(lab, no_logs) as rpc:
        assert await told(rpc, lab, 3) == [1, 2, 3]
        assert rpc.lied.is_set()


async def test_one_node_that_has_not_indexed_a_block_yet_is_asked_again(lab: Lab):
    late: list[Any] = []

    def twist(method: str, result: Any) -> Any:
        if method != "eth_getLogs" or not result or len(late) >= 2:
            return result
        late.append(result)
        return []

    async with Twisted(lab, twist, nodes=1) as rpc:
        assert await told(rpc, lab, 2) == [1, 2]
        assert len(late) == 2


async def test_what_every_node_tells_is_so_though_the_header_says_more(lab: Lab):
    """A bloom may be wrong about what a block has."""

    def twist(method: str, result: Any) -> Any:
        if method == "eth_getBlockByNumber" and result:
            return {**result, "logsBloom": f"0x{bloom:0512x}"}
        return result

    bloom = bloom_of([{"address": str(BELL), "topics": [str(CLAIMED)]}])
    news = anyio.Event()
    async with Twisted(lab, twist, nodes=1) as rpc:
        watcher = Watcher(rpc, address=BELL, topics=[CLAIMED], cursor=Memory())
        with anyio.fail_after(60):
            async for _ in watcher.follow():
                news.set()
                break
    assert news.is_set()


async def test_the_bloom_of_a_real_block_tells_which_logs_it_may_have(lab: Lab):
    async with Rpc([lab.url]) as rpc:
        sender = Sender(rpc, lab.wallet(), lab._folder / "book.db", chain_id=31337)
        receipt = await sender.send(ring(1))
        head = read_head(await rpc.call("eth_getBlockByNumber", hex(receipt.block), False))
    assert may_hold(head.bloom, bytes(BELL), bytes(CLAIMED))
    assert not may_hold(head.bloom, bytes(CLAIMED)[:20], bytes(CLAIMED))
    assert not may_hold(0, bytes(BELL))
    assert not may_hold((1 << 2048) - 1, bytes(BELL))


async def test_a_node_that_drops_transactions_is_not_the_last_one_asked(lab: Lab):
    """It says that it has them, as nodes do to which nobody listens."""
    dropped = set()

    class Drops(Twisted):
        async def _post(self, node: Any, body: Any) -> Any:
            one = body if isinstance(body, dict) else body[-1]
            if "127.0.0.1" in node.url and one["method"] == "eth_sendRawTransaction":
                dropped.add(one["params"][0])
                body[-1]["method"], body[-1]["params"] = "eth_chainId", []
            return await super()._post(node, body)

    def knows(method: str, result: Any) -> Any:
        return result or ({} if method == "eth_getTransactionByHash" else None)

    async with Drops(lab, knows) as rpc:
        patience = Patience(blocks=1, seconds=0.1)
        sender = Sender(
            rpc, lab.wallet(), lab._folder / "b.db", chain_id=31337, patience=patience
        )
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(blocks, lab)
                assert rung((await sender.send(ring(7))).logs) == [7]
                tasks.cancel_scope.cancel()
    assert dropped


async def blocks(lab: Lab) -> None:
    while True:
        await anyio.sleep(0.1)
        lab.mine()


async def test_a_node_that_miscounts_makes_no_strangers(lab: Lab):
    """One look at it would close the gate for new work until the operator opens it."""
    wrong = {"by": 0}

    def twist(method: str, result: Any) -> Any:
        if method == "eth_getTransactionCount":
            return hex(int(result, 16) + wrong["by"])
        return result

    async with Twisted(lab, twist) as rpc:
        sender = Sender(rpc, lab.wallet(), lab._folder / "book.db", chain_id=31337)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sender.run)
            with anyio.fail_after(60):
                await sender.send(ring(1))
                wrong["by"] = 3
                await rpc.lied.wait()
                await sender.send(ring(2))
            assert sender.foreign == ()
            tasks.cancel_scope.cancel()


async def test_a_doubted_node_is_asked_last_for_a_while(lab: Lab):
    async with Twisted(lab, lambda method, result: result) as rpc:
        first, second = rpc.urls
        await rpc.call("eth_chainId")
        assert rpc.in_use == first
        rpc.doubt()
        await rpc.call("eth_chainId")
        assert rpc.in_use == second
        rpc.doubt()
        await rpc.call("eth_chainId")
        assert rpc.in_use == first
    async with Rpc([lab.url]) as alone:
        alone.doubt()
        assert int(await alone.call("eth_chainId"), 16) == 31337


class Forgetful:
    """A hub whose node tells the notice of a deal before it has the deal."""

    def __init__(self, block: dict[str, str] | None, deal: Any, late: int) -> None:
        self._block, self._deal, self._late = block, deal, late
        self.rpc = self

    async def deal(self, id: Any) -> Any:
        self._late -= 1
        return None if self._late >= 0 else self._deal

    async def call(self, method: str, *params: Any) -> Any:
        return self._block


HASH = "0x" + "ab" * 32


@pytest.mark.parametrize("stands", [True, False])
async def test_a_deal_that_the_node_does_not_have_yet_is_not_left_out(stands: bool):
    """Unless its block was taken back: then its notice comes again."""
    block = {"number": "0x5", "parentHash": HASH, "timestamp": "0x1"}
    block["hash"] = HASH if stands else "0x" + "cd" * 32
    deal = SimpleNamespace(id=DealId(bytes(32)), bot_size=1, indices=(0,), task_id=lambda i: i)
    born: list[Any] = []
    take = deals.births(Forgetful(block, deal, 1), ZERO_ADDRESS, lambda *a: born.append(a))  # type: ignore[arg-type]
    at = SimpleNamespace(block=5, block_hash=Hash(HASH), index=0, transaction=Hash(HASH))
    notice = SimpleNamespace(workerpool=ZERO_ADDRESS, deal=DealId(bytes(32)), at=at)
    if stands:
        with pytest.raises(Unavailable, match="does not have it"):
            await take(notice)  # type: ignore[arg-type]
        await take(notice)  # type: ignore[arg-type]
        assert len(born) == 1
    else:
        await take(notice)  # type: ignore[arg-type]
        assert not born

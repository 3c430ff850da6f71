"""Nodes that fail, lag, lie about nothing and talk nonsense."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
from chain_lab import BELL, Lab

from tallystick.chain.answers import NodeError, NotReady, Reverted, error_of
from tallystick.chain.heads import Heads, heads
from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import Refused, Unavailable

pytestmark = pytest.mark.anyio


@contextmanager
def node(answer) -> Iterator[str]:
    """A server that says what `answer(request)` tells: an object, or bytes as they are."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told = answer(asked)
            status, body = told if isinstance(told, tuple) else (200, told)
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def honest(results, height=100):
    """Answers each request by its method's entry in `results`."""

    def one(request):
        result = {"eth_blockNumber": hex(height), **results}[request["method"]]
        member = "error" if isinstance(result, dict) and "code" in result else "result"
        return {"jsonrpc": "2.0", "id": request["id"], member: result}

    return lambda asked: (
        [one(each) for each in reversed(asked)] if isinstance(asked, list) else one(asked)
    )


NOBODY_LISTENS = "http://127.0.0.1:9"


async def test_requests_that_travel_together_are_answered_in_order(lab: Lab, lab_rpc: Rpc):
    zero = {"to": str(BELL), "data": "0x" + "00" * 32}
    chain, refusal, nonsense, block = await lab_rpc.batch(
        [
            ("eth_chainId", ()),
            ("eth_call", (zero, "latest")),
            ("eth_nonsense", ()),
            ("eth_blockNumber", ()),
        ]
    )
    assert (int(chain, 16), int(block, 16)) == (31337, lab.height)
    assert isinstance(refusal, Reverted)
    assert isinstance(refusal, Refused)
    assert isinstance(nonsense, NodeError)
    assert nonsense.code == -32601
    with pytest.raises(Reverted):
        await lab_rpc.call("eth_call", zero, "latest")
    many = await lab_rpc.batch([("eth_blockNumber", ())] * 250)
    assert set(many) == {block}


async def test_what_a_node_does_not_have_yet_is_asked_for_again(lab: Lab, lab_rpc: Rpc):
    unborn = hex(lab.height + 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, lab.mine)
        assert await lab_rpc.call("eth_getBalance", str(BELL), unborn) == "0x0"
    with pytest.raises(NotReady, match="BlockOutOfRange"):
        await lab_rpc.call("eth_getBalance", str(BELL), hex(10**6))


async def test_reasons_are_read():
    text = "0x08c379a0" + (32).to_bytes(32, "big").hex() + (4).to_bytes(32, "big").hex()
    assert error_of({"code": 3, "message": "x", "data": text + b"0x06".hex().ljust(64, "0")})
    said = error_of({"code": 3, "message": "x", "data": text + b"0x06".hex().ljust(64, "0")})
    panic = error_of(
        {"message": "reverted", "data": "0x4e487b71" + (17).to_bytes(32, "big").hex()}
    )
    assert (said.reason, panic.reason) == ("0x06", "panic 0x11")
    assert error_of({"code": 3, "message": "execution reverted", "data": "0x"}).reason == ""
    assert error_of({"code": 3, "message": "", "data": {"data": "0x1234"}}).reason == "0x1234"
    assert error_of({"code": 3, "message": "", "data": "0x08c379a0ff"}).reason == "0x08c379a0ff"
    assert isinstance(error_of("no object"), NodeError)


async def test_the_next_node_is_asked_when_one_is_down():
    with node(honest({"eth_chainId": "0x7"})) as alive:
        async with Rpc([NOBODY_LISTENS, alive]) as rpc:
            assert await rpc.call("eth_chainId") == "0x7"
            assert await rpc.call("eth_chainId") == "0x7"


async def test_nobody_answers_is_unavailable_and_names_the_nodes():
    async with Rpc([NOBODY_LISTENS]) as rpc:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"):
            await rpc.call("eth_chainId")
    async with Rpc([NOBODY_LISTENS, "http://127.0.0.1:10"]) as rpc:
        with pytest.raises(Unavailable, match=r"no node .*:9 .*:10 "):
            await rpc.call("eth_chainId")


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"<html>", b"[]", b"{}", b"[1]", b'{"id":0,"result":1}', (503, b""), (429, {})],
)
async def test_nonsense_is_no_answer(nonsense):
    with node(lambda asked: nonsense) as broken, node(honest({"eth_chainId": "0x1"})) as sound:
        async with Rpc([broken]) as rpc:
            with pytest.raises(Unavailable):
                await rpc.call("eth_chainId")
        async with Rpc([broken, sound]) as rpc:
            assert await rpc.call("eth_chainId") == "0x1"


async def test_a_node_refuses_a_whole_message_with_its_own_words():
    refusal = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32600, "message": "batch too big"},
    }
    with node(lambda asked: refusal) as strict:
        async with Rpc([strict]) as rpc:
            with pytest.raises(Unavailable, match="batch too big"):
                await rpc.batch([("eth_chainId", ())] * 2)


async def test_a_node_that_lags_is_not_believed_over_a_fresher_one():
    stale = honest({"eth_getBalance": "0xbad"}, height=90)
    fresh = honest({"eth_getBalance": "0x600d"}, height=100)
    with node(stale) as slow, node(fresh) as quick:
        async with Rpc([slow, quick]) as rpc:
            assert await rpc.call("eth_getBalance", "0x", "latest") == "0x600d"


async def test_a_lagging_node_is_not_believed_when_the_fresher_one_is_gone():
    stale = honest({"eth_getBalance": "0xbad"}, height=90)
    with node(stale) as slow, node(honest({"eth_getBalance": "0x600d"})) as quick:
        urls = [quick, slow]
        async with Rpc(urls) as rpc:
            await rpc.call("eth_getBalance", "0x", "latest")
            rpc._nodes[0].url = NOBODY_LISTENS
            with pytest.raises(Unavailable, match="at block 90, behind 100"):
                await rpc.call("eth_getBalance", "0x", "latest")
            # Nobody has seen block 100 for a while: the chain itself went back.
            rpc._forget = 0.0
            assert await rpc.call("eth_getBalance", "0x", "latest") == "0xbad"


async def test_a_node_that_is_stuck_is_left():
    heights = {"stuck": 100}

    def stuck(asked):
        return honest({"eth_chainId": "0x1"}, heights["stuck"])(asked)

    with node(stuck) as first, node(honest({"eth_chainId": "0x2"}, 101)) as second:
        async with Rpc([first, second], survey_every=0.1) as rpc:
            assert await rpc.call("eth_chainId") == "0x2"
            heights["stuck"] = 102
            await anyio.sleep(0.15)
            assert await rpc.call("eth_chainId") == "0x1"


async def test_a_node_whose_answers_cross_each_other_is_not_left():
    """The later question is answered first, a block later: the other answer is not old news."""
    overtaken = threading.Event()

    def crossing(asked):
        methods = {each["method"] for each in asked} if isinstance(asked, list) else set()
        if "eth_slow" in methods:
            assert overtaken.wait(60)
        later = methods & {"eth_quick", "eth_after"}
        return honest(TELLS_FIRST, height=101 if later else 100)(asked)

    told = {}
    with node(crossing) as first, node(honest({"eth_after": "second"})) as second:
        async with Rpc([first, second], survey_every=3600) as rpc:
            assert await rpc.call("eth_before") == "first"

            async def slow() -> None:
                told["slow"] = await rpc.call("eth_slow")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(slow)
                await anyio.wait_all_tasks_blocked()
                told["quick"] = await rpc.call("eth_quick")
                overtaken.set()
            assert (await rpc.batch([("eth_after", ())]), rpc.in_use) == (["first"], first)
    assert told == {"slow": "first", "quick": "first"}


TELLS_FIRST = {f"eth_{name}": "first" for name in ("before", "slow", "quick", "after")}


async def test_a_node_that_was_killed_is_used_again(lab: Lab, lab_rpc: Rpc):
    state = lab.dump()
    assert int(await lab_rpc.call("eth_blockNumber"), 16) == lab.height
    lab.die()
    with pytest.raises(Unavailable):
        await lab_rpc.call("eth_blockNumber")
    lab.rise(state)
    assert int(await lab_rpc.call("eth_blockNumber"), 16) == lab.height


class Proxy:
    """A TCP relay that can be cut, and can go silent without closing anything."""

    def __init__(self, port: int) -> None:
        self._target, self.port = port, 0
        self._scope = anyio.CancelScope()
        self.deaf = False
        self.served, self.second = 0, anyio.Event()

    async def run(self, *, task_status) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener:
            self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
            task_status.started()
            await listener.serve(self._relay)

    def cut(self) -> None:
        self._scope.cancel()
        self._scope = anyio.CancelScope()

    async def _relay(self, client) -> None:
        self.served += 1
        if self.served == 2:
            self.second.set()
        with self._scope:
            async with (
                client,
                await anyio.connect_tcp("127.0.0.1", self._target) as server,
                anyio.create_task_group() as both,
            ):
                both.start_soon(self._pump, client, server, both)
                both.start_soon(self._pump, server, client, both)

    async def _pump(self, source, sink, both) -> None:
        try:
            async for data in source:
                if not self.deaf:
                    await sink.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        both.cancel_scope.cancel()


async def test_blocks_are_told_by_subscription(lab: Lab, lab_rpc: Rpc):
    async with anyio.create_task_group() as tasks:
        seen = Heads(lab_rpc, lab.ws_url, poll=60)
        tasks.start_soon(seen.run)
        count = await seen.change(0, within=5)
        for _ in range(3):
            lab.mine()
            began = anyio.current_time()
            count = await seen.change(count, within=5)
            assert anyio.current_time() - began < 1.0
        assert seen.latest.number == lab.height
        tasks.cancel_scope.cancel()


async def test_a_dropped_subscription_loses_no_block(lab: Lab, lab_rpc: Rpc):
    async with anyio.create_task_group() as tasks:
        proxy = Proxy(lab.port)
        await tasks.start(proxy.run)
        seen = Heads(lab_rpc, f"ws://127.0.0.1:{proxy.port}", poll=0.05)
        tasks.start_soon(seen.run)
        count = await seen.change(0, within=5)
        assert proxy.served == 1
        proxy.cut()
        lab.mine(3)
        with anyio.fail_after(5):
            while seen.latest.number != lab.height:
                count = await seen.change(count, within=5)
        tasks.cancel_scope.cancel()


async def test_a_subscription_that_falls_silent_is_noticed(lab: Lab, lab_rpc: Rpc, monkeypatch):
    monkeypatch.setattr("tallystick.chain.heads.SILENCE", 0.2)
    monkeypatch.setattr("tallystick.chain.heads.RETRY", 0.2)
    async with anyio.create_task_group() as tasks:
        proxy = Proxy(lab.port)
        await tasks.start(proxy.run)
        seen = Heads(lab_rpc, f"ws://127.0.0.1:{proxy.port}", poll=0.05)
        tasks.start_soon(seen.run)
        await seen.change(0, within=5)
        proxy.deaf = True
        lab.mine()
        with anyio.fail_after(5):
            while seen.latest.number != lab.height:
                await seen.change(seen.count, within=5)
        proxy.deaf = False
        with anyio.fail_after(5):
            await proxy.second.wait()
        tasks.cancel_scope.cancel()


async def test_without_a_subscription_it_is_asked(lab: Lab, lab_rpc: Rpc):
    numbers = []
    with anyio.fail_after(5):
        async for number in heads(lab_rpc, "ws://127.0.0.1:9", poll=0.02):
            numbers.append(number)
            if len(numbers) == 3:
                break
            lab.mine()
    assert numbers == [lab.height - 2, lab.height - 1, lab.height]


async def test_nobody_waits_so_the_chain_is_not_followed_until_somebody_does(
    lab: Lab, lab_rpc: Rpc, monkeypatch
):
    monkeypatch.setattr("tallystick.chain.heads.LINGER", 0.3)
    proxy = Proxy(lab.port)
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.run)
        seen = Heads(lab_rpc, f"ws://127.0.0.1:{proxy.port}", poll=0.02)
        tasks.start_soon(seen.run)
        with anyio.fail_after(60):
            await seen.change(0, within=60)
            while seen.latest is not None:  # noqa: ASYNC110 (nobody tells of a rest)
                await anyio.sleep(0.02)
            told = seen.count
            lab.mine(3)
            await lab_rpc.call("eth_blockNumber")
            assert (seen.count, seen.latest, proxy.served) == (told, None, 1)
            await seen.change(told, within=60)
        assert seen.latest is not None
        assert seen.latest.number == lab.height
        assert proxy.served == 2
        tasks.cancel_scope.cancel()

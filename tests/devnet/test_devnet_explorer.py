"""The explorer on a real node with the real contracts: decoded, bounded, and never fooled."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest

from tallystick.chain import contracts as sigs
from tallystick.chain.abi import selector
from tallystick.chain.rpc import Rpc
from tallystick.devnet.actors import RLC, register_app
from tallystick.devnet.explorer import decoding
from tallystick.devnet.explorer.abis import Dictionary
from tallystick.devnet.explorer.app import application
from tallystick.devnet.explorer.door import explore
from tallystick.devnet.explorer.index import Index
from tallystick.devnet.explorer.known import Known
from tallystick.devnet.script import calldata
from tallystick.poco.values import Address, Hash

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
SOMEBODY = Address("0x" + "5b" * 20)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def dictionary(poco_packages) -> Dictionary:
    return Dictionary.of(poco_packages.poco)


def known_of(chain, package: Path) -> Known:
    return Known(
        chain_id=chain.chain_id,
        rpc_url=chain.url,
        ws_url=chain.ws_url,
        hub=chain.hub,
        roles={"requester": chain.requester.address, "scheduler": chain.scheduler.address},
        contracts={
            "hub": chain.hub,
            "RLC token": chain.rlc,
            "app registry": chain.app_registry,
            "dataset registry": chain.dataset_registry,
            "workerpool registry": chain.workerpool_registry,
            "workerpool": chain.workerpool,
        },
        package=package,
    )


@asynccontextmanager
async def visited(chain, dictionary, **how) -> AsyncIterator[httpx2.AsyncClient]:
    async with application(known_of(chain, Path()), dictionary) as app:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", **how
        ) as http:
            yield http


def text(html: str) -> str:
    """What a reader sees, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.mark.anyio
async def test_what_was_done_is_told_by_its_name_and_arguments(chain, dictionary):
    receipt = chain.transact(
        chain.requester.address,
        chain.hub,
        calldata("withdrawTo(uint256,address)", 3 * RLC, SOMEBODY),
    )
    async with visited(chain, dictionary) as http:
        front = await http.get("/")
        assert front.status_code == 200
        assert "withdrawTo" in text(front.text)
        assert "requester" in text(front.text)
        page = await http.get(f"/transaction/{receipt['transactionHash']}")
        shown = text(page.text)
        assert "amount 3 RLC (3,000,000,000 nRLC)" in shown
        assert f"/account/{SOMEBODY}" in page.text
        assert f"{int(receipt['gasUsed'], 16):,} of 3,000,000" in shown
        assert "Transfer of hub from requester" in shown  # the stake, as an event
        mine = await http.get(f"/account/{SOMEBODY}")
        assert "withdrawTo" in text(mine.text)  # it is only an argument there
        assert "RLC in its hands 3" in text(mine.text)
        block = await http.get(f"/block/{int(receipt['blockNumber'], 16)}")
        assert "withdrawTo" in text(block.text)
        assert (await http.get(f"/block/{receipt['blockHash']}")).status_code == 200


@pytest.mark.anyio
async def test_a_refusal_is_told_in_words(chain, dictionary):
    me = chain.requester.address
    refused = chain.transact(me, chain.rlc, calldata(sigs.TRANSFER, SOMEBODY, 10**6 * RLC))
    silent = chain.transact(me, chain.hub, calldata(sigs.CLAIM, b"\x07" * 32))
    foreign = chain.transact(me, chain.hub, calldata("transferOwnership(address)", me))
    async with visited(chain, dictionary) as http:
        for receipt, words in (
            (refused, "The contract g"),
            (silent, "one of its conditions does not hold"),
            (foreign, "NotContractOwner(user 0x"),
        ):
            page = await http.get(f"/transaction/{receipt['transactionHash']}")
            assert "Refused." in text(page.text)
            assert words in text(page.text)
        listed = await http.get("/transactions", params={"what": "failed"})
        assert listed.text.count('class="state bad"') >= 3


@pytest.mark.anyio
async def test_the_unknown_stays_hex_and_the_hostile_stays_text(chain, dictionary):
    me = chain.requester.address
    strange = chain.transact(me, SOMEBODY, bytes.fromhex("deadbeef0102"))
    broken = chain.transact(me, SOMEBODY, selector(sigs.CREATE_WORKERPOOL) + b"\xff" * 64)
    app = register_app(
        chain.console,
        chain.contracts,
        owner=me,
        name=EVIL,
        image=EVIL,
        digest=Hash(b"\x22" * 32),
    )
    async with visited(chain, dictionary) as http:
        page = await http.get(f"/transaction/{strange['transactionHash']}")
        assert "0xdeadbeef0102" in page.text
        assert "Unknown function" in page.text
        page = await http.get(f"/transaction/{broken['transactionHash']}")
        assert "Arguments that do not fit" in page.text
        assert "createWorkerpool" in page.text
        shown = await http.get(f"/account/{app}")
        assert "alert(1)" in shown.text
        made = await http.get("/transactions", params={"what": "createApp"})
        link = re.search(r"/transaction/0x\w{64}", made.text)
        assert link
        decoded = await http.get(link[0])
        assert "appMultiaddr" in decoded.text
        found = await http.get("/search", params={"q": EVIL})
        for each in (shown, decoded, found):
            assert "<script>alert" not in each.text
            assert "<img" not in each.text
            assert "script-src 'self'" in each.headers["content-security-policy"]


@pytest.mark.anyio
async def test_search_leads_to_whatever_was_copied(chain, dictionary):
    receipt = chain.transact(
        chain.requester.address, chain.hub, calldata("withdraw(uint256)", 1)
    )
    hash, block = receipt["transactionHash"], receipt["blockHash"]
    leads: Mapping[str, str] = {
        hash: f"/transaction/{hash}",
        hash.upper().replace("0X", "0x"): f"/transaction/{hash}",
        block: f"/block/{block}",
        "1": "/block/1",
        "requester": f"/account/{chain.requester.address}",
        chain.requester.address.checksummed: f"/account/{chain.requester.address}",
        "RLC token": f"/account/{chain.rlc}",
    }
    async with visited(chain, dictionary) as http:
        for word, place in leads.items():
            answer = await http.get("/search", params={"q": f" {word} "})
            assert (answer.status_code, answer.headers.get("location")) == (303, place), word
        for word in ("", "no such", "0x" + "ab" * 32, "-1", "9" * 41, "٣"):
            answer = await http.get("/search", params={"q": word})
            assert answer.status_code == 200
            assert "Nothing on this chain" in answer.text or not word
        for path in ("/block/99999999", "/block/x", "/deal/1", "/task/0x" + "00" * 32):
            assert (await http.get(path)).status_code == 404, path
        for path in ("/account/0x12", "/transaction/0x" + "11" * 32, "/nothing"):
            assert (await http.get(path)).status_code == 404, path
        for path in (
            "/blocks?before=x",
            "/blocks?before=3",
            "/transactions?skip=9999",
            "/deals",
        ):
            assert (await http.get(path)).status_code == 200, path


@pytest.mark.anyio
async def test_only_this_machine_is_answered(chain, dictionary):
    async with visited(chain, dictionary) as http:
        foreign = await http.get("/", headers={"host": "evil.example"})
        assert foreign.status_code == 400
        assert (await http.get("/", headers={"host": "localhost:13004"})).status_code == 200


@pytest.mark.anyio
async def test_a_chain_that_goes_back_takes_its_pages_along(chain, dictionary):
    me = chain.requester.address
    kept = chain.transact(me, chain.hub, calldata("withdraw(uint256)", 1))
    snapshot = chain.snapshot()
    gone = chain.transact(me, chain.hub, calldata("withdraw(uint256)", 2))
    async with visited(chain, dictionary) as http:
        assert gone["transactionHash"] in (await http.get("/transactions")).text
        chain.revert(snapshot)
        chain.mine(3)
        listed = await http.get("/transactions")
        assert gone["transactionHash"] not in listed.text
        assert kept["transactionHash"] in listed.text
        assert (await http.get(f"/transaction/{gone['transactionHash']}")).status_code == 404


@pytest.mark.anyio
async def test_the_index_is_bounded_and_says_from_where_it_knows(chain, dictionary):
    me = chain.requester.address
    for _ in range(6):
        last = chain.transact(me, chain.hub, calldata("withdraw(uint256)", 1))
    chain.mine(250)
    async with Rpc([chain.url]) as rpc:
        index = Index(rpc, dictionary, most=4)
        await index.refresh()
        assert not index.entries  # the newest hundred blocks are empty
        await index.search_back()
        assert len(index.entries) == 4
        assert index.entries[-1].hash == Hash(last["transactionHash"])
        assert index.floor == index.entries[0].block
        for _ in range(3):
            chain.transact(me, chain.hub, calldata("withdraw(uint256)", 1))
        await index.refresh()
        assert len(index.entries) == 4
        shallow = Index(rpc, dictionary, depth=120)
        await shallow.search_back()
        assert len(shallow.entries) == 3


@pytest.mark.anyio
async def test_a_node_that_is_away_is_told(chain, dictionary):
    async with visited(chain, dictionary) as http:
        assert (await http.get("/")).status_code == 200
        chain.node.stop()
        away = await http.get("/")
        assert away.status_code == 503
        assert "does not answer" in away.text


@pytest.mark.anyio
async def test_new_blocks_wake_the_pages(chain, dictionary):
    async with (
        application(known_of(chain, Path()), dictionary) as app,
        served(app) as url,
        httpx2.AsyncClient(base_url=url, trust_env=False, timeout=120) as http,
        http.stream("GET", "/events") as stream,
    ):
        lines = stream.aiter_lines()
        while "event: here" not in await anext(lines):
            pass
        chain.mine()
        with anyio.fail_after(120):
            while "event: changed" not in await anext(lines):
                pass


@asynccontextmanager
async def served(app) -> AsyncIterator[str]:
    from tallystick.wire import serving

    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(
                lambda task_status: serving.serve(app, sock, task_status=task_status)
            )
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_it_waits_for_its_first_visitor(chain, poco_packages):
    said: list[str] = []
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        port = spare.getsockname()[1]
        await explore(known_of(chain, poco_packages.poco), port, said.append)
    assert said[0].startswith(f"The explorer cannot be served on port {port}: Address already")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(explore, known_of(chain, poco_packages.poco), port, said.append)
        await anyio.wait_all_tasks_blocked()
        async with httpx2.AsyncClient(trust_env=False, timeout=120) as http:
            first = await http.get(f"http://127.0.0.1:{port}/transactions")
        tasks.cancel_scope.cancel()
    assert "createApp" in first.text  # with names: the package was read
    assert len(said) == 1


def test_a_market_loads_nothing_of_it():
    told = "import sys, tallystick.devnet.market; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "tallystick.devnet.explorer.door" in loaded
    heavy = {"tallystick.devnet.explorer.app", "jinja2", "starlette", "uvicorn"}
    assert heavy & set(loaded) == set()


def test_hostile_bytes_cost_little(dictionary):
    """A list of lists whose inner offsets all point at the same long list."""
    words = [32, 400, *([400 * 32] * 400), 400, *range(400)]
    data = b"".join(word.to_bytes(32, "big") for word in words)
    made = decoding.call(dictionary, selector("initializeArray(bytes32[],uint256[])") + data)
    assert made.name == "initializeArray"
    assert decoding.call(dictionary, b"\x01").note == "unknown function"
    assert decoding.event(dictionary, [], b"").note == "unknown event"
    long = decoding.call(dictionary, selector(sigs.CLAIM) + b"\0" * (1 << 20))
    assert long.note
    assert len(long.raw) < 3_000
    assert decoding.reason(dictionary, b"") != ""
    assert "overflow" not in decoding.reason(dictionary, bytes.fromhex("4e487b71") + b"\0" * 31)
    panic = bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")
    assert "too large or negative" in decoding.reason(dictionary, panic)
    named = selector("SafeCastOverflowedUintDowncast(uint8,uint256)") + b"\0" * 31 + b"\x08"
    assert (
        decoding.reason(dictionary, named + (5).to_bytes(32, "big"))
        == "SafeCastOverflowedUintDowncast(bits 8, value 5)"
    )

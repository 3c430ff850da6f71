"""A killed chain comes back as it was: blocks, receipts, logs, and a clock that advances."""

from __future__ import annotations

import time

import anyio
import httpx2
import pytest

from tallystick.devnet.actors import RLC
from tallystick.devnet.anvil import Anvil, AnvilOptions
from tallystick.devnet.memory import Memory, resume
from tallystick.devnet.script import calldata


def restarted(chain, memory, tmp_path, *, block_time=0):
    """A node that has loaded the dump, on the port of the one that was killed."""
    memory.unpack(tmp_path / "state.json")
    options = AnvilOptions(
        binary=chain.node.options.binary,
        folder=tmp_path / "again",
        port=chain.node.port,
        state=tmp_path / "state.json",
        idle=True,
    )
    node = Anvil(options)
    resume(node.console, block_time=block_time)
    return node


def test_blocks_receipts_and_logs_survive(chain, tmp_path):
    transfer = calldata("transfer(address,uint256)", chain.owner.address, 5 * RLC)
    receipt = chain.transact(chain.requester.address, chain.rlc, transfer)
    chain.mine(3)
    questions = [
        ("eth_getTransactionReceipt", [receipt["transactionHash"]]),
        ("eth_getTransactionByHash", [receipt["transactionHash"]]),
        ("eth_getBlockByNumber", [receipt["blockNumber"], False]),
        ("eth_getBlockByNumber", ["0x0", False]),
        ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "latest"}]),
        ("eth_getLogs", [{"blockHash": receipt["blockHash"]}]),
        ("eth_blockNumber", []),
        ("eth_getTransactionCount", [str(chain.requester.address), "latest"]),
    ]
    before = chain.console.batch(questions)
    assert len(before[4]) > 30
    memory = Memory(tmp_path / "state.gz")
    memory.save(chain.console)
    chain.node.kill()
    with restarted(chain, memory, tmp_path) as node:
        assert node.port == chain.node.port
        assert node.console.batch(questions) == before


def test_the_clock_follows_the_wall_again(chain, tmp_path):
    memory = Memory(tmp_path / "state.gz")
    memory.save(chain.console)
    chain.node.kill()
    time.sleep(2.1)
    with restarted(chain, memory, tmp_path) as node:
        earliest = time.time()
        node.console.call("evm_mine")
        block = node.console.call("eth_getBlockByNumber", "latest", False)
        assert earliest - 1.5 < int(block["timestamp"], 16) < time.time() + 1.5


def test_after_time_travel_the_clock_still_goes_forward(chain, tmp_path):
    chain.set_time(chain.now + 3_600)
    before = chain.now
    memory = Memory(tmp_path / "state.gz")
    memory.save(chain.console)
    chain.node.kill()
    with restarted(chain, memory, tmp_path) as node:
        node.console.call("evm_mine")
        block = node.console.call("eth_getBlockByNumber", "latest", False)
        assert before < int(block["timestamp"], 16) < before + 3_600


@pytest.mark.anyio
async def test_a_transaction_is_in_the_dump_within_seconds(chain, tmp_path, until):
    memory = Memory(tmp_path / "state.gz")
    async with anyio.create_task_group() as group:
        group.start_soon(memory.keep, chain.console, print)
        await until(lambda: memory.exists)
        transfer = calldata("transfer(address,uint256)", chain.owner.address, 5 * RLC)
        receipt = chain.transact(chain.requester.address, chain.rlc, transfer)
        dumped = memory.path.stat().st_mtime_ns
        await until(lambda: memory.path.stat().st_mtime_ns != dumped)
        chain.node.kill()
        await anyio.sleep(1.2)  # a dead node is no reason to stop, or to lose the dump
        group.cancel_scope.cancel()
    with restarted(chain, memory, tmp_path, block_time=1) as node:
        found = node.console.call("eth_getTransactionReceipt", receipt["transactionHash"])
        assert found["blockHash"] == receipt["blockHash"]
        height = int(node.console.call("eth_blockNumber"), 16)
        await until(lambda: int(node.console.call("eth_blockNumber"), 16) > height)


def test_nothing_is_left_below_the_home_of_the_user(chain):
    chain.mine(40)
    assert [path.name for path in chain.node.options.folder.rglob("*") if path.is_file()] == []


def test_a_page_in_a_browser_cannot_command_the_chain(chain):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert httpx2.options(chain.url, headers=asked).status_code == 405
    plain = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    body = '{"jsonrpc":"2.0","id":1,"method":"evm_mine","params":[]}'
    before = chain.rpc("eth_blockNumber")
    httpx2.post(chain.url, headers=plain, content=body)
    assert chain.rpc("eth_blockNumber") == before


def test_options_say_how_the_node_runs(tmp_path):
    options = AnvilOptions(binary=tmp_path / "anvil", folder=tmp_path, port=13003, idle=True)
    assert "--no-mining" in options.command
    assert options.environment["HOME"] == str(tmp_path)

"""Transactions on a real node that stops mining, gets dear, forgets, and is killed."""

import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from chain_lab import BELL, Lab, ring, rung

from tallystick.chain.call import Call
from tallystick.chain.calls import transfer
from tallystick.chain.envelope import Price
from tallystick.chain.fees import GWEI, Fees, Network
from tallystick.chain.heads import Heads
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import OutOfGas, Patience, Sender, WrongBook
from tallystick.chain.wallet import Wallet
from tallystick.engine import timing
from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import Address

pytestmark = pytest.mark.anyio

HURRY = Patience(blocks=2, seconds=0.3, doubt=0.6, usurped=0.1)
SOMEBODY = Address(b"\x31" * 20)


class Desk:
    """A running sender and what is needed beside it."""

    def __init__(self, lab: Lab, rpc: Rpc, book: Path, tasks, **options) -> None:
        self.lab, self.wallet = lab, lab.wallet()
        heads = Heads(rpc, lab.ws_url, poll=0.05)
        options = {"patience": HURRY, "chain_id": 31337, "heads": heads, **options}
        self.sender = Sender(rpc, self.wallet, book, **options)
        self.tasks, self.receipts = tasks, {}
        tasks.start_soon(heads.run)
        tasks.start_soon(self.sender.run)

    def send(self, *numbers: int, **options) -> None:
        for number in numbers:
            self.tasks.start_soon(self._send, number, options)

    async def _send(self, number: int, options) -> None:
        try:
            self.receipts[number] = await self.sender.send(ring(number), **options)
        except Refused as refusal:
            self.receipts[number] = refusal

    async def until(self, condition, *, seconds: float = 15) -> None:
        with anyio.fail_after(seconds):
            while not condition():  # noqa: ASYNC110  a node has no event for it
                await anyio.sleep(0.02)

    async def mine_until(self, condition) -> None:
        """One block after the other, as a chain does."""
        with anyio.fail_after(15):
            while not condition():
                self.lab.mine()
                await anyio.sleep(0.1)

    async def pool(self, size: int) -> list[dict]:
        """The transactions that wait in the node, once there are so many."""
        await self.until(lambda: len(self.waiting()) == size)
        return self.waiting()

    def waiting(self) -> list[dict]:
        told = self.lab.call("txpool_content")
        senders = [*told["pending"].values(), *told["queued"].values()]
        return [transaction for nonces in senders for transaction in nonces.values()]

    @property
    def told(self) -> list[int]:
        """Everything that the bell ever reported on the present chain."""
        return all_rung(self.lab)


def all_rung(lab: Lab) -> list[int]:
    logs = lab.call("eth_getLogs", {"fromBlock": "0x0", "address": str(BELL)})
    return [int(log["topics"][1], 16) for log in logs]


@asynccontextmanager
async def desk(lab: Lab, rpc: Rpc, book: Path, **options):
    async with anyio.create_task_group() as tasks:
        yield Desk(lab, rpc, book, tasks, **options)
        tasks.cancel_scope.cancel()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.sqlite"


def fees_of(transaction: dict) -> tuple[int, int]:
    return tuple(int(transaction[k], 16) for k in ("maxFeePerGas", "maxPriorityFeePerGas"))


async def test_a_receipt_tells_what_happened(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        receipt = await d.sender.send(ring(7))
        assert rung(receipt.logs) == [7]
        told = lab.call("eth_getTransactionReceipt", str(receipt.hash))
        assert (receipt.block, receipt.status) == (int(told["blockNumber"], 16), 1)
        assert receipt.gas_used == int(told["gasUsed"], 16)
        sent = lab.call("eth_getTransactionByHash", str(receipt.hash))
        estimate = int(
            lab.call("eth_estimateGas", {"to": str(BELL), "data": sent["input"]}), 16
        )
        assert int(sent["gas"], 16) == int(estimate * 1.2)


async def test_without_run_the_one_who_waits_does_the_work(lab: Lab, lab_rpc: Rpc, book: Path):
    sender = Sender(lab_rpc, lab.wallet(), book, chain_id=31337)
    for number in (1, 2, 3):
        assert rung((await sender.send(ring(number))).logs) == [number]


async def test_many_at_once_get_their_own_nonces(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        lab.automine(False)
        d.send(*range(1, 11))
        waiting = await d.pool(10)
        assert sorted(int(each["nonce"], 16) for each in waiting) == list(range(10))
        lab.mine()
        await d.until(lambda: len(d.receipts) == 10)
    assert sorted(all_rung(lab)) == list(range(1, 11))


async def test_the_same_call_is_sent_once(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        lab.automine(False)
        results = []

        async def ask():
            results.append(await d.sender.send(ring(1)))

        for _ in range(3):
            d.tasks.start_soon(ask)
        assert len(await d.pool(1)) == 1
        d.tasks.start_soon(ask)
        await anyio.sleep(0.1)
        lab.mine()
        await d.until(lambda: len(results) == 4)
        assert len({receipt.hash for receipt in results}) == 1
        # Once it is mined, the same call is a new wish.
        lab.automine(True)
        await d.sender.send(ring(1))
    assert all_rung(lab) == [1, 1]


async def test_a_refusal_costs_nothing(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        with pytest.raises(Refused, match=r"would refuse to ring 0 .*nothing was sent"):
            await d.sender.send(ring(0))
        assert (lab.count(d.wallet), d.waiting()) == (0, [])


async def test_a_transaction_mined_in_vain_is_told(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        lab.automine(False)
        d.send(1)
        await d.pool(1)
        lab.call("anvil_setCode", str(BELL), "0x60006000fd")
        lab.mine()
        await d.until(lambda: d.receipts)
        assert isinstance(d.receipts[1], Refused)
        assert "in block" in str(d.receipts[1])


async def test_an_empty_wallet_is_told_what_it_lacks(lab: Lab, lab_rpc: Rpc, book: Path):
    poor = Wallet(b"\x09" * 32)
    lab.call("anvil_setBalance", str(poor.address), hex(10**13))
    sender = Sender(lab_rpc, poor, book, chain_id=31337)
    with pytest.raises(
        OutOfGas, match=r"has 0\.000010 .* ring 1 may take 0\.0000\d+: top it up"
    ):
        await sender.send(ring(1))
    lab.call("anvil_setBalance", str(poor.address), hex(10**18))
    assert rung((await sender.send(ring(1))).logs) == [1]


async def test_prices_follow_the_network_up_to_the_cap():
    network = Network(price=10 * GWEI, tip=GWEI, base=9 * GWEI)
    fees = Fees()
    assert fees.first(network, fees.cap) == Price(13 * GWEI, GWEI)
    dear = Network(price=20 * GWEI, tip=30 * GWEI, base=GWEI)
    assert fees.first(dear, fees.cap) == Price(22 * GWEI, 22 * GWEI)
    assert Fees(legacy=True).first(dear, fees.cap) == Price(22 * GWEI, None)
    assert fees.first(Network(price=0, tip=0, base=None), fees.cap) == Price(0, None)

    more = fees.more(Price(16 * GWEI, GWEI), network, fees.cap)
    assert more == Price(18 * GWEI, GWEI * 9 // 8)
    assert fees.more(Price(20 * GWEI, GWEI), network, fees.cap) is None
    assert fees.more(Price(17 * GWEI, None), dear, fees.cap) == Price(22 * GWEI, None)
    assert fees.more(Price(7, 0), Network(price=1, tip=0, base=1), fees.cap) == Price(8, 1)


async def test_a_transaction_that_nobody_takes_offers_more(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        lab.automine(False)
        d.send(1)
        (first,) = await d.pool(1)
        most, tip = fees_of(first)
        # The base fee rises above the offer: the transaction stays out of the blocks.
        lab.call("anvil_setNextBlockBaseFeePerGas", hex(most + GWEI))
        lab.mine()
        await d.until(lambda: d.waiting() and d.waiting()[0]["hash"] != first["hash"])
        (second,) = d.waiting()
        assert (second["nonce"], second["input"]) == (first["nonce"], first["input"])
        assert fees_of(second)[0] * 8 >= most * 9
        assert fees_of(second)[1] * 8 >= tip * 9
        await d.mine_until(lambda: d.receipts)
        assert str(d.receipts[1].hash) == second["hash"]
    assert all_rung(lab) == [1]


async def test_the_cap_is_never_exceeded(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        lab.automine(False)
        d.send(1)
        (_first,) = await d.pool(1)
        for _ in range(6):
            lab.call("anvil_setNextBlockBaseFeePerGas", hex(30 * GWEI))
            lab.mine()
            await anyio.sleep(0.1)
        offers = d.sender._book.waiting()[0].attempts
        assert all(attempt.price.most <= 22 * GWEI for attempt in offers)
        assert not d.receipts
        # A call of its own worth may offer more.
        d.send(2, cap=60 * GWEI)
        lab.call("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        await d.mine_until(lambda: len(d.receipts) == 2)
    assert sorted(all_rung(lab)) == [1, 2]


async def test_legacy_transactions_where_they_are_wanted(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book, fees=Fees(legacy=True)) as d:
        lab.automine(False)
        d.send(1)
        (first,) = await d.pool(1)
        assert first["type"] == "0x0"
        offered = int(first["gasPrice"], 16)
        lab.call("anvil_setNextBlockBaseFeePerGas", hex(offered + GWEI))
        lab.mine()
        await d.until(lambda: d.waiting() and d.waiting()[0]["hash"] != first["hash"])
        (second,) = d.waiting()
        assert int(second["gasPrice"], 16) * 8 >= offered * 9
        await d.mine_until(lambda: d.receipts)


async def test_the_earlier_form_may_win(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        lab.automine(False)
        d.send(1)
        (first,) = await d.pool(1)
        raw = "0x" + d.sender._book.waiting()[0].attempts[0].raw.hex()
        lab.call("anvil_setNextBlockBaseFeePerGas", hex(fees_of(first)[0] + GWEI))
        lab.mine()
        await d.until(lambda: d.waiting() and d.waiting()[0]["hash"] != first["hash"])
        (second,) = d.waiting()
        lab.call("anvil_dropTransaction", second["hash"])
        lab.call("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        lab.call("eth_sendRawTransaction", raw)
        lab.mine()
        await d.until(lambda: d.receipts)
        assert str(d.receipts[1].hash) == first["hash"]
    assert all_rung(lab) == [1]


async def test_a_transaction_that_the_node_forgot_is_sent_again(
    lab: Lab, lab_rpc: Rpc, book: Path
):
    async with desk(lab, lab_rpc, book) as d:
        lab.automine(False)
        d.send(1)
        (first,) = await d.pool(1)
        await anyio.sleep(0.6)
        lab.call("anvil_dropTransaction", first["hash"])
        assert d.waiting() == []
        lab.call("anvil_setNextBlockTimestamp", 2_000_000_000)
        lab.mine()
        assert (await d.pool(1))[0]["hash"] == first["hash"]
        lab.mine()
        await d.until(lambda: d.receipts)


async def test_a_reorg_cannot_take_a_transaction_away(lab: Lab, lab_rpc: Rpc, book: Path):
    async with desk(lab, lab_rpc, book) as d:
        first = await d.sender.send(ring(1))
        await d.sender.send(ring(2))
        lab.call("anvil_reorg", 2, [])
        assert all_rung(lab) == []
        await d.mine_until(lambda: sorted(all_rung(lab)) == [1, 2])
        again = lab.call("eth_getTransactionReceipt", str(first.hash))
        assert again["status"] == "0x1"


async def test_a_node_restarted_from_an_older_state_gets_everything_again(
    lab: Lab, lab_rpc: Rpc, book: Path
):
    async with desk(lab, lab_rpc, book) as d:
        await d.sender.send(ring(1))
        state = lab.dump()
        await d.sender.send(ring(2))
        lab.automine(False)
        d.send(3)
        await d.pool(1)
        lab.die()
        await anyio.sleep(0.3)
        lab.rise(state)
        await d.mine_until(lambda: 3 in d.receipts)
        await d.until(lambda: all_rung(lab) == [1, 2, 3])
        assert lab.count(d.wallet) == 3


async def test_what_cannot_succeed_any_more_gives_its_place_to_others(
    lab: Lab, lab_rpc: Rpc, book: Path
):
    async with desk(lab, lab_rpc, book) as d:
        before = lab.call("evm_snapshot")
        await d.sender.send(ring(1))
        code = lab.call("eth_getCode", str(BELL), "latest")
        lab.call("evm_revert", before)
        # On the shorter chain the bell refuses; what comes after it must not wait for ever.
        lab.call("anvil_setCode", str(BELL), "0x60006000fd")
        lab.mine()
        await d.until(d.sender._book.waiting)
        receipt = None

        async def pay():
            nonlocal receipt
            receipt = await d.sender.send(transfer(SOMEBODY, 5))

        d.tasks.start_soon(pay)
        await d.mine_until(lambda: receipt)
        assert lab.call("eth_getBalance", str(SOMEBODY), "latest") == "0x5"
        lab.call("anvil_setCode", str(BELL), code)
        assert rung((await d.sender.send(ring(1))).logs) == [1]


async def test_refusals_are_not_believed_right_after_the_chain_lost_blocks(
    lab: Lab, lab_rpc: Rpc, book: Path
):
    sender = Sender(lab_rpc, lab.wallet(), book, chain_id=31337)
    before = lab.call("evm_snapshot")
    lab.mine(3)
    await sender.send(ring(1))
    lab.call("evm_revert", before)
    with pytest.raises(Unavailable, match="has just lost blocks"):
        await sender.send(ring(0))


async def test_another_program_with_the_same_wallet_is_noticed(
    lab: Lab, lab_rpc: Rpc, book: Path, tmp_path: Path
):
    async with desk(lab, lab_rpc, book) as d:
        await d.sender.send(ring(1))
        lab.automine(False)
        d.send(2)
        (ours,) = await d.pool(1)
        lab.call("anvil_dropTransaction", ours["hash"])
        # The twin takes nonce 1 for itself before ours is mined.
        twin = Sender(lab_rpc, d.wallet, tmp_path / "twin.sqlite", chain_id=31337)
        d.tasks.start_soon(twin.send, ring(3))
        (theirs,) = await d.pool(1)
        assert theirs["nonce"] == ours["nonce"]
        lab.mine()
        await d.mine_until(lambda: 2 in d.receipts)
        assert rung(d.receipts[2].logs) == [2]
        assert d.sender.foreign == (1,)
    assert sorted(all_rung(lab)) == [1, 2, 3]


async def test_a_foreign_transaction_is_noticed_in_peace_too(
    lab: Lab, lab_rpc: Rpc, book: Path, tmp_path: Path
):
    async with desk(lab, lab_rpc, book) as d:
        await d.sender.send(ring(1))
        twin = Sender(lab_rpc, d.wallet, tmp_path / "twin.sqlite", chain_id=31337)
        await twin.send(ring(2))
        await d.until(lambda: d.sender.foreign == (1,))
        assert rung((await d.sender.send(ring(3))).logs) == [3]


async def test_two_senders_may_share_a_book(lab: Lab, lab_rpc: Rpc, book: Path):
    first = Sender(lab_rpc, lab.wallet(), book, chain_id=31337)
    second = Sender(lab_rpc, lab.wallet(), book, chain_id=31337)
    async with anyio.create_task_group() as tasks:
        for number in range(1, 6):
            tasks.start_soon((first, second)[number % 2].send, ring(number))
    assert sorted(all_rung(lab)) == [1, 2, 3, 4, 5]
    assert first.foreign == second.foreign == ()


async def test_a_book_belongs_to_one_wallet(lab: Lab, lab_rpc: Rpc, book: Path):
    Sender(lab_rpc, lab.wallet(1), book, chain_id=31337).close()
    with pytest.raises(WrongBook, match="choose another file"):
        Sender(lab_rpc, lab.wallet(2), book, chain_id=31337)
    with pytest.raises(WrongBook):
        Sender(lab_rpc, lab.wallet(1), book, chain_id=1)


async def test_being_cancelled_does_not_take_a_transaction_back(
    lab: Lab, lab_rpc: Rpc, book: Path
):
    async with desk(lab, lab_rpc, book) as d:
        lab.automine(False)
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(d.sender.send, ring(1))
            await d.pool(1)
            impatient.cancel_scope.cancel()
        lab.mine()
        await d.until(lambda: all_rung(lab) == [1])
        await d.until(lambda: d.sender._book.waiting() == [])


async def test_no_node_is_unavailable_and_leaves_nothing(lab: Lab, lab_rpc: Rpc, book: Path):
    sender = Sender(lab_rpc, lab.wallet(), book, chain_id=31337)
    lab.die()
    with pytest.raises(Unavailable):
        await sender.send(ring(1))
    assert sender._book.waiting() == []


async def test_the_moment_of_sending_is_reported(lab: Lab, lab_rpc: Rpc, book: Path):
    sender, seen = Sender(lab_rpc, lab.wallet(), book, chain_id=31337), []
    timing.due(5.0, lambda what, due, left: seen.append((what, due)))
    await sender.send(ring(1))
    assert seen == [("tx ring 1", 5.0)]


def run_doomed(lab: Lab, book: Path, number: int, moment: str) -> subprocess.CompletedProcess:
    script = Path(__file__).with_name("dying_sender.py")
    command = [sys.executable, script, lab.url, book, str(number), moment]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("moment", ["reserved", "sent"])
@pytest.mark.parametrize("asked_again", [True, False])
async def test_a_killed_program_sends_at_most_once(
    lab: Lab, lab_rpc: Rpc, book: Path, moment: str, asked_again: bool
):
    lab.wallet()
    lab.automine(False)
    dead = run_doomed(lab, book, 5, moment)
    assert dead.returncode == -signal.SIGKILL
    async with desk(lab, lab_rpc, book) as d:
        (entry,) = d.sender._book.waiting()
        assert (entry.nonce, len(d.waiting())) == (0, 1 if moment == "sent" else 0)
        if asked_again:
            d.send(5)
        await anyio.sleep(0.7)
        lab.mine()
        await d.mine_until(lambda: all_rung(lab))
        await d.until(lambda: d.sender._book.waiting() == [])
        # Nothing more comes after it, and the next call gets the next nonce.
        lab.automine(True)
        await d.sender.send(Call(SOMEBODY, b"", "pay", 1))
        assert lab.count(d.wallet) == 2
    assert all_rung(lab) == [5]


async def test_a_program_that_lives_tells_its_receipt(lab: Lab, book: Path):
    lab.wallet()
    alive = run_doomed(lab, book, 5, "never")
    assert alive.stdout.startswith("0x"), alive.stderr
    assert all_rung(lab) == [5]

"""What a transaction offers for gas, and how far a balance goes: the examples of the page."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from chain_lab import Lab, ring

from tallystick.chain.answers import RpcError
from tallystick.chain.envelope import Price
from tallystick.chain.fees import GWEI, Fees, Network, Tank
from tallystick.chain.outlook import read_network
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.poco.values import Wei

ETHER = 10**18


@pytest.mark.parametrize(
    ("network", "sent"),
    [
        (10 * GWEI, 13 * GWEI),
        (16 * GWEI, 20_800_000_000),
        (17 * GWEI, 22 * GWEI),
        (50 * GWEI, 22 * GWEI),
        (0, 0),
        (1, 1),
        (None, 22 * GWEI),
    ],
)
def test_the_price_is_the_networks_times_the_multiplier_up_to_the_cap(
    network: Wei | None, sent: Wei
) -> None:
    assert Fees().price(network) == sent


@pytest.mark.parametrize(
    ("fees", "network", "sent"),
    [
        (Fees(multiplier=1.0), 16_999_999_999, 16_999_999_999),
        (Fees(multiplier=1.1, cap=10**30), 10**27 + 7, 1_100_000_000_000_000_000_000_000_007),
        (Fees(multiplier=4.0), GWEI, 4 * GWEI),
        (Fees(multiplier=0.0), 10 * GWEI, 0),
        (Fees(cap=0), 10 * GWEI, 0),
        (Fees(cap=0), None, 0),
        (Fees(multiplier=0.5), 3, 1),
    ],
)
def test_prices_are_integers_to_the_last_wei(
    fees: Fees, network: Wei | None, sent: Wei
) -> None:
    """Multiplied as a float, the second one would be off by millions of wei."""
    assert fees.price(network) == sent


def test_a_cap_of_its_own_goes_before_the_usual_one() -> None:
    fees = Fees()
    assert fees.price(50 * GWEI, cap=88 * GWEI) == 65 * GWEI
    assert fees.price(None, cap=88 * GWEI) == 88 * GWEI
    assert fees.price(50 * GWEI, cap=0) == 0


def test_a_price_that_no_node_tells_is_unknown_and_not_zero() -> None:
    silent = RpcError(-32601, "the method does not exist")
    network = read_network({"baseFeePerGas": hex(7 * GWEI)}, silent, silent)
    assert (network.price, network.tip) == (None, 0)
    assert Fees().first(network, 22 * GWEI) == Price(22 * GWEI, 0)
    legacy = read_network({}, hex(5 * GWEI), silent)
    assert legacy == Network(price=5 * GWEI, tip=5 * GWEI, base=None)
    assert Fees().first(legacy, 22 * GWEI) == Price(6_500_000_000, None)


@pytest.mark.parametrize(
    ("balance", "price", "transactions", "empty", "low"),
    [
        (11 * ETHER // 1000, 22 * GWEI, 1, False, True),
        (11 * ETHER // 1000 - 1, 22 * GWEI, 0, True, False),
        (11 * ETHER // 100 - 1, 22 * GWEI, 9, False, True),
        (11 * ETHER // 100, 22 * GWEI, 10, False, False),
        # What sufficed at the network's own price was refused by the cap's.
        (ETHER // 100, 1_300_000_000, 15, False, False),
        (0, 0, None, False, False),
        (0, 1, 0, True, False),
    ],
)
def test_a_balance_is_measured_by_the_price_that_would_be_paid(
    balance: Wei, price: Wei, transactions: int | None, empty: bool, low: bool
) -> None:
    tank = Tank(balance, price)
    assert (tank.transactions, tank.empty, tank.low) == (transactions, empty, low)


@pytest.mark.anyio
async def test_what_waits_for_a_cheaper_chain_can_be_seen(
    lab: Lab, lab_rpc: Rpc, tmp_path: Path
) -> None:
    """The chain asks for more than the cap: the transaction waits, and is mined later."""
    sender = Sender(lab_rpc, lab.wallet(), tmp_path / "book.sqlite", chain_id=31337)
    lab.call("anvil_setNextBlockBaseFeePerGas", hex(30 * GWEI))
    lab.mine()
    lab.automine(False)
    with_entry = await sender._prepare(ring(1), 22 * GWEI)
    await sender._look_after()
    (waits,) = sender.pending
    assert (waits.what, waits.price, waits.capped) == ("ring 1", 22 * GWEI, True)
    assert waits.since == with_entry.attempts[0].at
    assert sender.signed(ring(1))
    assert not sender.signed(ring(2))
    with anyio.fail_after(15):
        while sender.pending:
            lab.call("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
            lab.mine()
            await sender._look_after()
            await anyio.sleep(0.1)
    assert sender.signed(ring(1)), "mined is signed too"
    sender.close()

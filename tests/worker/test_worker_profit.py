"""What a task earns after gas, by the protocol's own formulas."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from worker_lab import ME, task_of

from tallystick.chain.fees import GWEI, Fees
from tallystick.chain.standing import Purse
from tallystick.lifecycle.facts import Assigned, Initialized
from tallystick.lifecycle.task import Task
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.values import DealId
from tallystick.worker.funds import Funds
from tallystick.worker.profit import (
    FRESH,
    STALE,
    VOTE_GAS,
    NoRate,
    Profit,
    Rate,
    expected_reward,
    fewest_winners,
)

pytestmark = pytest.mark.anyio
RLC = 10**9


def task(*, price: int, trust: int = 1, weight: int = 2) -> Task:
    deal = Deal(
        DealId(b"\x0d" * 32),
        start=0,
        time_unit=60,
        trust=trust,
        workerpool=Asset(price=price),
    )
    return task_of(Initialized(), Assigned(ME, weight), deal=deal)


def funds(gas_price: int | None, *, free: bool = False) -> Funds:
    nobody: Any = None
    known = Purse(account=None, balance=None, gas_price=gas_price)
    return Funds(ME, nobody, nobody, Fees(multiplier=1.0), free_gas=free, known=known)


@pytest.mark.parametrize(
    ("trust", "weight", "winners"),
    [(0, 2, 1), (1, 2, 1), (5, 2, 3), (16, 2, 4), (18, 9, 2)],
)
def test_as_few_winners_as_the_contract_would_accept(trust: int, weight: int, winners: int):
    assert fewest_winners(trust, weight) == winners


@pytest.mark.parametrize(("trust", "reward"), [(1, 9_900_000_006), (5, 3_300_000_002)])
def test_the_reward_is_the_one_that_the_contracts_paid(trust: int, reward: int):
    """The figures were measured with the real contracts, at this price of the pool."""
    assert expected_reward(task(price=10_000_000_007, trust=trust), 2)[0] == reward


async def test_gas_is_weighed_against_the_reward_and_the_sum_is_explained():
    judge = Profit(ME, funds(2 * GWEI), Rate(0.0005), min_profit=RLC)
    found = await judge.expected(task(price=10 * RLC))
    assert found.gas == VOTE_GAS * 2 * GWEI
    # 959,000 gwei are 0.000959 ETH, and 1.918 RLC at 0.0005 ETH each.
    assert (found.reward, found.cost) == (9_900_000_000, 1_918_000_000)
    assert found.profit == 7_982_000_000
    assert await judge.objection(task(price=10 * RLC)) is None
    reason = await judge.objection(task(price=2 * RLC))
    assert reason is not None
    assert reason.code == "LOW_PROFIT"
    assert reason.sentence == (
        "0.062000000 RLC expected: 1.980000000 RLC as one of 1 winner (as few as can agree, all"
        " of our weight), less 1.918000000 RLC for gas (479500 units at 2 gwei are 0.000959"
        " ETH; 1 RLC = 0.0005 ETH), but min_profit is 1.000000000 RLC."
    )
    lossy = await judge.expected(task(price=RLC, trust=5))
    assert lossy.profit < 0
    assert lossy.sentence.startswith("-1.588000000 RLC expected: 0.330000000 RLC as one of 3")


async def test_where_gas_is_free_everything_pays():
    judge = Profit(ME, funds(GWEI, free=True), Rate(0.0005))
    assert (await judge.expected(task(price=10))).cost == 0
    assert await judge.objection(task(price=0)) is None


async def test_without_a_price_of_rlc_profit_is_unknown_and_said_so_once(caplog: Any):
    caplog.set_level("INFO")
    judge = Profit(ME, funds(2 * GWEI), None, min_profit=10**18)
    for _ in range(3):
        assert await judge.objection(task(price=1)) is None
    assert caplog.text.count("Profit is unknown") == 1


async def test_a_command_of_the_operator_without_a_shell(tmp_path: Path):
    script = tmp_path / "price"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:])\n")
    script.chmod(0o755)
    with pytest.raises(NoRate, match="is no price"):
        await Rate(f"{script} $HOME; echo 1").now()
    script.write_text(f"#!{sys.executable}\nprint('0.00042')\n")
    assert await Rate(f"{script} 'an argument'").now() == Decimal("0.00042")
    script.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n")
    with pytest.raises(NoRate, match="does not work"):
        await Rate(str(script)).now()
    with pytest.raises(NoRate, match="does not work"):
        await Rate(str(tmp_path / "nothing")).now()


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much", "", "{}"])
async def test_what_is_no_price(text: str, tmp_path: Path):
    (tmp_path / "price").write_text(text)
    with pytest.raises(NoRate):
        await Rate(f"/bin/cat {tmp_path / 'price'}").now()


@pytest.fixture
def website() -> Iterator[tuple[str, list[str]]]:
    answers = ["0.0004"]

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if answers[0] else 500)
            self.end_headers()
            self.wfile.write(answers[0].encode())

        def log_message(self, *_: Any) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", answers
        server.shutdown()
        thread.join()


async def test_an_address_that_tells_the_price(website: tuple[str, list[str]]):
    """It is asked now and then; when it falls silent the last word counts for a while."""
    (url, answers), now = website, [1_000.0]
    rate = Rate(url, clock=lambda: now[0])
    assert await rate.now() == Decimal("0.0004")
    answers[0] = '"0.0005"'
    assert await rate.now() == Decimal("0.0004")
    now[0] += FRESH
    assert await rate.now() == Decimal("0.0005")
    answers[0] = ""
    now[0] += STALE - 1
    assert await rate.now() == Decimal("0.0005")
    now[0] += 1
    with pytest.raises(NoRate, match="does not tell the price"):
        await rate.now()


async def test_a_number_in_words_and_in_digits():
    assert await Rate("0.0003").now() == await Rate(0.0003).now() == Decimal("0.0003")

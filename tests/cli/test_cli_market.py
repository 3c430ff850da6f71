"""The commands of a requester at a market whose scheduler is silent: the chain is enough."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.chain.wallet import LIGHT, Wallet
from tallystick.cli import local
from tallystick.devnet.founding import RegisteredApp
from tallystick.devnet.market import Market, Registries, hold
from tallystick.poco.orders import NO_DATASET_ORDER, Domain
from tallystick.requester.book import publish
from tallystick.requester.buy import Purchase, buy
from tallystick.requester.orders import Wish, app_offer, pool_offers
from tallystick.requester.session import Session

RLC = 10**9
PASSWORD = "correct horse"
DIGEST = "sha256:" + "11" * 32
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def chain(shared_chain):
    return shared_chain


@pytest.fixture
def market(chain, tmp_path: Path) -> Iterator[Market]:
    """The chain of the tests, described as a running market is."""
    actors = {"requester": chain.requester, "scheduler": chain.scheduler}
    files = {role: tmp_path / f"{role}.json" for role in actors}
    for role, actor in actors.items():
        Wallet.import_key(files[role], PASSWORD, actor.key, work=LIGHT)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    described = Market(
        data=tmp_path,
        chain_id=chain.chain_id,
        rpc_url=chain.url,
        ws_url=chain.ws_url,
        hub=chain.hub,
        rlc=chain.rlc,
        registries=Registries(
            app=chain.app_registry,
            dataset=chain.dataset_registry,
            workerpool=chain.workerpool_registry,
        ),
        workerpool=chain.workerpool,
        scheduler_url=NOWHERE,
        results_url=NOWHERE,
        registry_url=NOWHERE,
        explorer_url="http://127.0.0.1:13004",
        accounts={role: actor.address for role, actor in actors.items()},
        keystores=files,
        password_file=tmp_path / "password",
        orders=tmp_path / "orders.json",
        apps={
            "test": RegisteredApp(
                address=chain.app, image="x/test:1", digest="sha256:" + "11" * 32
            )
        },
        pids={},
        block_time=0,
    )
    with hold(tmp_path):
        described.save()
        yield described


@pytest.fixture
def offers(chain, market) -> None:
    domain = Domain(chain.chain_id, chain.hub)
    app = app_offer(chain.app, price=7, owner=Wallet(chain.app_owner.key), domain=domain)
    pool = pool_offers(
        chain.workerpool,
        categories={0: RLC, 1: RLC},
        owner=Wallet(chain.scheduler.key),
        domain=domain,
    )
    publish(market.orders, app, *pool)


@pytest.fixture
def bought(chain, market, offers) -> Purchase:
    async def one(_: Market, session: Session) -> Purchase:
        (app,) = session.book.apps
        wallet = Wallet(chain.requester.key)
        wish = Wish(category=1, count=2, params="hello")
        async for each in buy(session, wallet, wish, app=app, dataset=NO_DATASET_ORDER):
            return each
        raise AssertionError

    return local.with_market(market.data, one)


def answer(ran) -> dict:
    """The one JSON object of a command that succeeded."""
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def test_info_tells_an_external_client_everything(tally, market):
    told = answer(tally("info", "--data", market.data, "--json"))
    assert told["chain_id"] == market.chain_id
    assert told["rpc_url"] == market.rpc_url
    assert told["hub"] == market.hub.checksummed
    assert set(told["registries"]) == {"app", "dataset", "workerpool"}
    assert told["accounts"]["requester"]["stake_nrlc"] > 0
    assert market.hub.checksummed in tally("info", "--data", market.data).out


def test_money_moves_between_wallet_and_account(tally, market):
    at = ("--data", market.data, "--json")
    before = answer(tally("account", "show", *at))
    after = answer(tally("account", "deposit", "2.5", "RLC", *at))
    assert after["stake_nrlc"] - before["stake_nrlc"] == 2_500_000_000
    back = answer(tally("account", "withdraw", "2500000000nRLC", *at))
    assert back["stake_nrlc"] == before["stake_nrlc"]
    assert back["wallet_nrlc"] == before["wallet_nrlc"]
    other = answer(tally("account", "show", "scheduler", *at))
    assert other["address"] == str(market.accounts["scheduler"])


@pytest.mark.parametrize("amount", [("5",), ("-5", "RLC"), ("many", "RLC"), ("0.1", "nRLC")])
def test_an_amount_without_sense_moves_nothing(tally, market, amount):
    ran = tally("account", "deposit", *amount, "--data", market.data)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


def test_more_than_there_is_cannot_be_moved(tally, market):
    ran = tally("account", "withdraw", "1000000", "RLC", "--data", market.data)
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "1000000.000000000 RLC" in ran.err


def test_the_faucet_pours(tally, market):
    who = "0x" + "ab" * 20
    answer(tally("faucet", who, "--rlc", "3 RLC", "--data", market.data, "--json"))
    has = answer(tally("account", "show", who, "--data", market.data, "--json"))
    assert has["wallet_nrlc"] == 3 * RLC
    assert has["gas_wei"] > 0


def test_deals_and_their_tasks_are_found_again(tally, market, bought):
    at = ("--data", market.data, "--json")
    deals = answer(tally("deal", "list", *at))["deals"]
    assert deals[0]["deal"] == str(bought.deal.id)
    shown = answer(tally("deal", "show", bought.deal.id, *at))
    assert [task["task"] for task in shown["tasks"]] == list(map(str, bought.tasks))
    task = answer(tally("task", "show", bought.tasks[1], *at))
    assert (task["status"], task["index"]) == ("UNSET", 1)
    assert task["scheduler_status"] is None
    assert "UNSET" in tally("task", "show", bought.tasks[1], "--data", market.data).out


def test_a_task_without_result_or_logs_says_so(tally, market, bought, tmp_path):
    at = ("--data", market.data)
    ran = tally("result", "download", bought.tasks[0], "--out", tmp_path / "out", *at)
    assert ran.code == 1
    assert "not even begun" in ran.err
    assert not (tmp_path / "out").exists()
    ran = tally("task", "logs", bought.tasks[0], *at)
    assert ran.code == 1
    assert "does not answer" in ran.err


def test_money_is_claimed_when_its_time_has_come(tally, market, bought, chain):
    at = ("--data", market.data, "--json")
    early = tally("task", "claim", bought.tasks[0], *at)
    assert early.code == 1
    assert "can be claimed in" in early.err
    chain.set_time(bought.deal.final_deadline)
    told = answer(tally("task", "claim", bought.tasks[0], *at))
    assert told == {
        "task": str(bought.tasks[0]),
        "status": "FAILED",
        "refunded_nrlc": RLC + 7,
    }


def test_status_does_without_the_scheduler(tally, market):
    told = answer(tally("status", "--data", market.data, "--json"))
    assert told["explorer"] == "http://127.0.0.1:13004/"
    assert "does not answer" in told["trouble"]
    assert told["block"] > 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("run", "nothing"), "no app 'nothing'"),
        (("run", "127.0.0.1:9/no/image:1"), "does not answer"),
        (("run", "test", "--max-price", "0.5 RLC"), "--max-price"),
        (("run", "test", "--category", "5"), "categories 0, 1"),
        (("run", "test", "--trust", "1001"), "at most 1000"),
        (("run", "test", "--dataset", "/etc/passwd"), "an http"),
        (("run", "test", "--wallet", "0x" + "ab" * 20), "no wallet of"),
        (("run", "test", ""), "empty argument"),
    ],
)
def test_what_cannot_be_bought_is_one_sentence_and_costs_nothing(
    tally, market, offers, words, why
):
    at = ("--data", market.data)
    before = answer(tally("account", "show", *at, "--json"))
    ran = tally(*words, *at, "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1
    assert why in ran.err
    assert answer(tally("account", "show", *at, "--json")) == before


def test_a_folder_with_files_is_refused_before_anything_is_bought(tally, market, tmp_path):
    ran = tally("run", "test", "--out", tmp_path, "--data", market.data)
    assert ran.code == 1
    assert "not empty" in ran.err


def test_a_malformed_order_on_the_book_is_named(tally, market):
    market.orders.write_text('{"apps": [{"app": "0x12"}]}')
    ran = tally("run", "test", "--data", market.data)
    assert ran.code == 1
    assert "orders.json" in ran.err
    assert ran.err.count("\n") == 1


def test_a_wrong_password_acts_for_nobody(tally, market, tmp_path):
    (tmp_path / "wrong").write_text("nonsense")
    words = ("account", "deposit", "1 RLC", "--password-file", tmp_path / "wrong")
    ran = tally(*words, "--data", market.data)
    assert ran.code == 1
    assert "password does not open" in ran.err


@pytest.mark.parametrize(
    "words", [("info",), ("status",), ("run", "digits"), ("deal", "list"), ("account", "show")]
)
def test_without_a_market_the_way_to_one_is_told(tally, tmp_path, words):
    ran = tally(*words, "--data", tmp_path / "none", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert "tally up" in ran.err


def test_two_markets_cannot_share_a_folder(tally, market):
    ran = tally("up", "--once", "--reset", "--data", market.data)
    assert ran.code == 1
    assert "runs in" in ran.err
    assert market.orders.parent.exists()

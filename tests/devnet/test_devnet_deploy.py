"""The deployed contracts are the real ones, complete and configured."""

from __future__ import annotations

import time

from eth_abi.abi import decode

from tallystick.devnet.actors import RLC
from tallystick.devnet.deploy import CATEGORIES
from tallystick.devnet.script import calldata


def ask(chain, to, types, signature, *values):
    question = {"to": str(to), "data": "0x" + calldata(signature, *values).hex()}
    return decode(types, bytes.fromhex(chain.rpc("eth_call", question, "latest")[2:]))


def test_the_diamond_has_all_facets_of_the_live_one(chain):
    (facets,) = ask(chain, chain.hub, ["(address,bytes4[])[]"], "facets()")
    assert len(facets) == 14
    assert sum(len(selectors) for _, selectors in facets) == 98


def test_the_hub_knows_its_token_registries_and_categories(chain):
    for signature, place in {
        "token()": chain.rlc,
        "appregistry()": chain.app_registry,
        "datasetregistry()": chain.dataset_registry,
        "workerpoolregistry()": chain.workerpool_registry,
        "owner()": chain.owner.address,
    }.items():
        assert ask(chain, chain.hub, ["address"], signature) == (str(place),)
    for number, (name, time_unit) in enumerate(CATEGORIES):
        (category,) = ask(
            chain, chain.hub, ["(string,string,uint256)"], "viewCategory(uint256)", number
        )
        assert category == (name, '""', time_unit)


def test_actors_can_pay_and_stake(chain):
    for actor in chain.actors:
        account = ask(
            chain, chain.hub, ["(uint256,uint256)"], "viewAccount(address)", actor.address
        )
        assert account == ((10_000 * RLC, 0),)
        assert ask(chain, chain.rlc, ["uint256"], "balanceOf(address)", actor.address) == (
            10_000 * RLC,
        )


def test_the_pool_belongs_to_the_scheduler_and_the_app_to_its_owner(chain):
    assert ask(chain, chain.workerpool, ["address"], "owner()") == (
        str(chain.scheduler.address),
    )
    assert ask(chain, chain.app, ["address"], "owner()") == (str(chain.app_owner.address),)
    assert ask(chain, chain.app, ["bytes"], "m_appMultiaddr()") == (
        b"127.0.0.1:5000/test/app:1",
    )


def test_time_travels_forward_and_snapshots_go_back(chain):
    before = chain.snapshot()
    chain.set_time(chain.now + 3_600)
    assert chain.now >= time.time() + 3_500
    chain.revert(before)
    assert chain.now < time.time() + 100


def test_any_account_can_be_made_to_act(chain):
    transfer = calldata("transfer(address,uint256)", chain.owner.address, 5 * RLC)
    receipt = chain.transact(chain.requester.address, chain.rlc, transfer)
    assert int(receipt["status"], 16) == 1
    too_much = calldata("transfer(address,uint256)", chain.owner.address, 10**9 * RLC)
    receipt = chain.transact(chain.requester.address, chain.rlc, too_much)
    assert int(receipt["status"], 16) == 0

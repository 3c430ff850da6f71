"""Our signatures beside the ABI that the contracts' own package ships."""

import json
from pathlib import Path

import pytest
from web3 import Web3

from tallystick.chain import contracts
from tallystick.chain.abi import BadAnswer, encode_call, topic
from tallystick.chain.calls import Calls
from tallystick.chain.logs import _EVENTS, AssetCreated, decode
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    Operation,
    RequestOrder,
    WorkerpoolOrder,
    as_tuple,
)
from tallystick.poco.values import Address, DealId, Digest, Hash, TaskId

ADDRESSES = [Address(bytes([n]) * 20) for n in range(1, 9)]
HUB, TOKEN, APPS, DATASETS, POOLS, ONE, TWO, THREE = ADDRESSES
TASK, DEAL, WORD = TaskId(b"\xaa" * 32), DealId(b"\xbb" * 32), Hash(b"\xcc" * 32)
REGISTRIES = {
    "apps": "registries/apps/AppRegistry.sol/AppRegistry.json",
    "datasets": "registries/datasets/DatasetRegistry.sol/DatasetRegistry.json",
    "workerpools": "registries/workerpools/WorkerpoolRegistry.sol/WorkerpoolRegistry.json",
    "workerpool": "registries/workerpools/Workerpool.sol/Workerpool.json",
}


def spelled(part: dict) -> str:
    if not part["type"].startswith("tuple"):
        return part["type"]
    return f"({','.join(map(spelled, part['components']))}){part['type'][5:]}"


def signature(entry: dict) -> str:
    return f"{entry['name']}({','.join(map(spelled, entry['inputs']))})"


@pytest.fixture(scope="module")
def abis(poco_packages) -> dict[str, list[dict]]:
    root: Path = poco_packages.poco
    hub = json.loads((root / "abis/contracts/IexecInterfaceToken.json").read_text())
    native = json.loads((root / "abis/contracts/IexecInterfaceNative.json").read_text())
    others = {
        name: json.loads((root / "artifacts/contracts" / path).read_text())["abi"]
        for name, path in REGISTRIES.items()
    }
    return {"hub": hub, "native": native, **others}


def test_every_function_and_event_exists_as_it_is_spelled(abis):
    entries = [e for abi in abis.values() for e in abi if e["type"] in ("function", "event")]
    real = {signature(entry) for entry in entries}
    ours = [
        text
        for name, text in vars(contracts).items()
        if name.isupper() and isinstance(text, str) and text[0].isalpha()
    ]
    assert len(ours) > 50
    assert [text for text in ours if text not in real] == []


def test_views_return_what_we_read(abis):
    returned = {
        signature(e): [spelled(part) for part in e["outputs"]]
        for e in abis["hub"]
        if e["type"] == "function"
    }
    for asked, read in (
        (contracts.VIEW_DEAL, contracts.DEAL),
        (contracts.VIEW_TASK, contracts.TASK),
        (contracts.VIEW_CONTRIBUTION, contracts.CONTRIBUTION),
        (contracts.VIEW_ACCOUNT, contracts.ACCOUNT),
        (contracts.VIEW_CATEGORY, contracts.CATEGORY),
        (contracts.VIEW_APP, contracts.APP),
        (contracts.VIEW_DATASET, contracts.DATASET),
        (contracts.VIEW_WORKERPOOL, contracts.WORKERPOOL),
        (contracts.VIEW_PRESIGNED, "address"),
        (contracts.VIEW_CONSUMED, "uint256"),
        (contracts.RESULT_FOR, "bytes"),
    ):
        assert returned[asked] == [read]


def test_events_have_the_indexed_parameters_that_we_expect(abis):
    indexed = {
        bytes(topic(signature(e))): [part["indexed"] for part in e["inputs"]]
        for e in abis["hub"]
        if e["type"] == "event"
    }
    for key, (text, count, _, fields) in _EVENTS.items():
        assert indexed[key] == [True] * count + [False] * (len(fields) - count), text


def test_calldata_is_what_web3_makes(abis):
    calls = Calls(HUB, TOKEN, APPS, DATASETS, POOLS)
    salt = Hash(b"\x01" * 32)
    app = AppOrder(app=ONE, price=5, volume=7, salt=salt, sign=b"\x01" * 65)
    pool = WorkerpoolOrder(workerpool=TWO, category=4, trust=3, salt=salt, sign=b"\x02" * 65)
    request = RequestOrder(app=ONE, requester=THREE, params='{"a":"é"}', salt=salt, sign=b"s")
    four = (app, NO_DATASET_ORDER, pool, request)
    tuples = [as_tuple(order) for order in four]
    web3 = {name: Web3().eth.contract(abi=abi) for name, abi in abis.items()}
    for call, contract, name, args in (
        (calls.match_orders(*four), "hub", "matchOrders", tuples),
        (calls.sponsor_match_orders(*four), "hub", "sponsorMatchOrders", tuples),
        (calls.initialize(DEAL, 3), "hub", "initialize", [DEAL, 3]),
        (
            calls.contribute(TASK, WORD, salt, authorization=b"\x03" * 65, enclave=ONE),
            "hub",
            "contribute",
            [TASK, WORD, salt, ONE, b"", b"\x03" * 65],
        ),
        (calls.reveal(TASK, Digest(WORD)), "hub", "reveal", [TASK, WORD]),
        (calls.finalize(TASK, b"link", b"call"), "hub", "finalize", [TASK, b"link", b"call"]),
        (
            calls.contribute_and_finalize(
                TASK, Digest(WORD), results=b"link", authorization=b"\x03" * 65
            ),
            "hub",
            "contributeAndFinalize",
            [TASK, WORD, b"link", b"", Address(bytes(20)), b"", b"\x03" * 65],
        ),
        (calls.reopen(TASK), "hub", "reopen", [TASK]),
        (calls.claim(TASK), "hub", "claim", [TASK]),
        (calls.claim_array([TASK, TASK]), "hub", "claimArray", [[TASK, TASK]]),
        (
            calls.initialize_and_claim_array([DEAL], [2]),
            "hub",
            "initializeAndClaimArray",
            [[DEAL], [2]],
        ),
        (calls.withdraw(9), "hub", "withdraw", [9]),
        (
            calls.manage_order(request, Operation.CLOSE, b"s"),
            "hub",
            "manageRequestOrder",
            [(tuples[3], 1, b"s")],
        ),
        (
            calls.manage_order(pool, Operation.SIGN),
            "hub",
            "manageWorkerpoolOrder",
            [(tuples[2], 0, b"")],
        ),
        (calls.deposit(9), "hub", "approveAndCall", [HUB, 9, b""]),
        (calls.transfer_rlc(ONE, 9), "hub", "transfer", [ONE, 9]),
        (
            calls.create_app(ONE, "n", multiaddr=b"m", checksum=WORD),
            "apps",
            "createApp",
            [ONE, "n", "DOCKER", b"m", WORD, b""],
        ),
        (
            calls.create_dataset(ONE, "n", multiaddr=b"m", checksum=WORD),
            "datasets",
            "createDataset",
            [ONE, "n", b"m", WORD],
        ),
        (calls.create_workerpool(ONE, "d"), "workerpools", "createWorkerpool", [ONE, "d"]),
        (calls.change_policy(TWO, 30, 1), "workerpool", "changePolicy", [30, 1]),
    ):
        theirs = web3[contract].encode_abi(name, args=args)
        assert call.data.hex() == theirs.removeprefix("0x"), call


def test_native_money_travels_as_value():
    calls = Calls(HUB, Address(bytes(20)), APPS, DATASETS, POOLS)
    deposit = calls.deposit(7)
    assert (deposit.to, deposit.value) == (HUB, 7 * 10**9)
    assert deposit.data == encode_call("deposit()")
    assert calls.transfer_rlc(ONE, 7).value == 7 * 10**9


def raw(topics: list[bytes], data: bytes = b"", **more) -> dict:
    place = {"blockNumber": "0x5", "blockHash": "0x" + "11" * 32, "logIndex": "0x2"}
    return {
        "address": str(APPS),
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + data.hex(),
        "transactionHash": "0x" + "22" * 32,
        **place,
        **more,
    }


def test_a_mint_tells_the_new_asset():
    mint = topic(contracts.TRANSFERRED)
    words = [bytes(32), ONE.rjust(32, b"\0"), TWO.rjust(32, b"\0")]
    made = decode(raw([mint, *words]))
    assert isinstance(made, AssetCreated)
    assert (made.registry, made.owner, made.asset) == (APPS, ONE, TWO)
    sold = [ONE.rjust(32, b"\0"), *words[1:]]
    assert decode(raw([mint, *sold])) is None
    assert decode(raw([mint, *words[:2]], b"\0" * 32)) is None


def test_strange_logs_are_passed_over_and_broken_ones_refused():
    assert decode(raw([])) is None
    assert decode(raw([b"\x01" * 32])) is None
    assert decode(raw([b"\x01"])) is None
    claimed = topic(contracts.TASK_CLAIMED)
    for broken in (
        raw([claimed]),
        raw([claimed, b"\x01" * 31]),
        raw([topic(contracts.LOCK)], b"\x01"),
        {**raw([claimed, TASK]), "blockHash": None},
        {**raw([claimed, TASK]), "topics": None},
        {"topics": ["0x" + claimed.hex(), str(TASK)], "data": "0x"},
    ):
        with pytest.raises(BadAnswer):
            decode(broken)

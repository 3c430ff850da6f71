"""Keys in files, and what they sign, with eth-account as the second opinion."""

import json
import pickle
import stat

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.base import BaseAccount
from hypothesis import given
from hypothesis import strategies as st

from tallystick.chain.envelope import Price, Transaction, transaction_hash
from tallystick.chain.wallet import (
    LIGHT,
    BadKey,
    BadKeystore,
    Wallet,
    WrongPassword,
    keystores,
)
from tallystick.poco.values import Address, Hash

KEY = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
OWNER = Address("0x2c7536e3605d9c16a7a3d7b1898e529396a65c23")
SOMEWHERE = Address(b"\x11" * 20)


def test_a_wallet_is_created_locked_and_opened_again(tmp_path):
    path = tmp_path / "wallets" / "mine.json"
    created = Wallet.create(path, "good password", work=LIGHT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Wallet.load(path, "good password").address == created.address
    assert [(k.path, k.address) for k in keystores(path.parent)] == [(path, created.address)]


def test_eth_account_opens_our_files_and_we_open_its(tmp_path):
    ours = tmp_path / "ours.json"
    assert Wallet.import_key(ours, "pässwörd", KEY, work=LIGHT).address == OWNER
    assert bytes(Account.decrypt(ours.read_text(), "pässwörd")) == KEY
    for kdf, iterations in (("scrypt", LIGHT), ("pbkdf2", 1000)):
        theirs = tmp_path / f"{kdf}.json"
        locked = Account.encrypt(KEY, "pässwörd", kdf=kdf, iterations=iterations)
        theirs.write_text(json.dumps(locked))
        assert Wallet.load(theirs, "pässwörd").address == OWNER


def test_a_wrong_password_is_told_from_a_broken_file(tmp_path):
    path = tmp_path / "w.json"
    Wallet.import_key(path, "right", KEY, work=LIGHT)
    with pytest.raises(WrongPassword, match=r"does not open the wallet .*w\.json"):
        Wallet.load(path, "wrong")
    whole = json.loads(path.read_text())
    for damage in (
        "",
        "[]",
        json.dumps({**whole, "version": 1}),
        json.dumps({"version": 3}),
        json.dumps({**whole, "crypto": {**whole["crypto"], "kdf": "md5"}}),
        json.dumps({**whole, "crypto": {**whole["crypto"], "ciphertext": "zz"}}),
        json.dumps({**whole, "crypto": {**whole["crypto"], "cipher": "rot13"}}),
    ):
        path.write_text(damage)
        with pytest.raises(BadKeystore, match=r"keystore|wallet"):
            Wallet.load(path, "right")
    with pytest.raises(BadKeystore, match="create or import"):
        Wallet.load(tmp_path / "nothing.json", "right")


def test_a_hostile_file_cannot_eat_the_memory(tmp_path):
    path = tmp_path / "w.json"
    Wallet.import_key(path, "right", KEY, work=LIGHT)
    bomb = json.loads(path.read_text())
    bomb["crypto"]["kdfparams"]["n"] = 1 << 30
    path.write_text(json.dumps(bomb))
    with pytest.raises(BadKeystore):
        Wallet.load(path, "right")


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "w.json"
    first = Wallet.create(path, "p", work=LIGHT)
    with pytest.raises(BadKeystore, match="never overwritten"):
        Wallet.create(path, "p", work=LIGHT)
    assert Wallet.load(path, "p").address == first.address


def test_a_key_cannot_be_seen():
    wallet = Wallet(KEY)
    assert KEY.hex() not in f"{wallet!r}{wallet}{dir(wallet)}"
    assert not hasattr(wallet, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(wallet)
    for bad in (b"", bytes(32), b"\xff" * 32):
        with pytest.raises(BadKey) as refusal:
            Wallet(bad)
        assert repr(bad) not in str(refusal.value)


def test_messages_are_signed_as_personal_messages():
    digest = Hash(b"\x07" * 32)
    expected = Account.sign_message(encode_defunct(digest), KEY).signature
    assert Wallet(KEY).sign_message(digest) == bytes(expected)
    assert Wallet(KEY).sign_hash(digest) == bytes(
        Account.unsafe_sign_hash(digest, KEY).signature
    )


wei = st.integers(0, 2**70)


@given(
    nonce=st.integers(0, 2**40),
    data=st.binary(max_size=300),
    value=wei,
    most=wei,
    tip=st.none() | wei,
    to=st.none() | st.just(SOMEWHERE),
    chain_id=st.sampled_from((1, 134, 31337, 42161)),
)
def test_transactions_are_the_bytes_that_eth_account_makes(
    nonce, data, value, most, tip, to, chain_id
):
    ours = Wallet(KEY).sign_transaction(
        Transaction(
            chain_id=chain_id,
            nonce=nonce,
            to=to,
            data=data,
            gas=21_000 + nonce,
            price=Price(most, tip),
            value=value,
        )
    )
    theirs = {"chainId": chain_id, "nonce": nonce, "data": data, "gas": 21_000 + nonce}
    theirs |= {"value": value, "to": to.checksummed if to else b""}
    if tip is None:
        theirs |= {"gasPrice": most}
    else:
        theirs |= {"type": 2, "maxFeePerGas": most, "maxPriorityFeePerGas": tip}
    account: BaseAccount = Account.from_key(KEY)
    signed = account.sign_transaction(theirs)
    assert ours == bytes(signed.raw_transaction)
    assert transaction_hash(ours) == bytes(signed.hash)

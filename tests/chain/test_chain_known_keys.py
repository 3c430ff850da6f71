"""Wallets whose keys everybody has."""

from __future__ import annotations

import pytest
from eth_account import Account

from tallystick.chain.known_keys import PUBLIC, PublicKey, require_private
from tallystick.poco.values import Address

PHRASES = {
    "test test test test test test test test test test test junk": 10,
    "myth like bonus scare over problem client lizard pioneer submit female collect": 10,
    "candy maple cake sugar pudding cream honey rich smooth crumble sweet treat": 4,
}


def published() -> list[Address]:
    Account.enable_unaudited_hdwallet_features()
    return [
        Address(Account.from_mnemonic(p, account_path=f"m/44'/60'/0'/0/{n}").address.lower())
        for p, count in PHRASES.items()
        for n in range(count)
    ]


def test_the_accounts_of_published_phrases_are_known():
    assert set(published()) <= PUBLIC.keys()


@pytest.mark.parametrize("address", PUBLIC, ids=str)
def test_they_are_for_development_only(address: Address):
    require_private(address, 31337)
    with pytest.raises(PublicKey, match=f"{address} is what .* everybody has its key"):
        require_private(address, 42161)


def test_other_wallets_are_fine_everywhere():
    require_private(Address(b"\x77" * 20), 42161)

"""A scheduler that checks the challenge by any EIP-712 library knows the requester."""

from eth_account import Account
from eth_account.messages import encode_typed_data

from tallystick.chain.wallet import Wallet
from tallystick.requester.login import authorization
from tallystick.wire.auth import log_challenge


def test_the_answer_recovers_to_the_wallet() -> None:
    wallet = Wallet(b"\x11" * 32)
    _, signature, address = authorization("abc=", chain_id=134, wallet=wallet).split("_")
    message = encode_typed_data(full_message=log_challenge(134, "abc="))
    assert Account.recover_message(message, signature=signature).lower() == address
    assert address == str(wallet.address)

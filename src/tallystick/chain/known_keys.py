"""Keys that everybody knows, since programs for development come with them. Pure."""

from __future__ import annotations

from typing import Final

from tallystick.engine.errors import Refused
from tallystick.poco.values import Address

DEVELOPMENT: Final = frozenset({17, 1337, 5777, 31337, 65535})
"""Chains on which nothing is worth anything."""

_ANVIL = "what Anvil and Hardhat come with"
_GANACHE = "what Ganache comes with"
_TRUFFLE = "what Truffle comes with"
_ORIGINAL = "what the original worker's sources come with"

PUBLIC: Final = {
    Address(f"0x{address}"): where
    for where, addresses in (
        (
            _ANVIL,
            "f39fd6e51aad88f6f4ce6ab8827279cfffb92266 70997970c51812dc3a010c7d01b50e0d17dc79c8"
            " 3c44cdddb6a900fa2b585dd299e03d12fa4293bc 90f79bf6eb2c4f870365e785982e1f101e93b906"
            " 15d34aaf54267db7d7c367839aaf71a00a2c6a65 9965507d1a55bcc2695c58ba16fb37d819b0a4dc"
            " 976ea74026e726554db657fa54763abd0c3a0aa9 14dc79964da2c08b23698b3d3cc7ca32193d9955"
            " 23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f"
            " a0ee7a142d267c1f36714e4a8f75612f20a79720",
        ),
        (
            _GANACHE,
            "90f8bf6a479f320ead074411a4b0e7944ea8c9c1 ffcf8fdee72ac11b5c542428b35eef5769c409f0"
            " 22d491bde2303f2f43325b2108d26f1eaba1e32b e11ba2b4d45eaed5996cd0823791e0c93114882d"
            " d03ea8624c8c5987235048901fb614fdca89b117 95ced938f7991cd0dfcb48f0a06a40fa1af46ebc"
            " 3e5e9111ae8eb78fe1cc3bb8915d5d461f3ef9a9 28a8746e75304c0780e011bed21c72cd78cd535e"
            " aca94ef8bd5ffee41947b4585a84bda5a3d3da6e"
            " 1df62f291b2e969fb0849d99d9ce41e2f137006e",
        ),
        (
            _TRUFFLE,
            "627306090abab3a6e1400e9345bc60c78a8bef57 f17f52151ebef6c7334fad080c5704d77216b732"
            " c5fdf4076b8f3a5357c5e395ab970b5b54098fef"
            " 821aea9a577a9b44299b9c15c88cf3087f3b5544",
        ),
        (
            _ORIGINAL,
            "1a69b2eb604db8eba185df03ea4f5288dcbbd248 2ab2674aa374fe6415d11f0a8fcbd8027fc1e6a9"
            " 3a3406e69adf886c442ff1791cbf67cea679275d",
        ),
    )
    for address in addresses.split()
}
"""Whose key is public, and where it can be read."""


class PublicKey(Refused):
    """Everybody has the key of this wallet."""


def require_private(address: Address, chain_id: int) -> None:
    """Raises PublicKey when anybody could take what `address` owns on a chain that counts."""
    if address in PUBLIC and chain_id not in DEVELOPMENT:
        raise PublicKey(
            f"The wallet {address} is {PUBLIC[address]}: everybody has its key, and can take"
            f" whatever is sent there on chain {chain_id}. Make one of your own with tally"
            " wallet create."
        )

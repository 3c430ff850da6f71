"""Digests that wallets sign, and who signed them.

Signatures are 65 bytes r, s, v with v 27 or 28 and s in the lower half of the curve's order,
as the contracts demand; the compact 64 bytes of EIP-2098 are read as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from tallystick.poco.values import Address, Hash

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HEX: Final = {digit: int(digit, 16) for digit in "0123456789abcdefABCDEF"}


class BadSignature(ValueError):
    """The bytes are no signature that the contracts would accept from anybody."""


def ethereum_message_hash(message: bytes) -> Hash:
    """What a wallet signs when asked for a personal message of 32 bytes (EIP-191)."""
    if len(message) != 32:
        raise ValueError(f"the message is a hash of 32 bytes, got {len(message)}")
    return Hash(keccak(b"\x19Ethereum Signed Message:\n32" + message))


Sign: TypeAlias = Callable[[Hash], bytes]
"""The deterministic signature (RFC 6979) of a digest: r, s, v."""


def signer(key: bytes) -> Sign:
    """Signs with the private `key`, whose public one is computed only once."""
    known = PrivateKey(key)

    def sign_digest(digest: Hash) -> bytes:
        raw = known.sign_recoverable(digest, hasher=None)
        return raw[:64] + bytes([27 + raw[64]])

    return sign_digest


def sign(key: bytes, digest: Hash) -> bytes:
    """The deterministic signature (RFC 6979) of `digest` by the private `key`: r, s, v."""
    return signer(key)(digest)


def recover(digest: Hash, signature: bytes) -> Address:
    """Who signed `digest`.

    Raises BadSignature when the bytes are malformed: wrong length, v other than 27 or 28, or
    s in the upper half, which would allow a second signature of the same digest.
    """
    r, s, parity = _parts(signature)
    if not 0 < int.from_bytes(s, "big") <= _ORDER // 2:
        raise BadSignature("The signature's s is not in the lower half; sign again.")
    try:
        public = PublicKey.from_signature_and_message(
            r + s + bytes([parity]), digest, hasher=None
        )
    except ValueError as cause:
        raise BadSignature("The signature belongs to no key at all.") from cause
    return _address(public)


def address_of(key: bytes) -> Address:
    """The account that the private `key` controls."""
    return _address(PrivateKey(key).public_key)


def lenient_hex(text: str) -> bytes:
    """Bytes of `text` read as hex by the rules of web3j, which never complains.

    A leading `0x` is dropped, an odd first digit stands alone, and a character that is no
    hex digit counts as -1. The worker login signs challenges read this way.
    """
    digits = [_HEX.get(letter, -1) for letter in text.removeprefix("0x")]
    head = [digits.pop(0) & 0xFF] if len(digits) % 2 else []
    pairs = zip(digits[::2], digits[1::2], strict=True)
    return bytes(head + [((high << 4) + low) & 0xFF for high, low in pairs])


def _parts(signature: bytes) -> tuple[bytes, bytes, int]:
    if len(signature) == 65 and signature[64] in (27, 28):
        return signature[:32], signature[32:64], signature[64] - 27
    if len(signature) == 64:
        folded = int.from_bytes(signature[32:], "big")
        s = folded & ((1 << 255) - 1)
        return signature[:32], s.to_bytes(32, "big"), folded >> 255
    raise BadSignature("A signature is r, s and v (27 or 28), or 64 bytes in compact form.")


def _address(public: PublicKey) -> Address:
    return Address(keccak(public.format(compressed=False)[1:])[12:])

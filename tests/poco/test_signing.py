"""Hashes and signatures against the published vectors: what another program computed."""

from contextlib import suppress

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from tallystick.poco.contribution import authorization_hash, result_hash, result_seal
from tallystick.poco.deal import Deal
from tallystick.poco.signing import (
    BadSignature,
    address_of,
    ethereum_message_hash,
    lenient_hex,
    recover,
    sign,
)
from tallystick.poco.values import Address, DealId, Digest, Hash, TaskId

WORKER_KEY, SCHEDULER_KEY = b"\x11" * 32, b"\x22" * 32
WORKER = Address("0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a")
SCHEDULER = Address("0x1563915e194d8cfba1943570603f7606a3115508")
TASK = TaskId("0x1c11a7f5202ce448e5d43b6b6d6bd678c65f105890c132effaf4b01e899ceec2")
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_keys_and_accounts():
    assert address_of(WORKER_KEY) == WORKER
    assert address_of(SCHEDULER_KEY) == SCHEDULER


@pytest.mark.parametrize(
    ("challenge", "read", "digest", "signature"),
    [
        (
            "AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dw=",
            "9feffb7feff7efeff14faff6efefef1ff7f5efef1def",
            "1373c7e64aeb1dfa20a21a2b6745f96018f3f435c85366c13c72fa0b3dff2589",
            "94bb5963b9529920122ba594d4de80a50ea8430e3badf7f1f48acee40bd1200f"
            "2d87513707494a936cdd8aced2201aa647054cc579fe19f86f10e2961fa966031b",
        ),
        (
            "0xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa9f",
            "cda59d34ecc00a3a707468043a6b1bc7484cac5bd39117ab4cd33a1cccf0e22d",
            "b2f0216d20d443ccb7189e2301478d1df51ca23d38c11ed0ac99dc607b76ee97"
            "2fedd2184462989c444f97840d53cadd0b775ed14822a438c54fc402a4e7ffb01c",
        ),
        (
            "deadbeef" * 8,
            "deadbeef" * 8,
            "86c47f76ff4a6cb8ee9c172982eda47e895262b5a6a7582aaf7d97295ce1d8d4",
            "9645b0fa20ce6e16c37e82501654997612a2a35c1aa0295c3d8c77f7da1227f4"
            "17ffc4e5466937b85f19ed6ada104b3ba29b5ba87f50d4ccaa0b7da6b4b802381b",
        ),
    ],
)
def test_a_login_challenge_is_read_leniently_and_signed_raw(challenge, read, digest, signature):
    assert lenient_hex(challenge).hex() == read
    hashed = Hash(keccak(lenient_hex(challenge)))
    assert hashed.hex() == digest
    assert sign(WORKER_KEY, hashed).hex() == signature
    assert recover(hashed, bytes.fromhex(signature)) == WORKER


def test_lenient_hex_never_complains():
    assert lenient_hex("") == b""
    assert lenient_hex("0x") == b""
    assert lenient_hex("gg") == b"\xef"
    assert lenient_hex("A=") == b"\x9f"
    assert lenient_hex("=A") == b"\xfa"
    assert lenient_hex("=") == b"\xff"
    assert lenient_hex("abc") == b"\x0a\xbc"
    assert lenient_hex("0XAB") == b"\xff\xab"
    assert lenient_hex("abcdef01") == b"\xab\xcd\xef\x01"


def test_a_task_is_its_deal_and_its_index():
    deal = Deal(DealId(b"\xab" * 32), start=0, time_unit=300, trust=1)
    assert deal.task_id(3) == TASK


def test_authorizations():
    hashed = authorization_hash(WORKER, TASK)
    assert hashed.hex() == "0bd3b2d81fd6a8ac543f7abd79fba3641493757841b06adb59f45b841c9dfd46"
    message = ethereum_message_hash(hashed)
    assert sign(SCHEDULER_KEY, message).hex() == (
        "b288bb4d19e4aaf1c224396498f414eee43dd518f9611a79c28a946eb8191fc7"
        "1826d06124081955115179b5a564d3b5e9180c63a3a334f08c769c02f89260b61c"
    )
    assert sign(WORKER_KEY, message).hex() == (
        "b951bacaf9fa3c3b1f8299a804b79355f80c5e8ed4668e6e4bd8ee448ef21e79"
        "62e332210770ade0b69c0e346648b719da0c5d06734d5f9cb92fe5e59cc850371b"
    )


def test_the_vote_and_the_seal_of_a_known_result():
    digest = Digest("0xd885f429a59e0816822fc0927be6a6af20ade2c79db49df6c6022f79cb27ac16")
    assert result_hash(TASK, digest).hex() == (
        "a10ad5005470b7dc8e7b6830be4b8cd64fd5c60ea38b039d3c5af8983491aacd"
    )
    assert result_seal(WORKER, TASK, digest).hex() == (
        "34c65f9c4d598d1d0c6e33f5201fb31c9f119eb86252786dd41cde93a8b1f532"
    )


@given(st.binary(min_size=32, max_size=32))
def test_who_signed_is_recovered_from_both_forms(message: bytes):
    digest = Hash(message)
    signature = sign(WORKER_KEY, digest)
    assert recover(digest, signature) == WORKER
    parity = (signature[64] - 27) << 255
    folded = int.from_bytes(signature[32:64], "big") | parity
    assert recover(digest, signature[:32] + folded.to_bytes(32, "big")) == WORKER


@pytest.mark.parametrize("length", [0, 63, 66, 130])
def test_other_lengths_are_no_signature(length: int):
    with pytest.raises(BadSignature):
        recover(Hash(bytes(32)), b"\x1b" * length)


@pytest.mark.parametrize("v", [0, 1, 26, 29, 255])
def test_other_recovery_numbers_are_refused(v: int):
    good = sign(WORKER_KEY, Hash(bytes(32)))
    with pytest.raises(BadSignature):
        recover(Hash(bytes(32)), good[:64] + bytes([v]))


def test_the_mirrored_signature_is_refused():
    good = sign(WORKER_KEY, Hash(bytes(32)))
    high = ORDER - int.from_bytes(good[32:64], "big")
    mirrored = good[:32] + high.to_bytes(32, "big") + bytes([27 + (28 - good[64])])
    with pytest.raises(BadSignature):
        recover(Hash(bytes(32)), mirrored)


POINT = bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
"""A number that is r of some signature: the curve's generator's."""


@pytest.mark.parametrize("s", [0, ORDER // 2 + 1, ORDER, 2**255 - 1])
def test_the_second_number_is_in_the_lower_half(s: int):
    with pytest.raises(BadSignature, match="lower half"):
        recover(Hash(b"d" * 32), POINT + s.to_bytes(32, "big") + b"\x1b")
    for fits in (1, 2, ORDER // 2 - 1, ORDER // 2):
        assert recover(Hash(b"d" * 32), POINT + fits.to_bytes(32, "big") + b"\x1b")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_personal_message_is_a_hash(length: int):
    with pytest.raises(ValueError, match=f"32 bytes, got {length}"):
        ethereum_message_hash(bytes(length))


def test_numbers_that_are_no_point_of_the_curve_are_refused():
    with pytest.raises(BadSignature):
        recover(Hash(bytes(32)), b"\xff" * 32 + b"\x01" * 32 + b"\x1b")
    with pytest.raises(BadSignature):
        recover(Hash(bytes(32)), bytes(64) + b"\x1b")


@given(st.binary(min_size=64, max_size=64), st.sampled_from([27, 28]))
def test_garbage_is_somebodys_signature_or_a_bad_one(garbage: bytes, v: int):
    for signature in (garbage, garbage + bytes([v])):
        with suppress(BadSignature):
            assert recover(Hash(bytes(32)), signature) != WORKER

"""Section 11 of the wire protocol, line by line: what both ends agree on to the byte."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jwt
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

from tallystick.poco.contribution import authorization_hash, result_hash, result_seal
from tallystick.poco.params import tokenize
from tallystick.poco.signing import address_of, ethereum_message_hash, lenient_hex, sign
from tallystick.poco.values import Address, DealId, Digest, Hash, Signature, TaskId
from tallystick.storage.archive import digest_of, write_error_result
from tallystick.wire.auth import Tokens, log_challenge, log_challenge_hash, login_digest
from tallystick.wire.authorization import SignatureBody, WorkerpoolAuthorization
from tallystick.worker.folder import input_name

WORKER_KEY, SCHEDULER_KEY = b"\x11" * 32, b"\x22" * 32
WORKER = Address("0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a")
SCHEDULER = Address("0x1563915e194d8cfba1943570603f7606a3115508")
DEAL = DealId(b"\xab" * 32)
TASK = TaskId("0x1c11a7f5202ce448e5d43b6b6d6bd678c65f105890c132effaf4b01e899ceec2")
A_RESULT = "0xd885f429a59e0816822fc0927be6a6af20ade2c79db49df6c6022f79cb27ac16"
POOL = Address(b"\x05" * 20)

LOGINS = [
    (
        "AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dw=",
        "9feffb7feff7efeff14faff6efefef1ff7f5efef1def",
        "1373c7e64aeb1dfa20a21a2b6745f96018f3f435c85366c13c72fa0b3dff2589",
        "0x94bb5963b9529920122ba594d4de80a50ea8430e3badf7f1f48acee40bd1200f"
        "2d87513707494a936cdd8aced2201aa647054cc579fe19f86f10e2961fa966031b",
    ),
    (
        "0xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa9f",
        "cda59d34ecc00a3a707468043a6b1bc7484cac5bd39117ab4cd33a1cccf0e22d",
        "0xb2f0216d20d443ccb7189e2301478d1df51ca23d38c11ed0ac99dc607b76ee97"
        "2fedd2184462989c444f97840d53cadd0b775ed14822a438c54fc402a4e7ffb01c",
    ),
    (
        "deadbeef" * 8,
        "deadbeef" * 8,
        "86c47f76ff4a6cb8ee9c172982eda47e895262b5a6a7582aaf7d97295ce1d8d4",
        "0x9645b0fa20ce6e16c37e82501654997612a2a35c1aa0295c3d8c77f7da1227f4"
        "17ffc4e5466937b85f19ed6ada104b3ba29b5ba87f50d4ccaa0b7da6b4b802381b",
    ),
]
AUTHORIZED = "0x0bd3b2d81fd6a8ac543f7abd79fba3641493757841b06adb59f45b841c9dfd46"
BY_SCHEDULER = (
    "0xb288bb4d19e4aaf1c224396498f414eee43dd518f9611a79c28a946eb8191fc7"
    "1826d06124081955115179b5a564d3b5e9180c63a3a334f08c769c02f89260b61c"
)
BY_WORKER = (
    "0xb951bacaf9fa3c3b1f8299a804b79355f80c5e8ed4668e6e4bd8ee448ef21e79"
    "62e332210770ade0b69c0e346648b719da0c5d06734d5f9cb92fe5e59cc850371b"
)
LOG_HASH = "0x9f3a3576e8dccc301f8d41351700ba28f71d6d51c7013581239381ee94955e18"
LOG_SIGNATURE = (
    "0x1518cfe7c943a72c1a706057b930c492c195cd2e26a877beb9e17e9f03d3b7d1"
    "78018d0004b1b3b47831c5ed8f24faadb32417d89b28a722943c4215c4e413251b"
)


def test_the_keys_are_these_addresses():
    assert (address_of(WORKER_KEY), address_of(SCHEDULER_KEY)) == (WORKER, SCHEDULER)


@pytest.mark.parametrize(("challenge", "read", "digest", "signature"), LOGINS)
def test_a_login_signs_what_v9_reads_of_a_challenge(
    challenge: str, read: str, digest: str, signature: str
):
    assert lenient_hex(challenge).hex() == read
    assert login_digest(challenge).hex() == digest
    assert "0x" + sign(WORKER_KEY, login_digest(challenge)).hex() == signature


@pytest.mark.parametrize(
    ("text", "read"),
    [("gg", "ef"), ("A=", "9f"), ("=A", "fa"), ("abc", "0abc"), ("0Xab", "ffab"), ("", "")],
)
def test_text_that_is_no_hex_is_read_as_v9_reads_it(text: str, read: str):
    assert lenient_hex(text).hex() == read


def test_the_task_of_a_deal():
    assert Hash(keccak(DEAL + (3).to_bytes(32, "big"))) == Hash(TASK)


def test_the_authorization_and_the_ticket_to_the_result_proxy():
    hashed = authorization_hash(WORKER, TASK)
    assert str(hashed) == AUTHORIZED
    message = ethereum_message_hash(hashed)
    assert "0x" + sign(SCHEDULER_KEY, message).hex() == BY_SCHEDULER
    assert "0x" + sign(WORKER_KEY, message).hex() == BY_WORKER


def test_the_authorization_travels_with_these_fields_and_no_other():
    body = WorkerpoolAuthorization(
        chain_task_id=TASK,
        deal_id=DEAL,
        task_index=3,
        worker_wallet=WORKER,
        signature=SignatureBody(value=Signature(BY_SCHEDULER)),
    )
    assert json.loads(body.json_bytes()) == {
        "chainTaskId": str(TASK),
        "dealId": "0x" + "ab" * 32,
        "taskIndex": 3,
        "workerWallet": str(WORKER),
        "enclaveChallenge": "0x" + "00" * 20,
        "signature": {"value": BY_SCHEDULER},
    }
    assert body.signed_by() == SCHEDULER


def test_the_digest_of_a_file(tmp_path: Path):
    (tmp_path / "result.txt").write_text("A result")
    _computed(tmp_path, "/iexec_out/result.txt")
    assert str(digest_of(tmp_path)) == A_RESULT


def test_the_digest_of_a_folder(tmp_path: Path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "result1.txt").write_text("A result")
    (tmp_path / "r" / "result2.txt").write_text("Another result")
    _computed(tmp_path, "/iexec_out/r")
    assert str(digest_of(tmp_path)) == (
        "0xcc77508549295dd5de5876a2f4f00d4c3c27a547c6403450e43ab4de191bf1bc"
    )


def test_the_digest_of_a_callback(tmp_path: Path):
    said = {"callback-data": "0x" + "00" * 31 + "01"}
    (tmp_path / "computed.json").write_text(json.dumps(said))
    assert str(digest_of(tmp_path, callback=True)) == (
        "0xb10e2d527612073b26eecdfd717e6a320cf44b4afac2b0732d9fcbe2b7fa0cf6"
    )


def test_hash_and_seal_of_a_digest():
    digest = Digest(A_RESULT)
    assert str(result_hash(TASK, digest)) == (
        "0xa10ad5005470b7dc8e7b6830be4b8cd64fd5c60ea38b039d3c5af8983491aacd"
    )
    assert str(result_seal(WORKER, TASK, digest)) == (
        "0x34c65f9c4d598d1d0c6e33f5201fb31c9f119eb86252786dd41cde93a8b1f532"
    )


def test_the_result_of_a_failed_download(tmp_path: Path):
    write_error_result(tmp_path / "o", "APP_DOWNLOAD_FAILED", "APP_IMAGE_DOWNLOAD_FAILED")
    text = (tmp_path / "o" / "error.txt").read_bytes()
    assert text == (
        b"[IEXEC] Errors occurred while computing the task [error:APP_DOWNLOAD_FAILED,"
        b" causes:[WorkflowError[cause=APP_IMAGE_DOWNLOAD_FAILED, message=]]]"
    )
    assert "0x" + hashlib.sha256(text).hexdigest() == str(digest_of(tmp_path / "o"))
    assert str(digest_of(tmp_path / "o")) == (
        "0x6b234cc858ad3404f912dd7f119afe2178251bec64cb25e5cbeba61dd764fc5d"
    )


def test_the_name_of_an_input_file():
    assert input_name("https://example.org/a.txt") == (
        "0x3a1d3c5d32024690dd8878ef6701762cf7d59343d17dc5051bbd721fc76ecc27"
    )


def test_the_challenge_to_read_logs():
    typed = log_challenge(134, LOGINS[0][0])
    assert str(log_challenge_hash(134, LOGINS[0][0])) == LOG_HASH
    by_us = "0x" + sign(WORKER_KEY, log_challenge_hash(134, LOGINS[0][0])).hex()
    assert by_us == LOG_SIGNATURE
    by_others = Account.sign_message(encode_typed_data(full_message=typed), WORKER_KEY)
    assert "0x" + bytes(by_others.signature).hex() == LOG_SIGNATURE


def test_the_token_has_the_claims_that_v9_has():
    """HS256; the worker is its subject in lower case. To workers it is opaque."""
    token = Tokens(b"k" * 32, pool=POOL).issue(WORKER)
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["sub"] == str(WORKER) == str(WORKER).lower()
    assert isinstance(claims["aud"], str)
    assert claims["exp"] > claims["iat"]
    assert not any(sign in token for sign in " \n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--x='a b'c", ("--x=a bc",)),
        ("\"a'b\" 'c\"d'", ("a'b", 'c"d')),
        ("a\\ b", ("a\\", "b")),
        ("a '' b", ("a", "b")),
        ('{"a": "b c"}', ("{a:", "b c}")),
        ("unclosed 'abc", ()),
    ],
)
def test_how_arguments_are_split(args: str, words: tuple[str, ...]):
    assert tokenize(args) == words


def _computed(folder: Path, path: str) -> None:
    said = {"deterministic-output-path": path}
    (folder / "computed.json").write_text(json.dumps(said))

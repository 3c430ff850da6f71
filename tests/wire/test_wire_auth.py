"""Logging in: the vectors of the v9 peers, challenges, tokens."""

from __future__ import annotations

import time

import jwt
import pytest

from tallystick.poco.signing import address_of, ethereum_message_hash, sign
from tallystick.poco.values import Address, DealId, Hash, Signature, TaskId
from tallystick.wire.auth import (
    CHALLENGE_LIFE,
    TOKEN_LIFE,
    Challenges,
    Tokens,
    Unauthorized,
    key_file,
    log_challenge_hash,
    login_digest,
)
from tallystick.wire.authorization import SignatureBody, WorkerpoolAuthorization

WORKER, SCHEDULER = b"\x11" * 32, b"\x22" * 32
ME = address_of(WORKER)
POOL = Address(b"\x05" * 20)

LOGINS = [
    (
        "AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dw=",
        "1373c7e64aeb1dfa20a21a2b6745f96018f3f435c85366c13c72fa0b3dff2589",
        "94bb5963b9529920122ba594d4de80a50ea8430e3badf7f1f48acee40bd1200f"
        "2d87513707494a936cdd8aced2201aa647054cc579fe19f86f10e2961fa966031b",
    ),
    (
        "0xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "cda59d34ecc00a3a707468043a6b1bc7484cac5bd39117ab4cd33a1cccf0e22d",
        "b2f0216d20d443ccb7189e2301478d1df51ca23d38c11ed0ac99dc607b76ee97"
        "2fedd2184462989c444f97840d53cadd0b775ed14822a438c54fc402a4e7ffb01c",
    ),
    (
        "deadbeef" * 8,
        "86c47f76ff4a6cb8ee9c172982eda47e895262b5a6a7582aaf7d97295ce1d8d4",
        "9645b0fa20ce6e16c37e82501654997612a2a35c1aa0295c3d8c77f7da1227f4"
        "17ffc4e5466937b85f19ed6ada104b3ba29b5ba87f50d4ccaa0b7da6b4b802381b",
    ),
]


@pytest.mark.parametrize(("challenge", "digest", "signature"), LOGINS)
def test_a_worker_signs_challenges_as_v9_workers_do(
    challenge: str, digest: str, signature: str
):
    assert login_digest(challenge) == Hash(digest)
    assert sign(WORKER, login_digest(challenge)).hex() == signature


def test_the_authorization_of_the_v9_peers():
    permission = WorkerpoolAuthorization(
        chain_task_id=TaskId(
            "1c11a7f5202ce448e5d43b6b6d6bd678c65f105890c132effaf4b01e899ceec2"
        ),
        deal_id=DealId(b"\xab" * 32),
        task_index=3,
        worker_wallet=ME,
        signature=SignatureBody(
            value=Signature(
                "b288bb4d19e4aaf1c224396498f414eee43dd518f9611a79c28a946eb8191fc7"
                "1826d06124081955115179b5a564d3b5e9180c63a3a334f08c769c02f89260b61c"
            )
        ),
    )
    assert permission.signed_by() == address_of(SCHEDULER)
    assert WorkerpoolAuthorization.model_validate_json(permission.json_bytes()) == permission


def test_the_log_challenge_of_the_v9_peers():
    assert log_challenge_hash(134, LOGINS[0][0]) == Hash(
        "9f3a3576e8dccc301f8d41351700ba28f71d6d51c7013581239381ee94955e18"
    )


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_challenge_is_the_same_until_it_is_answered_or_old():
    clock = Time()
    challenges = Challenges(clock)
    first = challenges.issue(ME)
    assert challenges.issue(ME) == first
    with pytest.raises(Unauthorized):
        challenges.settle(ME, sign(SCHEDULER, login_digest(first)))
    challenges.settle(ME, sign(WORKER, login_digest(first)))
    with pytest.raises(Unauthorized, match="no open challenge"):
        challenges.settle(ME, sign(WORKER, login_digest(first)))
    second = challenges.issue(ME)
    clock.now += CHALLENGE_LIFE + 1
    with pytest.raises(Unauthorized, match="no open challenge"):
        challenges.settle(ME, sign(WORKER, login_digest(second)))
    assert challenges.issue(ME) not in (first, second)


@pytest.mark.parametrize("signature", [b"", b"\0" * 65, b"\xff" * 65, b"x" * 64])
def test_what_is_no_signature_opens_nothing(signature: bytes):
    challenges = Challenges()
    challenges.issue(ME)
    with pytest.raises(Unauthorized):
        challenges.settle(ME, signature)


def test_a_personal_signature_of_the_challenge_is_not_the_login():
    challenges = Challenges()
    digest = login_digest(challenges.issue(ME))
    with pytest.raises(Unauthorized):
        challenges.settle(ME, sign(WORKER, ethereum_message_hash(digest)))


def test_a_token_names_its_bearer_to_its_own_pool_only():
    tokens = Tokens(b"k" * 32, pool=POOL)
    header = f"Bearer {tokens.issue(ME)}"
    assert tokens.bearer(header) == ME
    with pytest.raises(Unauthorized):
        Tokens(b"k" * 32, pool=Address(b"\x06" * 20)).bearer(header)
    with pytest.raises(Unauthorized):
        Tokens(b"K" * 32, pool=POOL).bearer(header)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x.y.z", "bearer x", "Basic eA=="])
def test_what_is_no_token_names_nobody(header: str):
    with pytest.raises(Unauthorized):
        Tokens(b"k" * 32, pool=POOL).bearer(header)


def test_an_old_token_and_one_without_a_signature_name_nobody():
    now = int(time.time())
    claims = {"aud": "iexec-core", "iss": str(POOL), "sub": str(ME), "exp": now - 1}
    old = jwt.encode(claims, b"k" * 32, algorithm="HS256")
    claims["exp"] = now + 60
    unsigned = jwt.encode(claims, None, algorithm="none")
    for token in (old, unsigned):
        with pytest.raises(Unauthorized):
            Tokens(b"k" * 32, pool=POOL).bearer(f"Bearer {token}")


def test_a_token_is_looked_at_once_and_ends_all_the_same(monkeypatch: pytest.MonkeyPatch):
    tokens, now = Tokens(b"k" * 32, pool=POOL), time.time()
    header = f"Bearer {tokens.issue(ME)}"
    assert tokens.bearer(header) == ME

    def expired(*args: object, **options: object) -> None:
        raise jwt.ExpiredSignatureError("looked at again")

    monkeypatch.setattr(jwt, "decode", expired)
    assert tokens.bearer(header) == ME
    with pytest.raises(Unauthorized):
        tokens.bearer(header + "x")
    monkeypatch.setattr(time, "time", lambda: now + TOKEN_LIFE + 1)
    with pytest.raises(Unauthorized, match="looked at again"):
        tokens.bearer(header)


def test_the_key_of_the_tokens_survives_and_is_private(tmp_path):
    first = key_file(tmp_path / "token.key")
    assert len(first) == 32
    assert key_file(tmp_path / "token.key") == first
    assert (tmp_path / "token.key").stat().st_mode & 0o777 == 0o600

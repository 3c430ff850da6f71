"""Content identifiers are those of the usual tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.storage.addresses import base58, uri_of
from tallystick.storage.cid import cid_v0, cid_v1, is_cid

HELLO_V0 = "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN"  # ipfs add, of "hello\n"
HELLO_V1 = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"


def test_a_small_file() -> None:
    assert cid_v0(b"hello\n") == HELLO_V0
    assert cid_v1(b"hello\n") == HELLO_V1


def test_a_file_of_many_blocks_is_read_as_a_stream(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "f").write_bytes(content)
    assert cid_v0(tmp_path / "f") == cid_v0(content)
    assert cid_v1(tmp_path / "f") == cid_v1(content)


@pytest.mark.parametrize("text", [HELLO_V0, HELLO_V1])
def test_identifiers_are_known_by_their_form(text: str) -> None:
    assert is_cid(text)


@pytest.mark.parametrize(
    "text", ["", "..", HELLO_V0 + "\n", HELLO_V0[:-1] + "0", "/etc/passwd"]
)
def test_nothing_else_is(text: str) -> None:
    assert not is_cid(text)


def test_a_dataset_may_be_registered_in_binary_or_in_text() -> None:
    binary = bytes.fromhex(
        "a503221220a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"
    )
    assert uri_of(binary) == "/ipfs/" + base58(binary[3:])
    assert is_cid(uri_of(binary).removeprefix("/ipfs/"))
    assert uri_of(b"https://example.org/data") == "https://example.org/data"
    assert uri_of(b"/ipfs/" + HELLO_V0.encode()) == f"/ipfs/{HELLO_V0}"
    assert base58(b"\0\0\1") == "112"

"""Results, callback data and addresses of strangers: read, or refused as documented."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tallystick.storage.addresses import (
    AddressRefused,
    candidates,
    host_and_port,
    require_public_ip,
    uri_of,
)
from tallystick.storage.archive import ResultLimits, digest_of, unpack, zip_output
from tallystick.storage.cid import is_cid
from tallystick.storage.digest import BadOutput, OutputFolder, callback_data, output_digest
from tallystick.storage.zips import BadArchive, open_zip

QUICK: Final = settings(deadline=None, derandomize=True, max_examples=25)
BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
LIMITS: Final = ResultLimits(max_bytes=1 << 16, max_files=20, max_depth=4)
NAMES = st.sampled_from(["computed.json", "a/b", "../x", "/x", "a//b", "a\\b", "é", "x" * 300])
FILES = st.dictionaries(
    NAMES | st.text(min_size=1, max_size=8), st.binary(max_size=60), max_size=4
)


def zipped(files: dict[str, bytes], packing: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", packing) as archive:
        for name, content in files.items():
            with suppress(ValueError, IndexError):  # it writes not every name
                archive.writestr(name, content)
    return made.getvalue()


def read(raw: bytes) -> None:
    """Judged by a store and unpacked by a requester; nothing is written elsewhere."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "zip").write_bytes(raw)
        with (
            suppress(BadArchive, BadOutput),
            open_zip(home / "zip", max_bytes=1 << 16, max_files=20) as result,
        ):
            output_digest(result, callback=False)
        with suppress(BadArchive):
            unpack(home / "zip", home / "out", LIMITS)
        assert {each.name for each in home.iterdir()} <= {"zip", "out"}


@QUICK
@given(FILES, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
def test_a_zip_is_read_or_refused(files: dict[str, bytes], packing: int):
    read(zipped(files, packing))


@settings(deadline=None, derandomize=True, max_examples=20)
@given(
    FILES,
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 60),
)
def test_a_damaged_zip_is_read_or_refused(
    files: dict[str, bytes], damage: list[tuple[int, int]], cut: int
):
    raw = bytearray(zipped({"computed.json": b"{}", **files}, zipfile.ZIP_DEFLATED))
    for at, byte in damage:
        raw[-1 - at % len(raw)] = byte  # the directory is at the end
    read(bytes(raw[: len(raw) - cut]))


def test_a_file_without_a_name_is_refused(tmp_path: Path):
    raw = zipped({"computed.json": b"{}", "x": b"?"}, zipfile.ZIP_STORED)
    (tmp_path / "zip").write_bytes(raw.replace(b"x?", b"\0?").replace(b"xPK", b"\0PK"))
    with pytest.raises(BadArchive, match="forbidden name"):
        unpack(tmp_path / "zip", tmp_path / "out", LIMITS)


PATHS = st.sampled_from(
    [
        "/iexec_out/r",
        "/iexec_out/",
        "/iexec_out",
        "/iexec_out/../x",
        "/etc/passwd",
        "r",
        "\0",
        "",
    ]
)
SAID = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | PATHS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["deterministic-output-path", "callback-data", "task-id"]), inner
        )
    ),
    max_leaves=6,
)


@QUICK
@given(SAID.map(lambda said: json.dumps(said).encode()) | st.binary(max_size=60), st.booleans())
@example(b"[" * 100_000, False)
@example(b'{"deterministic-output-path": "/iexec_out/\\ud800"}', False)
@example(b'{"deterministic-output-path": "/iexec_out/' + b"a/" * 3000 + b'"}', False)
@example(b'{"callback-data": "\\ud800\\u0000"}', True)
@example(b'{"callback-data": ' + b"1" * 5000 + b"}", True)
def test_what_an_app_says_is_a_digest_or_bad_output(said: bytes, callback: bool):
    """A worker finds by the folder what a store finds by the zip."""
    with TemporaryDirectory() as folder:
        out = Path(folder, "iexec_out")
        out.mkdir()
        (out / "computed.json").write_bytes(said)
        (out / "r").write_text("A result")
        found: list[Any] = []
        for look in (_by_folder, _by_zip):
            try:
                found.append(look(out, callback))
            except BadOutput:
                found.append(None)
        assert found[0] == found[1]
        with suppress(BadOutput):
            assert isinstance(callback_data(OutputFolder(out)), bytes)


def _by_folder(out: Path, callback: bool) -> Any:
    return digest_of(out, callback=callback)


def _by_zip(out: Path, callback: bool) -> Any:
    archive = out.parent / "zip"
    zip_output(out, archive)
    with open_zip(archive, max_bytes=1 << 20, max_files=20) as result:
        return output_digest(result, callback=callback)


@QUICK
@given(
    st.binary(max_size=80)
    | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace"))
)
@example(b"\xa5\x03")
@example(b"\xa5\x03\x00")
@example(b"\xa5\x03\x22" + b"\0" * 34)
@example(b"http://[::1]:99999/")
@example(b"http://\xe2\x84\x80.com/")
@example(b"http://1.2.3.4.5/")
def test_an_address_leads_somewhere_or_is_refused(raw: bytes):
    with suppress(AddressRefused):
        for url in candidates(uri_of(raw), ("https://gateway.example/",)):
            host_and_port(url)


@QUICK
@given(st.ip_addresses().map(str))
def test_an_ip_is_public_or_refused(text: str):
    with suppress(AddressRefused):
        require_public_ip(text, "http://x/")


@QUICK
@given(st.text(max_size=80))
def test_a_cid_is_one_or_none(text: str):
    assert is_cid(text) in (True, False)


def raw_of(spelled: str) -> bytes:
    """The bytes behind a spelling in base 58, by counting."""
    number = 0
    for letter in spelled:
        number = number * 58 + BASE58.index(letter)
    zeros = len(spelled) - len(spelled.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


@QUICK
@given(st.binary(min_size=1, max_size=127))
@example(b"\x12\x20" + b"\xff" * 32)
@example(b"\0" * 127)
def test_a_binary_multiaddr_is_the_path_of_its_multihash(multihash: bytes):
    said = uri_of(b"\xa5\x03" + bytes([len(multihash)]) + multihash)
    assert said.startswith("/ipfs/")
    assert raw_of(said.removeprefix("/ipfs/")) == multihash
    assert candidates(said, ("https://gateway.example/",)) == [f"https://gateway.example{said}"]


@QUICK
@given(st.binary(max_size=40), st.integers(0, 255))
@example(b"", 0)
@example(b"\0", 2)
def test_a_binary_multiaddr_of_another_length_leads_nowhere(multihash: bytes, claimed: int):
    assume(claimed != len(multihash) or not multihash)
    said = uri_of(b"\xa5\x03" + bytes([claimed]) + multihash)
    with pytest.raises(AddressRefused, match="neither an http"):
        candidates(said, ("https://gateway.example/",))

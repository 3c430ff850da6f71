"""Digests of results: the vectors of the protocol, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from tallystick.poco.contribution import result_hash, result_seal
from tallystick.poco.values import Address, DealId, Digest, TaskId
from tallystick.storage.archive import digest_of, write_error_result, zip_output
from tallystick.storage.digest import BadOutput, OutputFolder, callback_data, output_digest
from tallystick.storage.zips import open_zip

A_RESULT = "0xd885f429a59e0816822fc0927be6a6af20ade2c79db49df6c6022f79cb27ac16"
TWO_RESULTS = "0xcc77508549295dd5de5876a2f4f00d4c3c27a547c6403450e43ab4de191bf1bc"
ONE = "0x" + "0" * 63 + "1"


def output(folder: Path, files: dict[str, str], **computed: str) -> Path:
    """An app's output with these files and this computed.json."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    folder.mkdir(exist_ok=True)
    (folder / "computed.json").write_text(json.dumps(computed))
    return folder


def deterministic(folder: Path, files: dict[str, str], path: str) -> Path:
    return output(folder, files, **{"deterministic-output-path": path})


def zipped_digest(folder: Path, archive: Path, *, callback: bool = False) -> Digest:
    zip_output(folder, archive)
    with open_zip(archive, max_bytes=1 << 20, max_files=100) as zipped:
        return output_digest(zipped, callback=callback)


def test_a_file_is_worth_its_sha256(tmp_path: Path) -> None:
    out = deterministic(tmp_path / "o", {"result.txt": "A result"}, "/iexec_out/result.txt")
    assert str(digest_of(out)) == A_RESULT


def test_a_folder_is_worth_its_direct_files_by_name(tmp_path: Path) -> None:
    files = {"r/result2.txt": "Another result", "r/result1.txt": "A result"}
    out = deterministic(tmp_path / "o", files, "/iexec_out/r")
    assert str(digest_of(out)) == TWO_RESULTS


def test_folders_in_the_folder_count_for_nothing(tmp_path: Path) -> None:
    files = {
        "r/result2.txt": "Another result",
        "r/result1.txt": "A result",
        "r/sub/x": "hidden",
    }
    out = deterministic(tmp_path / "o", files, "/iexec_out/r/")
    assert str(digest_of(out)) == TWO_RESULTS


def test_names_are_sorted_as_java_sorts_them(tmp_path: Path) -> None:
    late, early = "r/\uffee", "r/\U0001f600"  # UTF-16 puts the emoji first, code points last
    out = deterministic(tmp_path / "o", {late: "late", early: "early"}, "/iexec_out/r")
    parts = hashlib.sha256(b"early").digest() + hashlib.sha256(b"late").digest()
    assert digest_of(out) == Digest(keccak(parts))


def test_with_a_callback_only_its_data_count(tmp_path: Path) -> None:
    out = output(tmp_path / "o", {}, **{"callback-data": ONE})
    assert (
        str(digest_of(out, callback=True))
        == "0xb10e2d527612073b26eecdfd717e6a320cf44b4afac2b0732d9fcbe2b7fa0cf6"
    )
    assert callback_data(OutputFolder(out)) == bytes(31) + b"\1"


def test_the_digest_becomes_a_hash_and_a_seal() -> None:
    task = DealId(b"\xab" * 32)
    found = TaskId(keccak(task + (3).to_bytes(32, "big")))
    digest = Digest(A_RESULT)
    worker = Address("0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a")
    assert str(found) == "0x1c11a7f5202ce448e5d43b6b6d6bd678c65f105890c132effaf4b01e899ceec2"
    assert (
        str(result_hash(found, digest))
        == "0xa10ad5005470b7dc8e7b6830be4b8cd64fd5c60ea38b039d3c5af8983491aacd"
    )
    assert (
        str(result_seal(worker, found, digest))
        == "0x34c65f9c4d598d1d0c6e33f5201fb31c9f119eb86252786dd41cde93a8b1f532"
    )


def test_an_error_result_is_the_same_everywhere(tmp_path: Path) -> None:
    write_error_result(tmp_path / "o", "APP_DOWNLOAD_FAILED", "APP_IMAGE_DOWNLOAD_FAILED")
    assert (
        str(digest_of(tmp_path / "o"))
        == "0x6b234cc858ad3404f912dd7f119afe2178251bec64cb25e5cbeba61dd764fc5d"
    )


def test_an_error_result_replaces_what_was_there(tmp_path: Path) -> None:
    out = output(tmp_path / "o", {"half.txt": "done"})
    write_error_result(out, "DATA_DOWNLOAD_FAILED", "DATASET_FILE_BAD_CHECKSUM")
    assert sorted(path.name for path in out.iterdir()) == ["computed.json", "error.txt"]


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"result.txt": "A result"}, "/iexec_out/result.txt"),
        ({"r/a": "1", "r/b": "2", "other": "3"}, "/iexec_out/r"),
        ({"r/a": "1", "r/s/b": "2"}, "/iexec_out/r"),
        ({"a": "1"}, "/iexec_out"),
        ({"a": ""}, "/iexec_out/a"),
        ({"a/b/c": "1"}, "/iexec_out/a/../a/b/c"),
    ],
)
def test_the_zip_is_worth_what_the_folder_is(
    tmp_path: Path, files: dict[str, str], path: str
) -> None:
    out = deterministic(tmp_path / "o", files, path)
    assert zipped_digest(out, tmp_path / "o.zip") == digest_of(out)


def test_links_count_as_empty_files_on_both_sides(tmp_path: Path) -> None:
    out = deterministic(tmp_path / "o", {"r/a": "1"}, "/iexec_out/r")
    (out / "r" / "b").symlink_to("/etc/passwd")
    (out / "r" / "c").symlink_to("/etc")
    empty = hashlib.sha256(b"").digest()
    expected = Digest(keccak(hashlib.sha256(b"1").digest() + empty + empty))
    assert digest_of(out) == expected
    assert zipped_digest(out, tmp_path / "o.zip") == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "result.txt",
        "/etc/passwd",
        "/iexec_out/../../secret",
        "/iexec_out/../iexec_out_not",
        "/iexec_outside",
        "/iexec_out/nothing",
        "/iexec_out/empty",
        "/iexec_out/up/secret",
        "/iexec_out/nul\0",
        "/iexec_out/" + "n" * 5000,
        "/iexec_out/pipe",
    ],
)
def test_a_path_that_names_no_output_has_no_digest(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("key")
    out = deterministic(tmp_path / "o", {"result.txt": "A result"}, path)
    (out / "empty").mkdir()
    (out / "up").symlink_to("..")
    os.mkfifo(out / "pipe")
    with pytest.raises(BadOutput) as refusal:
        digest_of(out)
    assert refusal.value.cause == "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"


@pytest.mark.parametrize(
    "text", ["", "[1]", '"x"', "{", "[" * 100_000, "\xff", '{"a":1}' + " " * (1 << 20)]
)
def test_a_malformed_computed_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "computed.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadOutput) as refusal:
        digest_of(tmp_path)
    assert refusal.value.cause == "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND"


def test_a_missing_computed_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOutput, match=r"no computed\.json"):
        digest_of(tmp_path)


def test_a_callback_deal_without_data_is_refused(tmp_path: Path) -> None:
    out = deterministic(tmp_path / "o", {"a": "1"}, "/iexec_out/a")
    with pytest.raises(BadOutput, match="no callback-data"):
        digest_of(out, callback=True)

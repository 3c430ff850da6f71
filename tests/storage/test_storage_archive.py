"""Results out of folders that strangers filled, and back into folders that are ours."""

from __future__ import annotations

import os
import stat
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from tallystick.storage.archive import ResultLimits, unpack, zip_output
from tallystick.storage.digest import BadOutput
from tallystick.storage.tree import remove_tree
from tallystick.storage.zips import BadArchive

SMALL = ResultLimits(max_bytes=1 << 20, max_files=50, max_depth=4)


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as zipped:
        return zipped.namelist()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "iexec_out"
    (folder / "plots").mkdir(parents=True)
    (folder / "computed.json").write_text("{}")
    (folder / "plots" / "one.svg").write_text("<svg/>" * 1000)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "iexec_out.zip"


def test_what_was_packed_comes_out_again(out: Path, archive: Path, tmp_path: Path) -> None:
    (out / "nothing").mkdir()
    zip_output(out, archive)
    unpack(archive, tmp_path / "result")
    assert names(archive) == ["computed.json", "plots/one.svg"]
    assert (tmp_path / "result" / "plots" / "one.svg").read_text() == "<svg/>" * 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "iexec_out",
        "iexec_out.zip",
        "result",
    ]


def test_the_same_files_give_the_same_bytes(out: Path, archive: Path, tmp_path: Path) -> None:
    zip_output(out, archive)
    os.utime(out / "computed.json", (1, 1))
    zip_output(out, tmp_path / "again.zip")
    assert archive.read_bytes() == (tmp_path / "again.zip").read_bytes()
    assert archive.stat().st_mode & 0o777 == 0o600


def test_links_are_packed_as_empty_files(out: Path, archive: Path) -> None:
    (out / "passwd").symlink_to("/etc/passwd")
    (out / "up").symlink_to("../..")
    (out / "dangling").symlink_to("nowhere")
    zip_output(out, archive)
    with zipfile.ZipFile(archive) as zipped:
        assert [zipped.read(name) for name in ("passwd", "up", "dangling")] == [b"", b"", b""]


def test_special_files_are_refused(out: Path, archive: Path) -> None:
    os.mkfifo(out / "pipe")
    with pytest.raises(BadOutput, match="FIFO") as refusal:
        zip_output(out, archive)
    assert refusal.value.cause == "POST_COMPUTE_OUT_FOLDER_ZIP_FAILED"
    (out / "pipe").unlink()
    os.mknod(out / "socket", stat.S_IFSOCK | 0o600)
    with pytest.raises(BadOutput, match="socket"):
        zip_output(out, archive)
    assert not archive.exists()


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("n" * 31, True),
        ("n" * 32, False),
        ("é" * 31, True),
        ("😀" * 15, True),
        ("😀" * 16, False),
    ],
)
def test_names_have_at_most_31_characters(
    out: Path, archive: Path, name: str, fits: bool
) -> None:
    (out / "plots" / name).write_text("x")
    if fits:
        zip_output(out, archive)
    else:
        with pytest.raises(BadOutput, match="31 characters") as refusal:
            zip_output(out, archive)
        assert refusal.value.cause == "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"


def test_names_that_are_not_text_are_refused(out: Path, archive: Path) -> None:
    (out / os.fsdecode(b"\xff\xfe")).write_text("x")
    with pytest.raises(BadOutput, match="not UTF-8"):
        zip_output(out, archive)


def test_a_sparse_file_counts_what_it_claims(out: Path, archive: Path) -> None:
    os.truncate(os.open(out / "sparse", os.O_CREAT | os.O_WRONLY), 10 << 30)
    with pytest.raises(BadOutput, match="10,737,"):
        zip_output(out, archive)


def test_a_large_file_is_refused_without_being_packed(out: Path, archive: Path) -> None:
    (out / "noise").write_bytes(os.urandom(SMALL.max_bytes + 1))
    with pytest.raises(BadOutput, match="a result may have 1,048,576"):
        zip_output(out, archive, SMALL)
    assert not archive.exists()
    assert not list(archive.parent.glob("*.part"))


def test_too_many_files_are_refused(out: Path, archive: Path) -> None:
    for number in range(60):
        (out / str(number)).write_text("")
    with pytest.raises(BadOutput, match="too many"):
        zip_output(out, archive, SMALL)


def deep(root: Path, levels: int) -> None:
    """Nested folders whose path is longer than any system call takes."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 31, dir_fd=here)
        inner = os.open("d" * 31, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_deep_trees_are_refused_and_can_be_deleted(out: Path, archive: Path) -> None:
    deep(out, 2 * sys.getrecursionlimit())
    with pytest.raises(BadOutput, match="too deeply"):
        zip_output(out, archive)
    remove_tree(out)
    assert not out.exists()


def test_deleting_follows_no_link_and_needs_no_permission(out: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    (out / "way out").symlink_to(tmp_path / "precious")
    (out / "plots" / "locked").mkdir()
    (out / "plots" / "locked" / "file").write_text("x")
    (out / "plots" / "locked").chmod(0)
    remove_tree(out)
    remove_tree(out)
    assert not out.exists()
    assert (tmp_path / "precious" / "file").read_text() == "mine"


def zip_of(archive: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in entries:
            zipped.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return archive


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "a//b",
        "./a",
        "a/./b",
        "x" * 256,
        "/".join("a" * 100),
        "..",
    ],
)
def test_names_that_lead_out_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    zip_of(archive, ("good", b"1"), (name, b"2"))
    with pytest.raises(BadArchive, match="forbidden name"):
        unpack(archive, tmp_path / "result")
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["a", "a/b"])
def test_two_files_of_one_name_are_refused(archive: Path, tmp_path: Path, second: str) -> None:
    zip_of(archive, ("a", b"1"), (second, b"2"))
    with pytest.raises(BadArchive):
        unpack(archive, tmp_path / "result")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_link_in_a_zip_becomes_a_file(archive: Path, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(info, "/etc/passwd")
    unpack(archive, tmp_path / "result")
    assert not (tmp_path / "result" / "link").is_symlink()
    assert (tmp_path / "result" / "link").read_text() == "/etc/passwd"


def test_a_bomb_is_refused_before_anything_is_written(archive: Path, tmp_path: Path) -> None:
    zip_of(archive, ("bomb", bytes(50 << 20)))
    assert archive.stat().st_size < 100_000
    with pytest.raises(BadArchive, match="1,048,576 are allowed"):
        unpack(archive, tmp_path / "result", SMALL)


def test_a_bomb_that_understates_its_size_is_cut_off(archive: Path, tmp_path: Path) -> None:
    zip_of(archive, ("bomb", bytes(50 << 20)))
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", content, content.index(signature) + offset, 1000)
    archive.write_bytes(content)
    with pytest.raises(BadArchive, match="damaged"):
        unpack(archive, tmp_path / "result", SMALL)
    assert list(tmp_path.iterdir()) == [archive]


def test_too_many_entries_are_refused_before_they_are_read(
    archive: Path, tmp_path: Path
) -> None:
    zip_of(archive, *((str(number), b"") for number in range(2000)))
    with pytest.raises(BadArchive, match="too many files"):
        unpack(archive, tmp_path / "result", ResultLimits(max_files=10))
    with pytest.raises(BadArchive, match="1,999 are allowed"):
        unpack(archive, tmp_path / "result", ResultLimits(max_files=1999))


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "locked", "exotic"])
def test_damaged_zips_are_refused_in_one_sentence(
    archive: Path, tmp_path: Path, damage: str
) -> None:
    zip_of(archive, ("a", os.urandom(5000)), ("b", b"2" * 5000))
    content = bytearray(archive.read_bytes())
    central = content.index(b"PK\x01\x02")
    match damage:
        case "cut":
            content = content[:-30]
        case "garbage":
            content[100:3000] = os.urandom(2900)
        case "empty":
            content = bytearray()
        case "locked":
            content[central + 8] |= 1
        case _:
            content[central + 10] = 99
    archive.write_bytes(content)
    with pytest.raises(BadArchive):
        unpack(archive, tmp_path / "result")
    assert list(tmp_path.iterdir()) == [archive]


def test_nothing_is_unpacked_over_what_is_there(out: Path, archive: Path) -> None:
    zip_output(out, archive)
    with pytest.raises(FileExistsError, match="choose another folder"):
        unpack(archive, out)

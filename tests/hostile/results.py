"""Results that mean harm, as a table: the zip, and by which words it is refused."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One zip."""

    what: str
    """For the page."""
    answer: str
    """Begins the page's cell; `no` says that it is unpacked, and that this is harmless."""
    words: str
    """Part of the refusal; empty when it is unpacked."""
    make: Callable[[], bytes]


def packed(*entries: tuple[str, bytes], kind: int = stat.S_IFREG) -> bytes:
    """A zip of these names and contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def lying_size() -> bytes:
    """Fifty megabytes of zeros, said to be ten bytes, in both places where a zip says it."""
    whole = packed(("zeros", bytes(50 << 20)))
    return whole.replace(struct.pack("<L", 50 << 20), struct.pack("<L", 10))


def overlapping() -> bytes:
    """Many names in the directory, all of the same bytes: small, and large when unpacked."""
    one = packed(("aaaa", bytes(4 << 20)))
    start = one.index(b"PK\x01\x02")
    end = one.index(b"PK\x05\x06")
    entry = one[start:end]
    names = [entry.replace(b"aaaa", f"{number:04}".encode()) for number in range(200)]
    directory = b"".join(names)
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 200, 200, len(directory), start, 0)
    return one[:start] + directory + closing


def doubled() -> bytes:
    """One name twice, by hand, since the library warns."""
    return packed(("ab", b"1"), ("ac", b"2")).replace(b"ac", b"ab")


RESULTS: dict[str, Result] = {
    "dotdot": Result("`../` in a name", "yes", "forbidden name",
                     lambda: packed(("../evil", b"x"))),
    "dotdot-inside": Result("`..` in the middle of a name", "yes", "forbidden name",
                            lambda: packed(("a/../../evil", b"x"))),
    "absolute": Result("an absolute name", "yes", "forbidden name",
                       lambda: packed(("/tmp/evil", b"x"))),
    "dot": Result("a name that means the folder itself", "yes", "forbidden name",
                  lambda: packed((".", b"x"))),
    "zero": Result("a zero byte in a name", "yes", "",
                   lambda: packed(("evil.txt", b"x")).replace(b"evil.txt", b"evil\0txt")),
    "link": Result("a symbolic link out of the folder", "no: it is unpacked as a file with the"
                   " target's name as its content", "",
                   lambda: packed(("link", b"/etc/passwd"), kind=stat.S_IFLNK)),
    "device": Result("a device", "no: it is unpacked as an ordinary, empty file", "",
                     lambda: packed(("sda", b""), kind=stat.S_IFBLK)),
    "bomb": Result("some kilobytes that are 64 MiB, twice what is allowed", "yes", "bytes; ",
                   lambda: packed(("zeros", bytes(64 << 20)))),
    "lying-bomb": Result("a bomb that lies about its size", "yes", "is damaged", lying_size),
    "overlapping": Result("two hundred files that share their bytes", "yes", "",
                          overlapping),
    "many": Result("more files than are allowed", "yes", "files; ",
                   lambda: packed(*((f"{n}", b"") for n in range(1_001)))),
    "deep": Result("folders nested a hundred deep", "yes", "forbidden name",
                   lambda: packed(("d/" * 100 + "x", b"x"))),
    "twice": Result("one name twice", "yes", "two files", doubled),
    "file-and-folder": Result("a name that is a file and a folder", "yes",
                              "both as a file and as a folder",
                              lambda: packed(("a", b"x"), ("a/b", b"y"))),
    "long": Result("a name of a thousand letters", "yes", "forbidden name",
                   lambda: packed(("n" * 1_000, b"x"))),
    "surrogate": Result("a name that is no text", "no: its bytes are read as old letters", "",
                        lambda: packed(("abcd", b"x")).replace(b"abcd", b"\xff\xfe\xff\xfe")),
    "cut": Result("half a zip", "yes", "not a zip",
                  lambda: packed(("a", b"x"))[:-10]),
}  # fmt: skip

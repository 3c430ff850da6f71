"""Misbehaves on request. For tests: whatever an app does, worker and market must survive it.

Usage: mischief DEED [DETAIL]

    ok [TEXT]        behave: write TEXT to result.txt
    callback HEX     behave: HEX is for the contract that the deal calls back
    fail CODE        write a result and exit with CODE
    silent           exit with 0 and write nothing
    endless          never end, deaf to SIGTERM
    fill BYTES       write BYTES of noise into the output (1G, 200M, …)
    sparse BYTES     claim BYTES of output without writing them
    memory BYTES     take BYTES of memory
    fork COUNT       start COUNT processes that stay
    shout BYTES      write BYTES to stdout
    links            leave links that lead out of the output
    pipe             leave a FIFO in the output
    deep LEVELS      leave LEVELS nested folders
    many COUNT       leave COUNT files
    longname         leave a file whose name is too long for a result
    network          exit with 0 only if nothing outside can be reached
    who              tell user, groups, capabilities, mounts, environment and open files
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

OUT = Path(os.environ.get("IEXEC_OUT", "/iexec_out"))
CHUNK = 1 << 20


def amount(words: str) -> int:
    """A number with an optional K, M or G (powers of 1,024)."""
    unit = "KMG".find(words[-1:].upper()) + 1
    return int(words[:-1] if unit else words) << (10 * unit)


def result(text: str = "done\n", path: str = "/iexec_out/result.txt") -> None:
    (OUT / "result.txt").write_text(text)
    (OUT / "computed.json").write_text(json.dumps({"deterministic-output-path": path}))


def ok(detail: str) -> None:
    result(detail + "\n")
    print(detail)


def callback(detail: str) -> None:
    result()
    (OUT / "computed.json").write_text(json.dumps({"callback-data": detail}))


def fail(detail: str) -> None:
    result()
    print("this was meant to fail", file=sys.stderr)
    sys.exit(int(detail or 1))


def silent(_detail: str) -> None:
    return


def endless(_detail: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("this will take a while", flush=True)
    while True:
        time.sleep(3600)


def fill(detail: str) -> None:
    result()
    noise = os.urandom(CHUNK)
    with (OUT / "filler.bin").open("wb") as out:
        for _ in range(amount(detail) // CHUNK):
            out.write(noise)


def sparse(detail: str) -> None:
    result()
    os.truncate(os.open(OUT / "sparse.bin", os.O_CREAT | os.O_WRONLY), amount(detail))


def memory(detail: str) -> None:
    taken = bytearray()
    for _ in range(amount(detail) // CHUNK):
        taken += b"x" * CHUNK
    ok(f"took {len(taken)} bytes")


def fork(detail: str) -> None:
    for _ in range(int(detail)):
        if os.fork() == 0:
            time.sleep(3600)
    ok(f"started {detail} processes")


def shout(detail: str) -> None:
    result()
    line = "x" * 1023 + "\n"
    for _ in range(amount(detail) // len(line)):
        sys.stdout.write(line)


def links(_detail: str) -> None:
    result()
    (OUT / "passwd").symlink_to("/etc/passwd")
    (OUT / "up").symlink_to("../../..")
    (OUT / "dangling").symlink_to("nowhere")


def pipe(_detail: str) -> None:
    result()
    os.mkfifo(OUT / "pipe")


def deep(detail: str) -> None:
    result()
    os.chdir(OUT)
    for _ in range(int(detail)):
        os.mkdir("d")
        os.chdir("d")


def many(detail: str) -> None:
    result()
    for number in range(int(detail)):
        (OUT / f"{number}.txt").write_bytes(b"")


def longname(_detail: str) -> None:
    result()
    (OUT / ("n" * 32)).write_text("x")


def network(_detail: str) -> None:
    for family, address in ((socket.AF_INET, "1.1.1.1"), (socket.AF_INET, "172.17.0.1")):
        with socket.socket(family) as probe:
            probe.settimeout(2)
            if probe.connect_ex((address, 53)) == 0:
                sys.exit(f"reached {address}")
    ok(
        " ".join(
            sorted(os.listdir("/sys/class/net")) if Path("/sys/class/net").exists() else []
        )
    )


def who(_detail: str) -> None:
    status = Path("/proc/self/status").read_text()
    told = {
        "user": os.getuid(),
        "groups": os.getgroups(),
        "status": dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line),
        "mounts": Path("/proc/self/mounts").read_text().splitlines(),
        "environment": dict(os.environ),
        "files": sorted(os.listdir("/proc/self/fd")),
        "root": sorted(os.listdir("/")),
    }
    result(json.dumps(told, indent=2))


DEEDS: dict[str, Callable[[str], None]] = {
    deed.__name__: deed
    for deed in (ok, callback, fail, silent, endless, fill, sparse, memory, fork, shout, links,
                 pipe, deep, many, longname, network, who)
}  # fmt: skip


def main() -> None:
    deed, detail = [*sys.argv[1:], "", ""][:2]
    if deed not in DEEDS:
        sys.exit(__doc__)
    DEEDS[deed](detail)


if __name__ == "__main__":
    main()

"""Images that are in no registry, of one small program each: a probe, and one that waits.

The first is a program of 300 bytes, which copies a marker file.

With it a worker sees, without any network, that its runtime runs containers and that they
share its folders. The program reads `/iexec_in/marker` and writes what it found to
`/iexec_out/marker`; its exit code says what failed. It needs no library and no shell:

    openat(AT_FDCWD, "/iexec_in/marker", O_RDONLY)                            else exit 10
    read(fd, buffer, 512) > 0                                                 else exit 11
    openat(AT_FDCWD, "/iexec_out/marker", O_WRONLY|O_CREAT|O_TRUNC, 0644)     else exit 12
    write(fd, buffer, n) == n                                                 else exit 13
    exit_group(0)

The other only waits, for ever: it keeps a network that a job's container is then put into.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import struct
import tarfile
from collections.abc import Mapping
from typing import Final

from tallystick.execution.executor import Handmade, ImageRef, RuntimeUnfit

MARKER: Final = "marker"
NO_INPUT: Final = (10, 11)
NO_OUTPUT: Final = (12, 13)
"""Exit codes of the program, by what it could not do."""

_NAMES = b"/iexec_in/marker\0/iexec_out/marker\0"
_X86_64 = bytes.fromhex(
    "4881ec00020000488d357a00000031d2e860000000bf0a00000085c0785089c74889e6ba0002000031c00f05"
    "bf0b0000004885c07e384889c3488d3559000000ba41020000e82b000000bf0c00000085c0781b89c74889e6"
    "4889dab8010000000f05bf0d0000004839d8750231ffb8e70000000f05bf9cffffff41baa4010000b8010100"
    "000f05c3"
)
_AARCH64 = bytes.fromhex(
    "ff0308d141040010020080d21b000094530180d2c002f8b7e1030091024080d2e80780d2010000d4730180d2"
    "1f0000f1ed010054f40300aa21030030224880d20e000094930180d22001f8b7e1030091e20314aa080880d2"
    "010000d4b30180d21f0014eb41000054130080d2e00313aac80b80d2010000d4600c8092833480d2080780d2"
    "010000d4c0035fd6"
)
_WAIT = {
    "x86_64": bytes.fromhex("b8220000000f05ebf7"),
    "aarch64": bytes.fromhex(
        "280980d2000080d2010080d2020080d2030080d2040080d2010000d4f9ffff17"
    ),
}
"""pause(2), or ppoll(2) of nothing, and again."""
_PROBE = {"x86_64": _X86_64 + _NAMES, "aarch64": _AARCH64 + _NAMES}
_MACHINES = {"x86_64": (62, "amd64"), "aarch64": (183, "arm64")}
"""By `uname -m`: ELF's number, Docker's word."""

_ADDRESS, _HEADERS = 0x400000, 64 + 56


def probe_image(machine: str | None = None) -> Handmade:
    """The image for `machine`, as `uname -m` names it; None: this one. Raises RuntimeUnfit."""
    return _image("probe", _PROBE, machine)


def waiting_image(machine: str | None = None) -> Handmade:
    """The same of the program that only waits."""
    return _image("wait", _WAIT, machine)


def _image(name: str, code: Mapping[str, bytes], machine: str | None) -> Handmade:
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        known = " and ".join(_MACHINES)
        raise RuntimeUnfit(f"Workers run on {known}; this machine is {machine}.")
    number, architecture = _MACHINES[machine]
    layer = _tar({name: _program(number, code[machine])})
    digest = hashlib.sha256(layer).hexdigest()
    tag = f"tallystick/{name}:{digest[:12]}"
    return Handmade(
        ref=ImageRef("localhost", f"tallystick/{name}", digest=f"sha256:{digest}"),
        layer=layer,
        entrypoint=(f"/{name}",),
        tag=tag,
        archive=_archive(layer, digest, tag, architecture, name),
    )


def _archive(layer: bytes, digest: str, tag: str, architecture: str, name: str) -> bytes:
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [f"/{name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "manifest.json": json.dumps(manifest).encode(),
            "config.json": json.dumps(config).encode(),
            "layer.tar": layer,
        }
    )


def _program(machine: int, code: bytes) -> bytes:
    """An ELF file that consists of two headers and `code`, where it also begins."""
    size = _HEADERS + len(code)
    kind = b"\x7fELF\x02\x01\x01" + bytes(9)
    start = _ADDRESS + _HEADERS
    head = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x1000)
    return kind + head + segment + code


def _tar(files: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same files, whenever it is made."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()

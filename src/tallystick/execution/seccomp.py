"""The system call filter of embedded jobs: what no app needs and attackers like.

One table, two renderings: a BPF program for bubblewrap, a `seccomp` object for runc and crun.
It is a deny-list; with no capabilities, no new privileges and no way into a new namespace it
takes away the calls in which kernel holes keep being found.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import Any

from tallystick.execution.executor import RuntimeUnfit

DENIED: dict[str, tuple[int | None, int | None]] = {
    # name: (number on x86_64, number on aarch64)
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
NEW_NAMESPACES = (
    0x0002_0000,
    0x0200_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
)
"""The CLONE_NEW… flags: mount, cgroup, uts, ipc, user, pid, net."""
TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into somebody else's terminal."""
FAMILIES = (1, 2, 10, 16)
"""Sockets that remain: unix, IPv4, IPv6 (both only reach the loopback), netlink."""

_CLONE, _CLONE3, _SOCKET, _IOCTL = (56, 220), (435, 435), (41, 198), (16, 29)
_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_OCI_ARCH = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_X32 = 0x4000_0000

_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
_NR, _ARCH, _ARGS = 0, 4, 16

_Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, constant."""


def _column(machine: str) -> int:
    if machine not in _AUDIT_ARCH:
        raise RuntimeUnfit(f"There is no system call filter for {machine} processors.")
    return list(_AUDIT_ARCH).index(machine)


def _give(action: int) -> _Instruction:
    return (_RETURN, 0, 0, action)


def _when_call(number: int, body: list[_Instruction]) -> list[_Instruction]:
    """`body` for one system call; others jump over it. The body ends by returning."""
    return [(_JEQ, 0, len(body), number), *body]


def _argument(index: int) -> _Instruction:
    """Load the low half: the kernel reads these arguments as 32-bit numbers, too."""
    return (_LOAD, 0, 0, _ARGS + 8 * index)


def _if_equal(values: Iterable[int], then: int, otherwise: int) -> list[_Instruction]:
    tests = [step for v in values for step in ((_JEQ, 0, 1, v), _give(then))]
    return [*tests, _give(otherwise)]


def bpf(machine: str) -> bytes:
    """The filter as the kernel takes it, for `x86_64` or `aarch64`.

    Raises RuntimeUnfit for other processors.
    """
    column = _column(machine)
    deny = _ERRNO | errno.EPERM
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, _AUDIT_ARCH[machine]),
        _give(_KILL),
        (_LOAD, 0, 0, _NR),
    ]
    if machine == "x86_64":
        program += [(_JGE, 0, 1, _X32), _give(_ERRNO | errno.ENOSYS)]
    for numbers in DENIED.values():
        if (number := numbers[column]) is not None:
            program += _when_call(number, [_give(deny)])
    # clone3 hides its flags behind a pointer; libraries fall back to clone.
    program += _when_call(_CLONE3[column], [_give(_ERRNO | errno.ENOSYS)])
    namespaces = [(_JSET, 0, 1, sum(NEW_NAMESPACES)), _give(deny), _give(_ALLOW)]
    program += _when_call(_CLONE[column], [_argument(0), *namespaces])
    refused = _ERRNO | errno.EAFNOSUPPORT
    program += _when_call(
        _SOCKET[column], [_argument(0), *_if_equal(FAMILIES, _ALLOW, refused)]
    )
    program += _when_call(
        _IOCTL[column], [_argument(1), *_if_equal(TERMINAL_INPUT, deny, _ALLOW)]
    )
    program.append(_give(_ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def oci(machine: str) -> dict[str, Any]:
    """The same filter as the `linux.seccomp` object of an OCI bundle."""
    _column(machine)
    calls = [
        _rule(sorted(DENIED), errno.EPERM),
        _rule(["clone3"], errno.ENOSYS),
        *(_rule(["clone"], errno.EPERM, _masked(0, bit, bit)) for bit in NEW_NAMESPACES),
        *(_rule(["ioctl"], errno.EPERM, _masked(1, 0xFFFF_FFFF, op)) for op in TERMINAL_INPUT),
        _rule(
            ["socket"],
            errno.EAFNOSUPPORT,
            {"index": 0, "value": max(FAMILIES) + 1, "op": "SCMP_CMP_GE"},
        ),
    ]
    for family in set(range(max(FAMILIES))) - set(FAMILIES):
        equal = {"index": 0, "value": family, "op": "SCMP_CMP_EQ"}
        calls.append(_rule(["socket"], errno.EAFNOSUPPORT, equal))
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [_OCI_ARCH[machine]],
        "syscalls": calls,
    }


def _rule(names: list[str], error: int, *conditions: dict[str, Any]) -> dict[str, Any]:
    rule = {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error}
    return rule | ({"args": list(conditions)} if conditions else {})


def _masked(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}

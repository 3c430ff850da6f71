"""Verdicts before a start: pure values in, a line and what to do out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tallystick.chain.fees import GWEI, Fees
from tallystick.poco.values import Address
from tallystick.wire.versions import accepts, bad_version
from tallystick.worker import preflight, verdicts
from tallystick.worker.checkup import ORDER
from tallystick.worker.machine import Machine, free_disk, look, look_for_enclaves, release
from tallystick.worker.preflight import Exit, Level, fail, first_failure, ok, warn

ME = Address(b"\x07" * 20)
ETHER, GIB = 10**18, 1 << 30


@pytest.mark.parametrize(
    ("processors", "slots", "single_cpu", "level"),
    [
        (4, 3, "one slot", Level.OK),
        (1, 1, "one slot", Level.WARN),
        (1, 1, "refuse", Level.FAIL),
        (2, 8, "one slot", Level.WARN),
        (2, 1, "refuse", Level.OK),
    ],
)
def test_processors(processors: int, slots: int, single_cpu: str, level: Level):
    verdict = preflight.of_slots(processors, slots, single_cpu)
    assert verdict.level is level
    assert (verdict.exit is Exit.CONFIG) == (level is Level.FAIL)
    assert verdict.remedy or level is Level.OK


def test_memory_and_disk_by_what_tasks_may_take():
    assert preflight.of_memory(8 * GIB, 2, 2 * GIB).level is Level.OK
    assert preflight.of_memory(3 * GIB, 2, 2 * GIB).level is Level.WARN
    assert preflight.of_memory(GIB, 1, 2 * GIB).exit is Exit.CONFIG
    assert preflight.of_disk(20 * GIB, 2, 2 * GIB).level is Level.OK
    assert preflight.of_disk(4 * GIB, 2, 2 * GIB).level is Level.WARN
    full = preflight.of_disk(GIB, 2, 2 * GIB)
    assert (full.level, full.waits) == (Level.FAIL, True)


def test_other_processors_than_apps_are_made_for():
    assert preflight.of_architecture("x86_64").level is Level.OK
    assert preflight.of_architecture("riscv64").exit is Exit.RUNTIME


def test_docker_is_warned_of_as_the_manual_does():
    told = str(preflight.of_safety("docker"))
    assert "You have no control on the applications" in told
    assert "virtual machine is highly recommended" in told
    assert preflight.of_safety("bubblewrap").level is Level.OK


def test_folders_that_the_runtime_does_not_share():
    verdict = preflight.of_sharing("not found", shared=False, folder="/tmp/iexec-worker")
    assert verdict.exit is Exit.RUNTIME
    assert "-v /tmp/iexec-worker:/tmp/iexec-worker" in verdict.remedy
    assert preflight.of_sharing("it died", shared=True, folder="/x").check == "container run"
    assert "-v /var/run/docker.sock" in preflight.of_no_runtime("none", in_docker=True).remedy


def test_the_first_failure_decides():
    bad = [fail("a", "", "", Exit.VERSION), fail("b", "", "", Exit.WALLET)]
    assert first_failure([ok("x", ""), warn("y", ""), *bad]) is Exit.VERSION
    assert first_failure([ok("x", ""), warn("y", "")]) is Exit.FINE


# --- the machine --------------------------------------------------------------------------


def test_this_machine_and_a_folder_that_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = list[Path]()

    def usage(folder: Path) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(free=7 * GIB)

    assert free_disk(tmp_path) > 0
    # What is free changes while others work on this machine.
    monkeypatch.setattr("tallystick.worker.machine.shutil.disk_usage", usage)
    seen = look(tmp_path / "not" / "yet")
    assert seen.processors >= 1
    assert seen.memory > GIB / 4
    assert seen.free_disk == 7 * GIB
    assert asked == [tmp_path]


def test_a_control_group_makes_a_machine_smaller(tmp_path: Path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:  8388608 kB\nMemFree: 1 kB\n")
    assert look(tmp_path, tmp_path).memory == 8 * GIB
    limit = tmp_path / "sys/fs/cgroup/memory.max"
    limit.parent.mkdir(parents=True)
    for text, expected in (("max\n", 8 * GIB), ("2147483648\n", 2 * GIB)):
        limit.write_text(text)
        assert look(tmp_path, tmp_path).memory == expected


def test_kernels():
    assert release("6.1.0-13-amd64") == (6, 1)
    assert release("odd") == (0, 0)


# --- SGX and TDX: a tree for each row of the map of devices and drivers --------------------


def tree(root: Path, *files: str, flags: str = "", links: bool = False) -> Path:
    """A fake root: /proc/cpuinfo with `flags`, and these files."""
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu vme {flags}\n")
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    return root


_IN_KERNEL = ("dev/sgx_enclave", "dev/sgx_provision")


@pytest.mark.parametrize(
    ("files", "flags", "kernel", "said"),
    [
        # rows of the map: what works
        (("sys/module/isgx/", "dev/isgx"), "", "4.15.0", "SGX by the legacy (isgx) driver"),
        (("dev/sgx/enclave", "dev/sgx/provision"), "sgx sgx_lc", "5.4.0", "the DCAP driver"),
        (("dev/sgx",), "sgx sgx_lc", "5.4.0", "the DCAP driver"),
        (_IN_KERNEL, "sgx sgx_lc", "6.1.0", "the in-kernel driver"),
        (
            (*_IN_KERNEL, "dev/sgx/enclave", "dev/sgx/provision"),
            "sgx sgx_lc",
            "6.1.0",
            "the in-kernel driver",
        ),
        (
            (*_IN_KERNEL, "var/run/aesmd/aesm.socket"),
            "sgx sgx_lc",
            "6.1.0",
            "the in-kernel driver.",
        ),
        (
            ("dev/tdx_guest", "sys/kernel/config/tsm/report/"),
            "tdx_guest",
            "6.8.0",
            "TDX: this machine is a trusted domain.",
        ),
        (("dev/tdx_guest",), "tdx_guest", "6.8.0", "hands out no reports"),
        # diagnoses: what does not
        ((), "", "6.1.0", "CPU has no SGX or it is off in the BIOS"),
        ((), "tdx_guest", "6.8.0", "CPU has no SGX or it is off in the BIOS"),
        ((), "sgx sgx_lc", "5.4.0", "SGX driver missing: the kernel is older than 5.11"),
        ((), "sgx", "6.1.0", "needs the legacy driver"),
        (
            ("sys/module/isgx/",),
            "sgx",
            "4.15.0",
            "SGX driver is installed but no SGX device found (SGX not enabled?)",
        ),
        ((".dockerenv",), "sgx sgx_lc", "6.1.0", "pass --device"),
        ((), "sgx sgx_lc", "6.1.0", "lacks CONFIG_X86_SGX"),
    ],
)
def test_trusted_execution(tmp_path: Path, files: Any, flags: str, kernel: str, said: str):
    seen = look_for_enclaves(tree(tmp_path, *files, flags=flags), kernel)
    verdict = preflight.of_enclaves(seen)
    assert said in verdict.found
    assert verdict.level is Level.OK, "most tasks need none of it"


@pytest.mark.parametrize("files", [_IN_KERNEL, ("dev/tdx_guest",)])
def test_trusted_hardware_does_not_make_a_worker_for_trusted_tasks(tmp_path: Path, files: Any):
    flags = "sgx sgx_lc tdx_guest"
    found = preflight.of_enclaves(
        look_for_enclaves(tree(tmp_path, *files, flags=flags), "6.8.0")
    )
    assert "This worker runs no app in an enclave, and registers without." in found.found


def test_an_attestation_service_is_told_of(tmp_path: Path):
    without = look_for_enclaves(tree(tmp_path, *_IN_KERNEL, flags="sgx sgx_lc"), "6.1.0")
    assert "aesmd" in preflight.of_enclaves(without).found
    assert "aesmd" not in preflight.of_enclaves(replace(without, aesm=True)).found


def test_devices_that_this_user_may_not_open(tmp_path: Path):
    seen = look_for_enclaves(tree(tmp_path, *_IN_KERNEL, flags="sgx sgx_lc"), "6.1.0")
    assert preflight.sgx_trouble(seen) == ""
    denied = replace(seen, readable=False)
    assert "group sgx or sgx_prv" in preflight.sgx_trouble(denied)


def test_a_machine_without_cpuinfo(tmp_path: Path):
    assert look_for_enclaves(tmp_path, "6.1.0").flags == frozenset()


# --- versions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("required", "taken"),
    [
        ("", True),
        ("  ", True),
        ("9.2.0", True),
        ("0.1.0", True),
        ("9.2", False),  # peers compare to the letter
        ("9.3.0", False),
        (">=9.0,<10", True),
        (">=9.0, <10", True),
        (">9.2.0", False),
        (">=9.2", True),
        ("<=9.2.0", True),
        (">=10", False),
        ("==9.2", True),
        (">=9.0,!=9.2.0", False),
        (">=9,nonsense", False),
        ("nonsense", False),
        (">=0.5,<9", False),  # both terms must hold of one version
    ],
)
def test_which_versions_a_pool_takes(required: str, taken: bool):
    assert accepts(required, ("0.1.0", "9.2.0")) == taken
    assert (verdicts.of_version(required).exit is Exit.VERSION) == (not accepts(required))


def test_the_sentence_about_versions_is_the_known_one():
    assert bad_version("9.9.9").startswith(
        "Bad version, please upgrade your iexec-worker [current:"
    )
    assert ", required:9.9.9]" in bad_version("9.9.9")


# --- money --------------------------------------------------------------------------------


def gas(balance: int | None, network: int = GWEI, **more: Any) -> preflight.Verdict:
    known: dict[str, Any] = {"fees": Fees(), "free": False}
    return verdicts.of_gas(ME, balance, network=network, **(known | more))


def test_gas_is_judged_by_the_price_that_would_be_paid_and_both_are_shown():
    """0.01 ETH at 1 Gwei is plenty, although at the cap it would not pay for one call."""
    fine = gas(ETHER // 100)
    assert fine.level is Level.OK
    assert "estimateTxNb:15 at 1.3 Gwei, 0 at the cap of 22 Gwei" in fine.found
    low = gas(ETHER // 1000)
    assert low.level is Level.WARN
    assert "ETH balance very low, should refill gas now [balance:0.001 ETH" in low.found
    empty = gas(0)
    assert empty.exit is Exit.FUNDS
    assert "ETH balance is empty, please refill gas now [balance:0 ETH" in empty.found
    assert empty.remedy == f"Send at least 0.0065 ETH to {ME}."
    assert gas(ETHER // 100, 100 * GWEI).exit is Exit.FUNDS


def test_gas_that_is_free_and_gas_that_is_unknown():
    assert "side chain" in gas(0, free=True).found
    assert gas(0, free=True).level is Level.OK
    assert gas(0, 0).level is Level.OK
    assert gas(0, fees=Fees(cap=0)).level is Level.OK
    assert gas(None).level is Level.UNKNOWN


def deposit(**more: Any) -> preflight.Verdict:
    known: dict[str, Any] = {
        "purse": 5 * 10**9,
        "free": 0,
        "locked": 0,
        "stake": 3 * 10**9,
        "ratio": 30,
        "native": False,
    }
    return verdicts.of_deposit(**(known | more))


def test_what_is_in_the_wallet_is_not_deposited():
    missing = deposit()
    assert (missing.exit, missing.waits) == (Exit.FUNDS, True)
    assert "0 RLC deposited, 0 RLC locked; 5 RLC in the wallet." in missing.found
    assert "locks 30 % of the pool's price: lately 3 RLC" in missing.found
    assert missing.remedy == "Deposit needed: tally worker deposit '3 RLC'."
    assert deposit(purse=10**9).remedy.startswith("Get 2 RLC into the wallet first.")


def test_a_deposit_that_is_enough_or_that_nobody_needs():
    assert deposit(free=3 * 10**9).level is Level.OK
    assert deposit(ratio=0).level is Level.OK
    assert deposit(free=1, stake=None).level is Level.OK
    assert deposit(stake=None).level is Level.FAIL


# --- clocks and nodes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0.3, Level.OK, ""),
        (-9.0, Level.OK, ""),
        (42.0, Level.WARN, "42 s ahead of"),
        (-42.0, Level.WARN, "42 s behind"),
        (4000.0, Level.WARN, "Deadlines"),
        (None, Level.UNKNOWN, ""),
    ],
)
def test_clocks(ahead: float | None, level: Level, words: str):
    verdict = verdicts.of_clock(ahead)
    assert verdict.level is level
    assert words in str(verdict)


def test_a_node_that_lags():
    assert verdicts.of_head(7, 3.0, syncing=False).level is Level.OK
    assert verdicts.of_head(7, 500.0, syncing=False).level is Level.WARN
    assert verdicts.of_head(7, 3.0, syncing=True).level is Level.WARN


def test_a_wallet_that_others_can_read():
    assert verdicts.of_mode(Path("w"), 0o100600).level is Level.OK
    assert verdicts.of_mode(Path("w"), 0o100644).remedy == "chmod 600 w"
    assert verdicts.of_mode(Path("w"), 0o100640).level is Level.WARN


def test_every_line_has_its_place():
    made = {
        *(v.check for v in preflight.of_machine(MACHINE, 1, "one slot")),
        preflight.of_memory(1, 1, 1).check,
        preflight.of_sharing("x", shared=True, folder="").check,
        verdicts.of_wallet(Path("w"), None).check,
        verdicts.of_silence("u", "t").check,
        verdicts.of_refusal(ME, "t").check,
        verdicts.of_no_node("t").check,
        verdicts.of_wrong_chain("t").check,
        gas(0).check,
        deposit().check,
    }
    assert made <= set(ORDER)


MACHINE = Machine(processors=2, architecture="x86_64", memory=GIB, free_disk=GIB)

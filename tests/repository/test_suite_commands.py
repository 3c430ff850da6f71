"""`packaging/suite.py`: what `./tally test` and `./tally check` make of their surroundings."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "tally_suite", ROOT / "packaging" / "suite.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_every_system_package_says_what_it_is_for(suite: ModuleType) -> None:
    packages = suite.system_packages(suite.PACKAGES.read_text())
    assert len({package.name for package in packages}) == len(packages) > 0
    assert all(package.purpose for package in packages)


def test_a_program_from_elsewhere_counts(suite: ModuleType) -> None:
    assert not suite.SystemPackage("no-such-package", "sh", "a shell").missing
    assert suite.SystemPackage("no-such-package", "no-such-command", "nothing").missing


def test_without_root_what_is_missing_is_named_and_nothing_installed(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(suite, "_quietly", lambda *_: pytest.fail("something was run"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(suite, "_search_path", lambda: "/nowhere")
    assert suite.install_system_packages()
    told = capfd.readouterr().err
    assert "missing: runc (the embedded executor)" in told
    assert "sudo apt-get install docker.io" in told


def test_as_root_only_what_is_missing_is_installed(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[list[str]] = []
    wanted = tmp_path / "packages.txt"
    wanted.write_text("here sh what is here\naway no-such-command what is not\n")
    monkeypatch.setattr(suite, "PACKAGES", wanted)
    monkeypatch.setattr(suite, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        suite.shutil, "which", lambda name, **_: name != "no-such-command" or None
    )

    def apt(argv: list[str], _env: object) -> bool:
        ran.append(argv)
        return suite.POLICY.exists()

    monkeypatch.setattr(suite, "_quietly", apt)
    assert suite.install_system_packages()
    assert ran[0] == ["apt-get", "update", "-q"]
    assert ran[1][-1] == "away"
    assert "here" not in ran[1]
    assert not suite.POLICY.exists()


@pytest.mark.parametrize(
    ("words", "pytest_gets", "checks"),
    [
        ([], ["-m", "not long"], True),
        (["--all"], [], True),
        (["tests/poco", "-k", "seal"], ["-m", "not long", "tests/poco", "-k", "seal"], False),
        (["--all", "-x"], ["-x"], False),
    ],
)
def test_what_pytest_is_given(
    suite: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
    pytest_gets: Sequence[str],
    checks: bool,
) -> None:
    ran: list[Sequence[str]] = []
    checked: list[str] = []
    monkeypatch.setattr(suite, "install_system_packages", lambda: True)
    monkeypatch.setattr(suite, "run_checks", lambda: checked.append("checks") or [])
    monkeypatch.setattr(suite, "run_other_pythons", list)
    monkeypatch.setattr(suite, "run_pytest", lambda arguments: ran.append(arguments) or 0)
    monkeypatch.setattr(suite, "parallel", lambda: ["side by side"])
    assert suite.main(["test", *words]) == 0
    whole = ["side by side", "--reruns", "1", "-rR"] if checks else []
    assert ran == [[*pytest_gets, *whole]]
    assert bool(checked) is checks


def test_a_failed_check_fails_the_suite_though_the_tests_pass(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "install_system_packages", lambda: True)
    monkeypatch.setattr(suite, "run_checks", lambda: ["types"])
    monkeypatch.setattr(suite, "run_pytest", lambda _: 0)
    assert suite.main(["test"]) == 1
    assert "test failed: types" in capfd.readouterr().err


def test_ci_runs_what_the_readme_says() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec ./tally test --all")
    assert "./tally test --all" in (ROOT / "CONTRIBUTING.md").read_text()
    assert "./tally test --all" in (ROOT / "README.md").read_text()

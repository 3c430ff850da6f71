"""Wallets from the command line: made, imported, found again, and never shown or lost."""

import json
import stat
from pathlib import Path

import pytest

from tallystick.chain.wallet import LIGHT, Wallet

KEY = "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
PASSWORD = "correct horse"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return path


def test_a_new_wallet_is_kept_where_the_official_client_keeps_it(tally, password):
    made = tally("wallet", "create", "--password-file", password, "--json")
    told = json.loads(made.out)
    path = Path(told["file"])
    assert made.code == 0
    assert path.parent == Path.home() / ".ethereum" / "keystore"
    assert path.name.startswith("UTC--")
    assert path.name.endswith(told["address"][2:].lower())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Wallet.load(path, PASSWORD).address.checksummed == told["address"]


def test_a_key_is_imported_from_stdin_and_appears_nowhere(tally, password, tmp_path):
    folder = tmp_path / "keys"
    words = ("--keystoredir", folder, "--password-file", password)
    ran = tally("wallet", "import", "--key-stdin", *words, stdin=f"0x{KEY}\n")
    assert ran.code == 0
    assert ADDRESS in ran.out
    assert KEY not in ran.out + ran.err
    (kept,) = folder.iterdir()
    assert KEY not in kept.read_text()
    again = tally("wallet", "import", "--key-stdin", *words, stdin=KEY)
    assert again.code == 1
    assert "already" in again.err
    assert list(folder.iterdir()) == [kept]


def test_wallets_are_listed_and_found_by_address(tally, tmp_path):
    Wallet.import_key(tmp_path / "w.json", PASSWORD, bytes.fromhex(KEY), work=LIGHT)
    listed = json.loads(tally("wallet", "list", "--keystoredir", tmp_path, "--json").out)
    assert [each["address"] for each in listed["wallets"]] == [ADDRESS]
    shown = tally(
        "wallet", "show", ADDRESS.upper().replace("0X", "0x"), "--keystoredir", tmp_path
    )
    assert shown.code == 0
    assert "w.json" in shown.out


def test_a_wrong_password_is_one_sentence(tally, password, tmp_path):
    Wallet.import_key(tmp_path / "w.json", "another one", bytes.fromhex(KEY), work=LIGHT)
    ran = tally("wallet", "show", tmp_path / "w.json", "--check", "--password-file", password)
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert "password does not open" in ran.err


@pytest.mark.parametrize(
    ("stdin", "complaint"),
    [("nonsense", "not hex"), ("11", "32 bytes"), ("00" * 32, "not zero")],
)
def test_what_is_no_key_is_refused_without_repeating_it(
    tally, password, tmp_path, stdin, complaint
):
    folder = tmp_path / "keys"
    words = ("--keystoredir", folder, "--password-file", password)
    ran = tally("wallet", "import", "--key-stdin", *words, stdin=stdin)
    assert (ran.code, ran.out) == (1, "")
    assert complaint in ran.err
    assert "Traceback" not in ran.err
    assert stdin not in ran.err
    assert not folder.exists()


def test_a_short_or_missing_password_makes_no_wallet(tally, tmp_path):
    (tmp_path / "short").write_text("secret")
    (tmp_path / "empty").write_text("")
    for file, complaint in [
        ("short", "8 characters"),
        ("empty", "is empty"),
        ("none", "No such"),
    ]:
        ran = tally("wallet", "create", "--password-file", tmp_path / file)
        assert ran.code == 1
        assert complaint in ran.err
    assert not (Path.home() / ".ethereum").exists()


def test_without_a_terminal_nobody_is_asked(tally):
    ran = tally("wallet", "create")
    assert ran.code == 1
    assert "--password-file" in ran.err


def test_an_empty_folder_says_how_to_go_on(tally, tmp_path):
    ran = tally("wallet", "show", "--keystoredir", tmp_path)
    assert ran.code == 1
    assert "tally wallet create" in ran.err

"""Mistakes and refusals: one clear sentence, an exit code that is not 0, nothing lost."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import anyio
import pytest
from market_lab import DEV, TINY, Lab
from newcomer import Person, Told, at_once, warm

pytestmark = pytest.mark.anyio

NOTHING = "0x" + "0" * 63 + "1"


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return warm(tmp_path)


@pytest.fixture
def customer(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a person who has a home, and the market running."""
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TALLYSTICK_DATA", str(lab.market.data))
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def tally(*words: object) -> Told:
    return await anyio.to_thread.run_sync(at_once, words)


async def test_what_cannot_be_bought_is_refused_before_anything_is_paid(
    lab: Lab, customer: Path
):
    registry = lab.market.registry_url.removeprefix("http://")
    (customer / "full").mkdir()
    (customer / "full" / "letter.txt").write_text("dear")
    (customer / "password").write_text("not this one\n")
    wrong = {
        ("nosuch",): "There is no app 'nosuch' here; there are corpus, digits, words.",
        (f"{registry}/none:1",): f"has no image {registry}/none:1",
        ("127.0.0.1:9/none:1",): "The registry 127.0.0.1:9 of the image",
        ("digits", "--max-price", "1 nRLC"): "more than the maximum of 0.000000001 RLC",
        ("digits", "--max-price", "1"): "'1' needs a unit",
        ("digits", "--category", "77"): "on offer are the categories 0, 1, 2",
        ("digits", "--trust", "0"): "'--trust'",
        ("digits", "--trust", "-3"): "'--trust'",
        ("digits", "--trust", "100000"): "the workerpool offers at most 1000",
        ("digits", "--count", "0"): "'--count'",
        ("digits", "--out", "full"): "The folder full is not empty",
        ("digits", "--wallet", "nobody"): "The wallets of this market are owner, scheduler",
        ("digits", "--password-file", "password"): "does not open the wallet",
        ("digits", "--password-file", "nowhere"): "nowhere: No such file",
        ("words", "--dataset", f"{lab.market.registry_url}/nothing"): "status 404",
        ("words", "--dataset", "ftp://x/y"): "http(s) URL, not 'ftp://x/y'",
        ("words", "--dataset", "0x12"): "http(s) URL, not '0x12'",
        ("words", "--input", "letter.txt"): "http(s) URL, not 'letter.txt'",
    }
    before = await lab.stake("requester")
    for words, sentence in wrong.items():
        told = await tally("run", *words)
        assert sentence in told.refusal(), words
        assert told.out == ""
    assert await lab.stake("requester") == before
    assert (customer / "full" / "letter.txt").read_text() == "dear"


async def test_who_names_what_is_not_there_is_told_so(customer: Path):
    wrong = {
        ("task", "show", "0x12"): "'0x12' does not name a task",
        ("task", "show", NOTHING): f"There is no task {NOTHING} on this chain.",
        ("task", "logs", NOTHING): f"There is no task {NOTHING} on this chain.",
        ("task", "claim", NOTHING): f"There is no task {NOTHING} on this chain.",
        ("deal", "show", NOTHING): f"There is no deal {NOTHING} on this chain.",
        ("result", "download", NOTHING): f"There is no task {NOTHING} on this chain.",
        ("account", "show", "0xzz"): "'0xzz' is neither an address",
        ("account", "deposit", "5"): "'5' needs a unit",
        ("account", "withdraw", "9000000 RLC"): "RLC that are free",
        ("faucet", "0x12"): "'0x12' is neither an address",
        ("wallet", "show"): "create one with tally wallet create",
        ("bench", "nosuch"): "There is no benchmark 'nosuch'",
        ("worker", "start", "--config", "no.toml"): "There is no configuration file no.toml",
        ("nosuch",): "No such command 'nosuch'.",
    }
    for words, sentence in wrong.items():
        told = await tally(*words)
        assert sentence in told.refusal(), words


async def test_an_order_that_is_malformed_is_named_and_left_as_it_is(lab: Lab, customer: Path):
    book = lab.market.orders
    good = book.read_text()
    try:
        for bad, sentence in (
            (good[:-20], "is not JSON"),
            (good.replace('"appprice": "', '"appprice": "x', 1), "appprice"),
            (good.replace('"sign": "0x', '"sign": "0xy', 1), "sign"),
            ("[]", "is no order book"),
        ):
            book.write_text(bad)
            told = await tally("run", "digits")
            assert sentence in told.refusal()
            assert str(book) in told.err
            assert book.read_text() == bad
    finally:
        book.write_text(good)


async def test_an_order_that_was_tampered_with_buys_nothing(lab: Lab, customer: Path):
    book, before = lab.market.orders, await lab.stake("requester")
    good = book.read_text()
    try:
        book.write_text(good.replace('"appprice": "100000000"', '"appprice": "1"'))
        told = await tally("run", "digits")
        assert "sign" in told.refusal()
    finally:
        book.write_text(good)
    assert await lab.stake("requester") == before
    assert (await tally("run", "digits")).code == 0


async def test_a_second_market_does_not_disturb_the_first(lab: Lab, customer: Path):
    port = lab.market.scheduler_url.rpartition(":")[2]
    told = await tally("up", "--once")
    assert f"A market runs in {lab.market.data} already" in told.refusal()
    told = await tally("up", "--reset")
    assert f"A market runs in {lab.market.data} already" in told.refusal()
    told = await tally("up", "--data", "another", "--port", port)
    assert f"Port {port} is taken by another program" in told.refusal()
    assert (await tally("status")).code == 0


async def test_a_task_that_is_not_finished_has_no_result(lab: Lab, customer: Path, cache: Path):
    image = lab.shelve("mischief", cache)
    (task,) = (await lab.buy(image, "endless", category=TINY)).tasks
    await lab.until(task, lambda story: bool(story["replicates"]))
    told = await tally("result", "download", task)
    assert "no result" in told.refusal()
    told = await tally("task", "claim", task)
    assert "may still be finished: it can be claimed in" in told.refusal()


@pytest.mark.parametrize("deed", ["fill 1G", "sparse 10G"])
async def test_a_result_over_the_limit_fails_with_a_sentence_and_the_worker_goes_on(
    lab: Lab, customer: Path, cache: Path, deed: str
):
    """200 MB are the limit: nothing of more stays on the disk, and nobody is paid for it."""
    image = lab.shelve("mischief", cache)
    (task,) = (await lab.buy(image, deed, category=DEV)).tasks
    story = await lab.until(task, lambda s: len(over(s)) == 3)
    assert {r["cause"] for r in story["replicates"]} == {"APP_COMPUTE_FAILED"}
    logs = await tally("task", "logs", task)
    sentence = "[tallystick] The app wrote more to /iexec_out than the 200 MiB it may."
    assert logs.out.count(sentence) == 3, logs
    assert (await tally("run", "digits")).code == 0
    assert lab.leftovers(task) == []


def over(story) -> list[str]:
    return [r["status"] for r in story["replicates"] if "failed" in r["status"]]


def test_commands_of_a_market_say_when_none_runs(person: Person, tmp_path: Path):
    for words in (("run", "digits"), ("status",), ("info", "--json"), ("deal", "list")):
        told = person.tally(*words)
        assert "start one with tally up" in told.refusal()
        assert told.out == ""
    assert not (tmp_path / ".local").exists()


def test_a_folder_that_is_no_market_is_not_reset(person: Person, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    told = person.tally("up", "--reset", "--data", "photos")
    assert "holds no market, so nothing in it is deleted" in told.refusal()
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "cat"


def test_a_port_that_is_taken(person: Person):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = person.tally("up", "--once", "--port", port).refusal()
    assert f"Port {port}" in sentence


def test_without_npm_and_without_a_network_it_is_said_what_to_install(tmp_path: Path):
    nothing = {"PATH": str(tmp_path / "bin"), "TALLYSTICK_CACHE": str(tmp_path / "cache")}
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    person = warm(tmp_path, **nothing, **offline)
    sentence = person.tally("up", "--once").refusal()
    assert "Install nodejs and npm, or connect to the network" in sentence
    person.until_nothing_runs()


def test_settings_that_make_no_sense(person: Person):
    for words, sentence in {
        ("--workers", "0"): "'--workers'",
        ("--block-time", "-1"): "'--block-time'",
        ("--port", "99999"): "Port 99999 cannot be used",
        ("--executor", "lxc"): "there are docker, runc, crun, bubblewrap",
    }.items():
        assert sentence in person.tally("up", "--once", *words).refusal()

"""The way into the pool, over HTTP: page, script, values, files, and nothing beside them."""

from __future__ import annotations

import hashlib
import html
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from browser import chromium, needs_chromium, visiting
from scheduler_office import Office, settings

import tallystick
from tallystick import __version__
from tallystick.scheduler.front import front
from tallystick.scheduler.joining import offer, offer_of
from tallystick.scheduler.joining.files import BadWheelhouse
from tallystick.scheduler.joining.wheel import NoWheel, wheel_of
from tallystick.wire import serving

pytestmark = pytest.mark.anyio

EVIL = "<script>alert(1)</script>'\"$(touch owned)`touch owned`\n; touch owned #@URL@\x1b[2J"
EVIL_URL = "http://pool/$(touch owned)`touch owned`'\";touch owned;<b>&"
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


def app_of(office: Office, **wanted: Any) -> Any:
    config = replace(settings(office.chain, office.folder), **({"join": True} | wanted))

    async def is_uploaded(task: object, link: object) -> bool:
        return False

    return front(config, office.pool, office.journal, is_uploaded)


def caller(app: Any) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://pool")


def wheelhouse(folder: Path) -> Path:
    """Two packages, one with wheels for two machines; and things that are none."""
    folder.mkdir()
    for name in (
        "some_thing-1.2-py3-none-any.whl",
        "fast-3.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "fast-3.0-cp311-cp311-manylinux_2_17_aarch64.whl",
        "tallystick-0.0.1-py3-none-any.whl",
    ):
        (folder / name).write_bytes(name.encode())
    (folder / "secret.txt").write_text("not for you")
    (folder / "link-1.0-py3-none-any.whl").symlink_to(folder / "secret.txt")
    return folder


async def test_where_joining_is_off_there_is_nothing(office: Office):
    async with caller(app_of(office, join=False)) as http:
        for path in ("/join", "/join.json", "/join-worker-pool.sh", "/join/files/SHA256SUMS"):
            assert (await http.get(path)).status_code == 404
        assert "Join Worker Pool" not in (await http.get("/dashboard")).text
    async with caller(app_of(office)) as http:
        assert 'href="/join">Join Worker Pool' in (await http.get("/dashboard")).text


async def test_a_program_that_cannot_be_handed_on_still_runs_a_pool(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def none() -> None:
        raise NoWheel("It was found on the street.")

    monkeypatch.setattr(offer, "own_wheel", none)
    async with caller(app_of(office)) as http:
        assert (await http.get("/join")).status_code == 404
        assert "Join Worker Pool" not in (await http.get("/dashboard")).text
    assert "Nobody can join: It was found on the street." in caplog.text


async def test_the_page_says_what_the_values_say(office: Office, tmp_path: Path):
    app = app_of(office, join_deposit=7 * 10**9, wheelhouse=wheelhouse(tmp_path / "wheels"))
    async with caller(app) as http:
        told = (await http.get("/join.json")).json()
        page = (await http.get("/join")).text
        script = await http.get("/join-worker-pool.sh")
        sums = (await http.get("/join/files/SHA256SUMS")).text
        index = (await http.get("/join/files/")).text
        assert told["workerpool"] == str(office.chain.workerpool)
        assert told["hub"] == str(office.chain.hub)
        assert told["chain_id"] == office.hub.domain.chain_id
        assert (told["deposit_nrlc"], told["minimum_eth_wei"]) == (7 * 10**9, 10**17)
        assert told["scheduler_url"] == "http://127.0.0.1:13000"
        assert told["version"] == __version__
        assert told["architectures"] == ["aarch64", "x86_64"]
        for words in ("7 RLC", "0.1 ETH", str(office.chain.workerpool), "aarch64 or x86_64"):
            assert words in page
        boxes = re.findall(r'<pre id="(\w+)"[^>]*>(.*?)</pre>', page, re.DOTALL)
        commands = {name: html.unescape(text) for name, text in boxes}
        fetch = "curl -fsSL http://127.0.0.1:13000/join-worker-pool.sh | sh"
        assert commands["launch"] == fetch
        assert commands["update"] == f"{fetch} -s -- --update"
        assert commands["remove"] == f"{fetch} -s -- --remove"
        assert "worker join http://127.0.0.1:13000" in commands["pip"]
        digest = hashlib.sha256(script.content).hexdigest()
        assert told["script"]["sha256"] == digest
        assert page.count(digest) == 2  # beside the box that verifies it, and in it
        assert script.headers["content-type"].startswith("text/plain")
        assert len(told["files"]) == 5  # program, requirements, three wheels
        for each in told["files"]:
            found = await http.get(f"/join/files/{each['name']}")
            assert hashlib.sha256(found.content).hexdigest() == each["sha256"]
            assert f"{each['sha256']}  {each['name']}\n" in sums
            assert f"{each['name']}#sha256={each['sha256']}" in index
            assert each["sha256"] in page


async def test_the_requirements_pin_every_wheel(office: Office, tmp_path: Path):
    app = app_of(office, wheelhouse=wheelhouse(tmp_path / "wheels"))
    async with caller(app) as http:
        lines = (await http.get("/join/files/requirements.txt")).text.splitlines()
    by_name = {line.split("==")[0]: line for line in lines}
    assert set(by_name) == {"fast", "some-thing", "tallystick"}
    assert by_name["fast"].count("--hash=sha256:") == 2
    assert f"tallystick=={__version__} --hash" in by_name["tallystick"]


@pytest.mark.parametrize(
    "name",
    [
        "secret.txt",
        "link-1.0-py3-none-any.whl",
        "tallystick-0.0.1-py3-none-any.whl",
        "../secret.txt",
        "..%2Fsecret.txt",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%5csecret.txt",
        "%2Fetc%2Fpasswd",
        "requirements.txt%00.whl",
        ".",
        "SHA256SUMS/",
    ],
)
async def test_nothing_else_is_served(office: Office, tmp_path: Path, name: str):
    async with caller(app_of(office, wheelhouse=wheelhouse(tmp_path / "wheels"))) as http:
        answer = await http.get(f"/join/files/{name}", follow_redirects=False)
        assert answer.status_code in (307, 404) or name == "."
        assert "not for you" not in answer.text
        assert "root:" not in answer.text


async def test_a_wheelhouse_that_cannot_serve_is_told_at_the_start(
    office: Office, tmp_path: Path
):
    with pytest.raises(BadWheelhouse, match="cannot be read"):
        app_of(office, wheelhouse=tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadWheelhouse, match="no wheels"):
        app_of(office, wheelhouse=tmp_path / "empty")
    mixed = wheelhouse(tmp_path / "mixed")
    (mixed / "some_thing-1.3-py3-none-any.whl").touch()
    with pytest.raises(BadWheelhouse, match=r"1\.2 and 1\.3"):
        app_of(office, wheelhouse=mixed)


async def test_hostile_values_stay_words(office: Office, tmp_path: Path):
    async with caller(app_of(office, name=EVIL, public_url=EVIL_URL)) as http:
        page = (await http.get("/join")).text
        script = (await http.get("/join-worker-pool.sh")).text
        told = (await http.get("/join.json")).json()
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "\x1b" not in script + told["name"]
    file = tmp_path / "join.sh"
    file.write_text(script)
    for shell in SHELLS:
        shown = run([shell, str(file), "--help"], tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert "'\"$(touch owned)`touch owned` ; touch owned #@URL@" in shown.stdout
        dry = run([shell, str(file), "--dry-run"], tmp_path)
        assert dry.returncode == 0, dry.stderr
        assert f"at {EVIL_URL}" in dry.stdout
        assert not (tmp_path / "owned").exists()
    # The lines that people copy are words of a shell, too.
    for box in re.findall(r'<pre id="(?!script)[^>]*>(.*?)</pre>', page, re.DOTALL):
        for line in html.unescape(box).splitlines():
            assert "owned" not in line or any(EVIL_URL in word for word in shlex.split(line))


def run(command: list[str], folder: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    usual = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    environment = {"PATH": path or usual, "HOME": str(folder / "home")}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


async def test_the_script_has_no_faults(office: Office, tmp_path: Path):
    async with caller(app_of(office, wheelhouse=wheelhouse(tmp_path / "wheels"))) as http:
        script = (await http.get("/join-worker-pool.sh")).text
    file = tmp_path / "join.sh"
    file.write_text(script)
    checker = str(Path(sys.executable).parent / "shellcheck")
    found = run([checker, "-s", "sh", str(file)], tmp_path)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--name", "a b"), "only letters"),
        (("--name", "é"), "only letters"),
        (("--name", ""), "only letters"),
        (("--name",), "needs a value"),
        (("--nonsense",), "not known"),
        ((), "no terminal to ask on"),
    ],
)
async def test_the_script_refuses(
    office: Office, tmp_path: Path, words: tuple[str, ...], told: str
):
    async with caller(app_of(office)) as http:
        script = (await http.get("/join-worker-pool.sh")).text
    (tmp_path / "join.sh").write_text(script)
    for shell in SHELLS:
        done = run([shell, "join.sh", *words], tmp_path)
        assert (done.returncode, "[ERROR]" in done.stderr) == (1, True)
        assert told in done.stderr
    assert not (tmp_path / "home").exists()


MACHINE = ("uname", "getconf", "id", "cat", "rm", "mkdir", "mktemp", "ln")
"""Programs of a small machine that the script may call."""


def small_machine(folder: Path, *more: str) -> str:
    """A PATH with these programs and no others."""
    folder.mkdir()
    for name in (*MACHINE, *more):
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ({}, "Python 3.11, 3.12 or 3.13 is needed"),
        ({"python3": "exit 1"}, "Python 3.11, 3.12 or 3.13 is needed"),
        (
            {"python3": 'case "$2" in *venv*) exit 1 ;; *print*) echo 3.11 ;; esac'},
            "sudo apt install python3.11-venv",
        ),
        ({"uname": "echo Darwin"}, "Workers run on Linux, and this is Darwin"),
        ({"uname": '[ "$1" = -s ] && echo Linux || echo mips'}, "this machine is mips"),
        (
            {"python3": 'case "$2" in *print*) echo 3.11 ;; *urlopen*) exit 1 ;; esac'},
            "is the pool reachable from here?",
        ),
    ],
)
async def test_what_a_machine_lacks_is_said(
    office: Office, tmp_path: Path, tools: dict[str, str], told: str
):
    async with caller(app_of(office)) as http:
        script = (await http.get("/join-worker-pool.sh")).text
    (tmp_path / "join.sh").write_text(script)
    folder = tmp_path / "bin"
    small_machine(folder)
    for name, body in tools.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    done = run(["/bin/sh", "join.sh", "--yes"], tmp_path, path=str(folder))
    assert (done.returncode, told in done.stderr) == (1, True), done.stderr


async def test_a_script_cut_off_does_nothing(office: Office, tmp_path: Path):
    async with caller(app_of(office)) as http:
        script = (await http.get("/join-worker-pool.sh")).text
    body = script[: script.rindex("main ")]
    for share in (0.3, 0.6, 1):
        (tmp_path / "join.sh").write_text(body[: int(len(body) * share)])
        done = run(["sh", "join.sh", "--yes"], tmp_path)
        assert done.stdout == ""
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("fetcher", ["curl", "wget", "python3"])
async def test_what_is_not_as_it_was_promised_is_not_installed(
    office: Office, tmp_path: Path, fetcher: str
):
    """Another wheel behind the same address: the pool was updated, or somebody lies."""
    app = app_of(office)
    path = small_machine(tmp_path / "bin", *{fetcher} - {"python3"})
    (tmp_path / "bin/python3").symlink_to(Path(sys.base_prefix) / "bin/python3")
    async with served(app) as url:
        async with httpx2.AsyncClient(trust_env=False) as http:
            script = (await http.get(f"{url}/join-worker-pool.sh")).text
        wrong = script.replace("URL=http://127.0.0.1:13000", f"URL={url}")
        wrong = re.sub(r"(?m)^WHEEL_SHA256=.*$", f"WHEEL_SHA256={'0' * 64}", wrong)
        (tmp_path / "join.sh").write_text(wrong)
        done = await anyio.to_thread.run_sync(
            lambda: run(["/bin/sh", "join.sh", "--yes"], tmp_path, path=path)
        )
    assert done.returncode == 1
    assert "not what this script was made for" in done.stderr
    assert "is installed" not in done.stdout
    left = tmp_path / "home/.local/share" / f"tallystick-worker-{_folder(office)}"
    assert not list(left.glob(".download-*"))
    assert not list(left.glob("program-*/.ready"))


def _folder(office: Office) -> str:
    return offer_of(settings(office.chain, office.folder), 1).folder


async def test_the_wheel_is_the_program(tmp_path: Path):
    package = tmp_path / "checkout/src/tallystick"
    root = Path(tallystick.__file__).parents[2]
    shutil.copytree(root / "src/tallystick", package)
    shutil.copy(root / "pyproject.toml", tmp_path / "checkout")
    own = wheel_of(package)
    path = tmp_path / own.name
    path.write_bytes(own.content)
    assert wheel_of(package) == own  # the same bytes every time
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert not [name for name in names if "__pycache__" in name or name.startswith("/")]
    for part in ("web/static/tally.css", "scheduler/joining/join-worker-pool.sh.in"):
        assert f"tallystick/{part}" in names
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    done = run([*command, "--target", str(target), str(path)], tmp_path)
    assert done.returncode == 0, done.stderr
    # From there the same wheel comes out again: a pool that was installed by it can serve it.
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import hashlib\n"
        "from tallystick.scheduler.joining.wheel import own_wheel; w = own_wheel()\n"
        "print(w.name, hashlib.sha256(w.content).hexdigest())"
    )
    told = run([sys.executable, "-c", code], tmp_path)
    assert told.returncode == 0, told.stderr
    with pytest.raises(NoWheel):
        wheel_of(target / "nowhere/tallystick")
    assert told.stdout.split() == [own.name, hashlib.sha256(own.content).hexdigest()]


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(
                lambda task_status: serving.serve(app, sock, task_status=task_status)
            )
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            tasks.cancel_scope.cancel()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_in_a_browser(office: Office, tmp_path: Path, scheme: str):
    app = app_of(office, name=f"Pool {EVIL}", wheelhouse=wheelhouse(tmp_path / "wheels"))
    phone = {"viewport": {"width": 390, "height": 800}, "color_scheme": scheme}
    async with (
        served(app) as url,
        chromium() as browser,
        visiting(browser, **phone) as visit,
    ):
        page = visit.page
        await page.goto(f"{url}/join")
        await page.wait_for_selector("#launch")
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390
        await page.click("summary")
        assert await visit.barriers() == []
        await page.click("[data-copy=launch]")
        await page.wait_for_selector("[data-copy=launch]:text-matches('Copied|Selected')")
        assert visit.complaints == []
        assert await visit.weight(f"{url}/join") <= 200 * 1024
        await page.set_viewport_size({"width": 1100, "height": 900})
        await visit.picture(tmp_path / f"join-{scheme}.png")

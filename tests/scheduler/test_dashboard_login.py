"""Who may see and do what at the pool's pages, and how operators come in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.cookies import SimpleCookie
from typing import Any

import httpx2
import jwt
import pytest
from scheduler_office import Office, settings

from tallystick.chain.wallet import Wallet
from tallystick.poco.values import Address
from tallystick.scheduler.dashboard.sessions import LINK_LIFE, SESSION_LIFE, Sessions
from tallystick.scheduler.front import front
from tallystick.wire.auth import log_challenge_hash, login_digest
from tallystick.wire.scheduler import ComputeLogs

pytestmark = pytest.mark.anyio

EVIL = "<script>alert(1)</script>\"'`{{7*7}}"
PRINTED = "what only the owner may read"


@dataclass
class Hands:
    """Takes the place of the office: remembers what it was told."""

    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def block(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.told.append(("block", dict(request)))
        return {}

    async def unblock(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.told.append(("unblock", dict(request)))
        return {}

    async def drain(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.told.append(("drain", dict(request)))
        return {}

    async def status(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "state": "working",
            "waits_for": 0,
            "workers": {"alive": 1},
            "blocked": 0,
            "orders": 1,
            "money": {"warnings": [EVIL]},
        }


async def bearer(office: Office, wallet: Wallet, http: httpx2.AsyncClient) -> dict[str, str]:
    who = {"walletAddress": str(wallet.address)}
    challenge = (await http.get("/workers/challenge", params=who)).text
    value = "0x" + wallet.sign_hash(login_digest(challenge)).hex()
    token = await http.post("/workers/login", params=who, json={"value": value})
    return {"authorization": f"Bearer {token.text}"}


async def link(office: Office, http: httpx2.AsyncClient | None = None) -> str:
    """What `tally pool login` gets: the path of a one-time link."""
    http = http or office.http
    headers = await bearer(office, office.pool.wallet, http)
    answer = await http.post("/dashboard/links", headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["path"])


def code_of(path: str) -> dict[str, str]:
    return {"code": path.partition("code=")[2]}


async def enter(office: Office, http: httpx2.AsyncClient | None = None) -> httpx2.Response:
    http = http or office.http
    return await http.post("/dashboard/login", data=code_of(await link(office, http)))


def csrf_in(page: str) -> str:
    return re.findall('name="csrf" value="([0-9a-f]{64})"', page)[0]


def sessions(office: Office) -> Sessions:
    found: Sessions = office.app.state.sessions
    return found


async def test_a_link_opens_one_session(office: Office):
    path = await link(office)
    shown = await office.http.get(path)  # as a program that shows where links lead does
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "no-store")
    assert "set-cookie" not in shown.headers
    again = await office.http.get(path)
    assert again.status_code == 200  # looking changed nothing
    entered = await office.http.post("/dashboard/login", data=code_of(path))
    assert (entered.status_code, entered.headers["location"]) == (303, "/dashboard/operator")
    page = await office.http.get("/dashboard/operator")
    assert (page.status_code, "Block a worker" in page.text) == (200, True)
    office.http.cookies.clear()
    assert (await office.http.get(path)).status_code == 410
    twice = await office.http.post("/dashboard/login", data=code_of(path))
    assert (twice.status_code, "used already" in twice.text) == (403, True)
    assert "set-cookie" not in twice.headers


async def test_the_cookie_is_for_this_pool_and_for_pages_alone(office: Office):
    entered = await enter(office)
    (name, cookie), *others = SimpleCookie(entered.headers["set-cookie"]).items()
    assert (others, name) == ([], f"tally-{str(office.chain.workerpool)[2:14]}")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert (cookie["secure"], cookie["max-age"]) == ("", str(SESSION_LIFE))
    assert entered.headers["referrer-policy"] == "no-referrer"
    transport = httpx2.ASGITransport(office.app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://pool") as tls:
        entered = await enter(office, tls)
        (name, cookie), *_ = SimpleCookie(entered.headers["set-cookie"]).items()
        assert (name[:9], cookie["secure"]) == ("__Secure-", True)


async def test_nobody_but_the_owner_gets_a_link(office: Office):
    stranger = await bearer(office, office.wallet(0), office.http)
    refused = await office.http.post("/dashboard/links", headers=stranger)
    assert (refused.status_code, "does not own" in refused.json()["message"]) == (403, True)
    assert (await office.http.post("/dashboard/links")).status_code in (400, 401)
    nonsense = {"authorization": "Bearer nonsense"}
    assert (await office.http.post("/dashboard/links", headers=nonsense)).status_code == 401
    assert (await office.http.get("/dashboard/links")).status_code == 405


async def test_signing_in_is_tried_a_few_times_only(office: Office):
    tries = [
        await office.http.post("/dashboard/login", data={"code": "guess"}) for _ in range(12)
    ]
    assert [each.status_code for each in tries[:10]] == [403] * 10
    assert tries[-1].status_code == 429
    assert int(tries[-1].headers["retry-after"]) >= 1


async def test_who_signs_out_is_out_everywhere(office: Office):
    await enter(office)
    stolen = dict(office.http.cookies)
    page = (await office.http.get("/dashboard/operator")).text
    assert (await office.http.get("/dashboard/logout")).status_code == 405
    unasked = await office.http.post("/dashboard/logout", data={"csrf": "0" * 64})
    assert (unasked.status_code, "made for your session" in unasked.text) == (403, True)
    out = await office.http.post("/dashboard/logout", data={"csrf": csrf_in(page)})
    assert (out.status_code, out.headers["location"]) == (303, "/dashboard")
    assert not dict(office.http.cookies)
    office.http.cookies.update(stolen)
    assert (await office.http.get("/dashboard/operator")).status_code == 401


async def test_no_address_leads_elsewhere(office: Office):
    path = await link(office)
    data = {**code_of(path), "next": "https://evil.example/", "return": "//evil.example"}
    entered = await office.http.post("/dashboard/login?next=//evil.example", data=data)
    assert entered.headers["location"] == "/dashboard/operator"


async def test_a_form_of_another_site_does_nothing(office: Office):
    path = await link(office)
    for site in ("cross-site", "same-site"):
        refused = await office.http.post(
            "/dashboard/login", data=code_of(path), headers={"sec-fetch-site": site}
        )
        assert (refused.status_code, "Another site" in refused.text) == (403, True)
    as_json = await office.http.post("/dashboard/login", json=code_of(path))
    assert as_json.status_code == 403
    assert (await office.http.get(path)).status_code == 200  # still unused


async def test_processes_with_one_key_know_each_others_sessions(office: Office):
    async def is_uploaded(task: object, link: object) -> bool:
        return False

    other = front(
        settings(office.chain, office.folder), office.pool, office.journal, is_uploaded
    )
    path = await link(office)
    transport = httpx2.ASGITransport(other)
    async with httpx2.AsyncClient(transport=transport, base_url="http://pool") as second:
        entered = await second.post("/dashboard/login", data=code_of(path))
        assert entered.status_code == 303
        office.http.cookies.update(dict(second.cookies))
        page = await office.http.get("/dashboard/operator")
        assert page.status_code == 200
        await office.http.post("/dashboard/logout", data={"csrf": csrf_in(page.text)})
        assert (await second.get("/dashboard/operator")).status_code == 401
    assert (await office.http.get(path)).status_code == 410


async def test_two_processes_asked_in_one_moment_open_one_session_at_most(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    path = await link(office)
    # Both looked before either had noted anything.
    monkeypatch.setattr(Sessions, "require_good", lambda *_: None)
    answers = [await office.http.post("/dashboard/login", data=code_of(path)) for _ in range(2)]
    assert [each.status_code for each in answers] == [303, 403]


async def test_too_old_links_and_sessions_are_none(office: Office):
    door, now = sessions(office), 1_000_000.0
    door.clock = lambda: now
    path = await link(office)
    now += LINK_LIFE - 1
    await office.http.get(path)
    entered = await office.http.post("/dashboard/login", data=code_of(path))
    assert entered.status_code == 303
    late = await link(office)
    now += LINK_LIFE
    assert (await office.http.get(late)).status_code == 410
    assert (await office.http.get("/dashboard/operator")).status_code == 200
    now += SESSION_LIFE
    assert (await office.http.get("/dashboard/operator")).status_code == 401
    # What was used is forgotten once it is too old to be used again.
    assert len(office.journal.notes("signed out ")) == 1
    fresh = await office.http.post("/dashboard/login", data=code_of(await link(office)))
    assert fresh.status_code == 303
    assert len(office.journal.notes("signed out ")) == 1


def forged(door: Sessions, **wanted: Any) -> str:
    """A session of our own making."""
    claims = {
        "aud": "tallystick session",
        "iss": str(door.pool),
        "sub": str(door.owner),
        "jti": "ab" * 16,
        "exp": int(door.clock()) + 600,
    }
    key = wanted.pop("key", door.key)
    algorithm = wanted.pop("algorithm", "HS256")
    claims = {name: each for name, each in {**claims, **wanted}.items() if each is not None}
    return jwt.encode(claims, key, algorithm=algorithm)


OTHER_POOL = str(Address(bytes([7]) * 20))
PAGES = (
    "/",
    "/dashboard",
    "/dashboard/workers",
    "/dashboard/tasks",
    "/dashboard/deals",
    "/dashboard/feed",
    "/dashboard/login",
)
BUTTONS = ("logout", "operator/block", "operator/unblock", "operator/course")


async def test_who_may_see_and_do_what(office: Office):
    """Everybody and every false cookie sees the public pages and nothing else."""
    office.app.state.office = hands = Hands()
    task = await _printed(office)
    door = sessions(office)
    good = await _cookie(office)
    ended = await _cookie(office)
    office.http.cookies.set(*ended)
    csrf = csrf_in((await office.http.get("/dashboard/operator")).text)
    await office.http.post("/dashboard/logout", data={"csrf": csrf})
    requester = str(office.chain.requester.address)
    strangers = {
        "nobody": "",
        "nonsense": "x.y.z",
        "very long": "a" * 5_000,
        "of another key": forged(door, key=bytes(32)),
        "unsigned": forged(door, key="", algorithm="none"),
        "of another pool": forged(door, iss=OTHER_POOL),
        "too old": forged(door, exp=int(door.clock()) - 1),
        "without an end": forged(door, exp=None),
        "without a name": forged(door, jti=None),
        "signed out": ended[1],
        "a worker's token": (await office.login(office.pool.wallet))["authorization"][7:],
        "a link": door.link(door.owner),
    }
    for who, text in strangers.items():
        await _is_stranger(office, who, (good[0], text), task)
    # Another wallet's session is one, but not the operator's: it sees what it has bought.
    await _only_reads(office, (good[0], forged(door, sub=requester)), task, reads=True)
    other = str(office.wallet(3).address)
    await _only_reads(office, (good[0], forged(door, sub=other)), task, reads=False)
    assert hands.told == []
    _as(office, good)
    for page in (*PAGES, "/dashboard/operator", f"/dashboard/tasks/{task}"):
        answer = await office.http.get(page)
        assert answer.status_code == 200, page
        assert (
            "private" in answer.headers["cache-control"]
            or "no-" in answer.headers["cache-control"]
        )
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert PRINTED in (await office.http.get(f"/dashboard/tasks/{task}")).text


async def _printed(office: Office) -> Any:
    headers = await office.member(0)
    task = office.buy()
    office.open(task)
    await office.demand(headers)
    logs = ComputeLogs(stdout=f"{PRINTED} {EVIL}", stderr="")
    office.app.state.window.logs.write(task, office.wallet(0).address, logs)
    return task


async def _cookie(office: Office) -> tuple[str, str]:
    office.http.cookies.clear()
    office.app.state.sessions.clock = sessions(office).clock
    door = sessions(office)
    entered = await office.http.post(
        "/dashboard/login",
        data={"code": door.link(door.owner)},
    )
    assert entered.status_code == 303
    (found,) = dict(office.http.cookies).items()
    return found


def _as(office: Office, cookie: tuple[str, str]) -> None:
    office.http.cookies.clear()
    if cookie[1]:
        office.http.cookies.set(*cookie)


async def _is_stranger(office: Office, who: str, cookie: tuple[str, str], task: Any) -> None:
    _as(office, cookie)
    for page in (*PAGES, f"/dashboard/tasks/{task}"):
        answer = await office.http.get(page)
        assert answer.status_code == 200, (who, page)
        assert PRINTED not in answer.text, (who, page)
        assert "Sign out" not in answer.text, (who, page)
        assert 'name="csrf"' not in answer.text, (who, page)
    hidden = await office.http.get("/dashboard/operator")
    assert (hidden.status_code, "Block a worker" in hidden.text) == (401, False), who
    for button in BUTTONS:
        told = {"worker": str(office.wallet(0).address), "course": "drain", "csrf": "0" * 64}
        answer = await office.http.post(f"/dashboard/{button}", data={**told, "sure": "yes"})
        assert answer.status_code == 403, (who, button)


async def _only_reads(
    office: Office, cookie: tuple[str, str], task: Any, *, reads: bool
) -> None:
    _as(office, cookie)
    page = (await office.http.get(f"/dashboard/tasks/{task}")).text
    assert (PRINTED in page, "Sign out" in page) == (reads, True)
    for button in BUTTONS[1:]:
        told = {"worker": str(office.wallet(0).address), "course": "drain"}
        sent = {**told, "sure": "yes", "csrf": csrf_in(page)}
        answer = await office.http.post(f"/dashboard/{button}", data=sent)
        assert (answer.status_code, "Only the pool" in answer.text) == (403, True), button
    assert (await office.http.get("/dashboard/operator")).status_code == 401


async def test_a_requester_shows_its_wallet_and_reads_what_it_bought(office: Office):
    task = await _printed(office)
    requester = Wallet(office.chain.requester.key)
    signature = await _signed(office, requester)
    told = {"address": str(requester.address), "signature": signature}
    entered = await office.http.post("/dashboard/login/wallet", data=told)
    where = f"/dashboard/tasks?requester={requester.address}"
    assert (entered.status_code, entered.headers["location"]) == (303, where)
    page = (await office.http.get(f"/dashboard/tasks/{task}")).text
    assert PRINTED in page
    out = await office.http.post("/dashboard/logout", data={"csrf": csrf_in(page)})
    assert out.status_code == 303
    for wrong in (
        {"address": str(office.wallet(2).address), "signature": signature},
        {"address": "nobody", "signature": signature},
        {"address": str(requester.address), "signature": "0x" + "11" * 65},
        {"address": str(requester.address), "signature": "gibberish"},
        {},
    ):
        refused = await office.http.post("/dashboard/login/wallet", data=wrong)
        assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)


async def test_a_signature_to_read_makes_nobody_operator(office: Office):
    owner = office.pool.wallet
    told = {"address": str(owner.address), "signature": await _signed(office, owner)}
    entered = await office.http.post("/dashboard/login/wallet", data=told)
    assert entered.status_code == 303
    assert (await office.http.get("/dashboard/operator")).status_code == 401


async def _signed(office: Office, wallet: Wallet) -> str:
    """What a browser's wallet answers to eth_signTypedData_v4 of the pool's challenge."""
    who = {"address": str(wallet.address)}
    told = (await office.http.get("/tasks/logs/challenge", params=who)).json()
    hash = log_challenge_hash(told["domain"]["chainId"], told["message"]["challenge"])
    return "0x" + wallet.sign_hash(hash).hex()


async def test_operators_buttons(office: Office):
    office.app.state.office = hands = Hands()
    await office.member(0)
    worker = str(office.wallet(0).address)
    await enter(office)
    page = (await office.http.get("/dashboard/operator")).text
    assert (EVIL in page, "&lt;script&gt;alert(1)" in page) == (False, True)
    csrf = csrf_in(page)

    async def press(button: str, **told: str) -> httpx2.Response:
        return await office.http.post(
            f"/dashboard/operator/{button}", data={"csrf": csrf, **told}
        )

    assert (
        await press("block", worker=worker.upper().replace("0X", "0x"), why=EVIL)
    ).status_code == 303
    wrong = await press("block", worker="w0", why="")
    assert (wrong.status_code, "by its address" in wrong.text) == (403, True)
    assert (await press("unblock", worker=worker)).status_code == 303
    unsure = await press("course", course="drain")
    assert (unsure.status_code, "Tick the box" in unsure.text) == (403, True)
    assert (await press("course", course="drain", sure="yes")).status_code == 303
    assert (await press("course", course="go on")).status_code == 303
    assert (await press("course", course="burn")).status_code == 403
    assert hands.told == [
        ("block", {"wallet": worker, "why": EVIL}),
        ("unblock", {"wallet": worker}),
        ("drain", {}),
        ("drain", {"off": True}),
    ]
    mine = (await office.http.get("/dashboard/feed")).text
    assert "&lt;script&gt;alert(1)" in mine  # the reason, for the operator
    office.http.cookies.clear()
    public = (await office.http.get("/dashboard/feed")).text
    for words in ("The operator blocked", "The operator unblocked", "drains the pool"):
        assert words in public
    assert "alert(1)" not in public  # and for nobody else
    assert EVIL not in mine


async def test_pages_of_different_viewers_are_never_mixed(office: Office):
    task = await _printed(office)
    path = f"/dashboard/tasks/{task}"
    first, second = await _cookie(office), await _cookie(office)
    pages = []
    for cookie in (first, second, ("", "")):
        _as(office, cookie)
        answer = await office.http.get(path, headers={"accept-encoding": "gzip"})
        pages.append(answer)
        assert "cookie" in answer.headers["vary"]
    tokens = {csrf_in(page.text) for page in pages[:2]}
    assert len(tokens) == 2
    assert PRINTED not in pages[2].text
    assert all("content-encoding" not in page.headers for page in pages[:2])
    _as(office, first)
    unchanged = await office.http.get(path, headers={"if-none-match": pages[0].headers["etag"]})
    assert unchanged.status_code in (200, 304)
    _as(office, ("", ""))
    own = await office.http.get(path, headers={"if-none-match": pages[0].headers["etag"]})
    assert (own.status_code, PRINTED in own.text) == (200, False)


def test_a_session_says_nothing_of_its_key():
    secret = b"k" * 32
    door = Sessions(
        key=secret,
        pool=Address(bytes([1]) * 20),
        owner=Address(bytes([2]) * 20),
        journal=None,  # type: ignore[arg-type]
    )
    assert repr(secret) not in repr(door)
    assert replace(door).key == secret

"""Audits over the wire: what a worker is told when, who is believed, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from scheduler_office import Office, settings

from tallystick.lifecycle.audit import Authorize, Conclude, owed_audits
from tallystick.lifecycle.evidence import Policy
from tallystick.lifecycle.facts import (
    AppFetched,
    Assigned,
    Audit,
    Audited,
    Computed,
    DataFetched,
    Fact,
    Started,
)
from tallystick.poco.values import Address, Digest, TaskId
from tallystick.scheduler.audits import Audits
from tallystick.scheduler.roster import Roster
from tallystick.wire.authorization import UNSIGNED, WorkerpoolAuthorization
from tallystick.wire.scheduler import INSTANCE, NO_WORK

pytestmark = pytest.mark.anyio

RIGHT, WRONG = ("0x" + digit * 64 for digit in "12")


def audits(
    office: Office, *, share: float = 1.0, trust: int = 100, auditors: Any = (1,)
) -> None:
    """The pool audits from now on, by these workers."""
    wallets = tuple(office.wallet(number).address for number in auditors)
    office.pool.audits.open(office.journal, Policy(share, trust), wallets)


async def own(office: Office, number: int, **says: Any) -> dict[str, str]:
    """A worker of ours comes in."""
    headers = await office.login(office.wallet(number)) | {INSTANCE: f"process {number}"}
    body = {"name": f"w{number}", "os": "Linux", "digestFirst": True, **says}
    answer = await office.http.post("/workers/register", json=body, headers=headers)
    assert answer.status_code == 200
    return headers


async def hands_in(office: Office, headers: dict[str, str], task: TaskId, digest: str) -> None:
    for status in ("STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED"):
        await office.report(headers, task, status)
    for status in ("DATA_DOWNLOADING", "DATA_DOWNLOADED", "COMPUTING"):
        await office.report(headers, task, status)
    code, _ = await office.report(headers, task, "COMPUTED", resultDigest=digest)
    assert code == 200


def acts(office: Office, task: TaskId) -> None:
    """The pool does what it owes."""
    pool = office.pool
    while True:
        state = pool.engine.states[str(task)]
        command = next(owed_audits(state, pool.clock.now()), None)
        if command is None:
            return
        pool.engine.record(str(task), performed(office, command))


def performed(office: Office, command: Conclude | Authorize) -> Fact:
    if isinstance(command, Authorize):
        return office.pool.authorize(command)
    return Audited(command.worker, command.agreed, command.owner, command.counts)


async def news(office: Office, headers: dict[str, str]) -> dict[str, Any]:
    answer = await office.http.get("/replicates/facts", headers=headers)
    return {each["kind"]: each for each in answer.json()["news"]}


def signer(permission: Any) -> Address | None:
    return WorkerpoolAuthorization.model_validate(permission).signed_by()


async def offered(office: Office, headers: dict[str, str]) -> dict[str, Any]:
    answer = await office.demand(headers, wait=0.01)
    assert answer.status_code == 200, answer.headers
    told: dict[str, Any] = answer.json()
    return told


async def test_a_liar_is_authorized_for_nothing_and_the_auditor_votes(office: Office):
    audits(office)
    task = office.buy()
    office.open(task)
    liar, auditor, other = [await own(office, n) for n in range(3)]
    offer = await offered(office, liar)
    assert offer["digestFirst"]
    assert offer["workerpoolAuthorization"]["signature"]["value"] == str(UNSIGNED)
    path = "/replicates/interrupted"
    answer = await office.http.get(path, params={"blockNumber": 5}, headers=liar)
    extra = answer.json()[0]["taskNotificationExtra"]
    assert signer(extra["workerpoolAuthorization"]) is None, "nor in another way"
    story = (await office.http.get(f"/tasks/{task}/story")).text.lower()
    assert not {word for word in ("audit", "drawn", "scrutiny", "needed") if word in story}
    assert (await office.demand(auditor, wait=0.01)).status_code == 204, "nothing to compare"

    await hands_in(office, liar, task, WRONG)
    acts(office, task)
    assert (await office.demand(other, wait=0.01)).status_code == 204, "it is no auditor"
    assert "Authorized" not in await news(office, liar)
    assert (await offered(office, auditor))["digestFirst"]
    await hands_in(office, auditor, task, RIGHT)
    acts(office, task)
    found = await news(office, auditor)
    assert signer(found["Authorized"]["authorization"]) == office.pool.wallet.address
    found = await news(office, liar)
    assert set(found) == {"Assigned", "Refuted"}
    assert signer(found["Assigned"]["authorization"]) is None

    again = office.buy(2)
    office.open(again)
    answer = await office.demand(liar, wait=0.01)
    assert (answer.status_code, answer.headers[NO_WORK]) == (204, "DISTRUSTED")
    assert (await office.demand(other, wait=0.01)).status_code == 200
    metrics = (await office.http.get("/prometheus")).text
    assert 'tally_audits_total{outcome="differed"} 1.0' in metrics


async def test_what_a_cheat_holds_elsewhere_is_not_authorized_any_more(office: Office):
    audits(office, share=0.01, trust=1)
    office.pool.audits._draw = lambda: 0.99
    task = office.buy()
    office.open(task)
    liar = await own(office, 0)
    await offered(office, liar)
    worker = office.wallet(0).address
    office.pool.engine.record(had(office, worker), Audited(worker, agreed=False))
    await hands_in(office, liar, task, RIGHT)
    acts(office, task)
    mine = office.pool.engine.states[str(task)].replicates[worker]
    assert (mine.authorization, mine.cause) == (None, "AUDIT_DIFFERED")
    assert office.pool.audits.evidence(worker)[0].differed == 1, "no second proof"


def had(office: Office, worker: Address, number: int = 9) -> str:
    """Another task, of which the worker has a replicate."""
    task = str(office.buy(number))
    office.pool.engine.record(task, Assigned(worker, 2))
    return task


async def test_who_is_not_audited_is_signed_for_as_soon_as_it_has_handed_in(office: Office):
    audits(office, share=0.1, trust=1)
    office.pool.audits._draw = lambda: 0.1
    task = office.buy()
    office.open(task)
    headers = await own(office, 0)
    assert (await offered(office, headers))["digestFirst"], "it cannot tell which are audited"
    await hands_in(office, headers, task, RIGHT)
    acts(office, task)
    found = await news(office, headers)
    assert signer(found["Authorized"]["authorization"]) == office.pool.wallet.address


async def test_a_v9_worker_holds_its_authorization_from_the_start(office: Office):
    audits(office)
    task = office.buy()
    office.open(task)
    headers = await office.member(0)
    told = (await office.demand(headers)).json()
    assert signer(told["workerpoolAuthorization"]) == office.pool.wallet.address
    mine = office.pool.engine.states[str(task)].replicates[office.wallet(0).address]
    assert mine.scrutiny is not None
    assert (mine.scrutiny.audit, mine.scrutiny.digest_first) == (Audit.DRAWN, False)


async def test_an_auditor_that_waits_is_called_once_there_is_something_to_compare(
    office: Office,
):
    audits(office, auditors=(1, 3))
    task = office.buy()
    office.open(task)
    worker, auditor = await own(office, 0), await own(office, 1)
    foreign = await office.member(3)
    await offered(office, worker)
    answers = list[Any]()

    async def wait() -> None:
        answers.append(await office.demand(auditor, wait=20))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not answers
        await hands_in(office, worker, task, RIGHT)
        code = (await office.demand(foreign)).status_code
        assert code == 204, "who may vote at once would decide the task with its opinion"
        with anyio.fail_after(60):
            while not answers:
                await anyio.lowlevel.checkpoint()
    assert answers[0].status_code == 200
    assert answers[0].json()["workerpoolAuthorization"]["chainTaskId"] == str(task)


async def test_only_who_is_believed_votes_and_finalizes_at_once(office: Office):
    """It could vote for something else than it has handed in, and that would be final."""
    audits(office, trust=6)
    office.pool.giving.unstaked = True
    worker = office.wallet(0).address
    headers = await own(office, 0, contributeAndFinalize=True)
    task = office.buy()
    office.open(task)
    assert not (await offered(office, headers))["alone"]
    for number in (5, 6):
        office.pool.engine.record(had(office, worker, number), Audited(worker, agreed=True))
    await hands_in(office, headers, task, RIGHT)
    task = office.buy(3)
    office.open(task)
    assert (await offered(office, headers))["alone"]


async def test_what_was_found_outlives_a_restart_and_so_does_a_pardon(office: Office):
    audits(office)
    worker, kin = office.wallet(0).address, office.wallet(2).address
    office.pool.roster.owned(worker, "somebody")
    office.pool.roster.owned(kin, "somebody")
    office.pool.engine.record(
        had(office, worker), Audited(worker, agreed=False, owner="somebody")
    )

    def reborn() -> Audits:
        made = Audits(Roster(office.journal))
        for entry in office.journal.read():
            made.keep(entry, None)
        made.open(office.journal, None)
        return made

    for each in (office.pool.audits, reborn()):
        assert each.distrusts(worker)
        assert each.distrusts(kin), "and whoever else is its owner's"
        assert not each.distrusts(office.wallet(3).address)
        assert each.told(worker)["belief"] == "distrusted"
    assert set(reborn().pardon(kin)) == {worker, kin}
    assert not reborn().distrusts(worker)
    assert office.pool.audits.read_again() == [worker], "as another scheduler hears of it"
    assert not office.pool.audits.distrusts(kin)
    assert office.pool.audits.told(worker)["belief"] == "probation"


async def test_where_two_strangers_differ_a_third_decides(office: Office):
    audits(office, auditors=())
    task = office.buy()
    office.open(task)
    wallets = [office.wallet(n).address for n in range(4)]
    liar, second, third, fourth = [await own(office, n) for n in range(4)]
    office.pool.roster.owned(wallets[0], "the liar")
    office.pool.roster.owned(wallets[3], "the liar")
    await offered(office, liar)
    await hands_in(office, liar, task, WRONG)
    acts(office, task)
    assert (await office.demand(fourth, wait=0.01)).status_code == 204, "no friend is asked"
    await offered(office, second)
    await hands_in(office, second, task, RIGHT)
    acts(office, task)
    for headers in (liar, second):
        assert "Authorized" not in await news(office, headers), "nobody knows who is right"
    found = office.pool.audits
    assert not found.distrusts(wallets[0])

    await offered(office, third)
    await hands_in(office, third, task, RIGHT)
    acts(office, task)
    assert "Refuted" in await news(office, liar)
    told = [await news(office, headers) for headers in (second, third)]
    assert sum("Authorized" in each for each in told) == 1, "one of the honest votes"
    assert [found.distrusts(each) for each in wallets] == [True, False, False, True]
    assert found.outcomes == {"differed": 1}, "those who were asked are not the audited ones"
    assert (await office.demand(fourth, wait=0.01)).headers[NO_WORK] == "DISTRUSTED"


@pytest.mark.parametrize(("drawn", "votes"), [(0.49, 1), (0.51, 0)])
async def test_which_of_two_strangers_that_agree_is_paid_is_drawn(
    office: Office, drawn: float, votes: int
):
    audits(office, auditors=())
    office.pool.audits._draw = lambda: drawn
    task = office.buy()
    office.open(task)
    both = [await own(office, n) for n in range(2)]
    for headers in both:
        await offered(office, headers)
        await hands_in(office, headers, task, RIGHT)
        acts(office, task)
    told = ["Authorized" in await news(office, headers) for headers in both]
    assert told == [n == votes for n in range(2)]
    assert office.pool.audits.told(office.wallet(0).address)["audits"] == 1


async def test_who_votes_first_of_those_that_audit(office: Office):
    """Both are paid where the vote of the second leaves the task open; the operator's own
    worker votes for nobody's money."""
    audits(office, auditors=())
    office.pool.audits._draw = lambda: 0.99
    task = office.buy(trust=5)
    office.open(task)
    first, second = office.wallet(0).address, office.wallet(1).address
    stream, engine = str(task), office.pool.engine
    decides = office.pool.audits.terms(engine.states[stream], first, 60, digest_first=True)
    assert decides is not None
    assert (decides.audit, decides.ahead) == (Audit.DRAWN, False)
    engine.record(stream, Assigned(first, 60, scrutiny=decides))
    for fact in (Started(first), AppFetched(first), DataFetched(first)):
        engine.record(stream, fact)
    engine.record(stream, Computed(first, Digest(b"\x01" * 32)))

    def ahead(power: int) -> bool:
        terms = office.pool.audits.terms(
            engine.states[stream], second, power, digest_first=True
        )
        assert terms is not None
        assert terms.audits
        return terms.ahead

    assert ahead(2)
    assert not ahead(60), "one of both is paid, and the coin fell so"
    office.pool.audits.auditors = (second,)
    assert not ahead(2)


async def test_settings_say_what_is_no_share(office: Office):
    plain = settings(office.chain, office.folder)
    assert plain.policy is None, "off unless told"
    assert replace(plain, audit=0.1).policy == Policy(0.1, 100)
    with pytest.raises(ValueError, match="share between 0 and 1"):
        replace(plain, audit=1.5)

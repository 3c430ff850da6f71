"""What a worker stakes money on: checking that a vote can count, casting it, proving it.

The order of the checks, and the names of what fails, are those that v9 and its forebears have:
the first check that fails names the cause.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tallystick.chain.call import Call
from tallystick.chain.hub import Hub
from tallystick.chain.pending import OutOfGas
from tallystick.chain.records import ContributionState, TaskState
from tallystick.chain.sender import Sender
from tallystick.chain.standing import Standing, standing
from tallystick.engine.errors import Refused, Unavailable
from tallystick.lifecycle.facts import (
    Checked,
    Fact,
    Failed,
    Held,
    Published,
    Resumed,
    Step,
)
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash, result_seal
from tallystick.poco.values import Address, Digest, Signature, TaskId, Wei
from tallystick.worker.funds import Funds, in_eth, in_gwei, in_rlc
from tallystick.worker.gas import vote_gas
from tallystick.worker.pledges import Pledges

log = logging.getLogger(__name__)

CHAIN_PATIENCE = 600.0
"""Seconds that no node may answer before a vote that was not cast yet is given up."""
_NO_ENCLAVE_SIGN = bytes(32)
"""What v9 workers send where no enclave signs; the contract ignores it."""


@dataclass(slots=True)
class Votes:
    """The calls of one worker that lock its stake and give it back."""

    me: Address
    hub: Hub
    sender: Sender
    funds: Funds
    pledges: Pledges
    reveal_cap: Wei | None = None
    """The most a reveal offers for a unit of gas; None: what every call may offer."""
    chain_patience: float = CHAIN_PATIENCE
    _dark: dict[TaskId, float] = field(default_factory=dict[TaskId, float])
    """Since when no node answers for a task, by the monotonic clock."""

    async def check(self, task: Task) -> Fact | None:
        """Look at everything that would make a vote worthless, in one round trip.

        None when we have voted already: then the chain's own log moves the task. Raises
        Unavailable where the answer is unknown, which is never taken for a no.
        """
        digest = self._digest(task)
        if self._finish_sent(task) or (digest is not None and self._on_its_way(task, digest)):
            return Checked(self.me)
        try:
            found = await standing(self.hub, self.me, task.id)
        except Unavailable as trouble:
            return self._unreachable(task, digest, trouble)
        self._dark.pop(task.id, None)
        if _is_ours(found, task, digest):
            log.info("%s: our vote is on the chain already.", task.id)
            return None
        self._require_known(found)
        for cause, sentence in self._objections(task, digest, found):
            log.warning("%s: no vote, %s: %s", task.id, cause, sentence)
            return Failed(self.me, Step.CHECK, cause)
        return Checked(self.me)

    async def contribute(self, task: Task, digest: Digest | None) -> Fact | None:
        """Vote. Digest and transaction are on disk before anything leaves."""
        authorization = task.replicates[self.me].authorization
        if digest is None:
            return Failed(self.me, Step.CONTRIBUTE, "DETERMINISM_HASH_NOT_FOUND")
        if authorization is None:
            return Failed(self.me, Step.CONTRIBUTE, "WORKERPOOL_AUTHORIZATION_NOT_FOUND")
        signed = self._signed(task, digest, authorization)
        self.pledges.keep(task.id, signed)
        try:
            await self.sender.send(self._vote(task, signed, authorization))
        except OutOfGas as poor:
            log.warning("%s", poor)
            return Failed(self.me, Step.CONTRIBUTE, "OUT_OF_GAS")
        except Refused as refusal:
            return await self._refused(task, refusal)
        return None

    async def finish(self, task: Task, digest: Digest | None) -> Fact | None:
        """Vote, prove and finalize in one transaction, which locks nothing. Once it is signed,
        no other one is: it names its digest, and its result is in the store."""
        mine = task.replicates[self.me]
        call, problem = self._finish_sent(task), ""
        if call is None:
            if digest is None:
                problem = "DETERMINISM_HASH_NOT_FOUND"
            elif mine.authorization is None:
                problem = "WORKERPOOL_AUTHORIZATION_NOT_FOUND"
            elif mine.published is None:
                problem = "RESULT_LINK_MISSING"
            else:
                self.pledges.keep(task.id, digest)
                call = self._finish(task.id, digest, mine.authorization, mine.published)
        if call is None:
            return Failed(self.me, Step.FINISH, problem)
        try:
            await self.sender.send(call)
        except OutOfGas as poor:
            log.warning("%s", poor)
            return Failed(self.me, Step.FINISH, "OUT_OF_GAS")
        except Refused as refusal:
            return await self._not_finished(task, refusal)
        return None

    async def _not_finished(self, task: Task, refusal: Refused) -> Fact | None:
        """Somebody may have been first, or it was too late: then the chain tells the rest."""
        self.hub.rpc.doubt()
        known = await self.hub.task(task.id)
        if known is None or known.state is not TaskState.ACTIVE:
            return None
        if (await self.hub.head()).timestamp >= known.contribution_deadline:
            return Failed(self.me, Step.FINISH, "CONTRIBUTION_TIMEOUT")
        if known.contributors:
            return Failed(self.me, Step.FINISH, "TASK_ALREADY_CONTRIBUTED")
        raise refusal

    def _finish(
        self, task: TaskId, digest: Digest, permission: Signature, published: Published
    ) -> Call:
        return self.hub.calls.contribute_and_finalize(
            task,
            digest,
            results=published.link.encode(),
            callback=bytes.fromhex(published.callback.removeprefix("0x")),
            authorization=permission,
            enclave_sign=_NO_ENCLAVE_SIGN,
        )

    def _finish_sent(self, task: Task) -> Call | None:
        """The transaction that is signed already, and that the chain may still take."""
        if not task.replicates[self.me].alone:
            return None
        nothing = self._finish(
            task.id, Digest(bytes(32)), Signature(bytes(65)), Published(self.me, "")
        )
        return next(
            (
                call
                for call in self.sender.waiting()
                if call.is_about(task.id) and call.data[:4] == nothing.data[:4]
            ),
            None,
        )

    async def reveal(self, task: Task, digest: Digest | None) -> Fact | None:
        """Prove the vote, again and again until the chain has it or the deadline is over.

        Nothing but a digest that is lost ends it: a wallet that cannot pay, or a chain that is
        too dear, is waited for with every block.
        """
        proof = self._proof(task, digest)
        if proof is None:
            log.error("%s: the digest of our vote is not on this machine", task.id)
            return Failed(self.me, Step.REVEAL, "CANNOT_REVEAL")
        call, held = self.hub.calls.reveal(task.id, proof), task.replicates[self.me].held
        with self.funds.revealing(task):
            while True:
                try:
                    await self.sender.send(call, cap=self.reveal_cap)
                except OutOfGas as poor:
                    self.funds.starving(task, poor)
                    if held is None:
                        return Held(self.me, Step.REVEAL, "OUT_OF_GAS")
                    await self.funds.next_block()
                    continue
                except Refused:
                    # Trying a call is a look at the chain: it refuses what is done already.
                    self.hub.rpc.doubt()
                    if await self._is_owed(task):
                        raise
                self.funds.paid(task)
                return Resumed(self.me) if held else None

    async def claim(self, task: Task) -> None:
        """Take our stake out of a task that nobody ended in time. The chain tells the rest."""
        log.info("%s: nobody ended it in time; our stake is claimed back.", task.id)
        try:
            await self.sender.send(self.hub.calls.claim(task.id))
        except OutOfGas as poor:
            await self.funds.next_block()
            raise Unavailable(str(poor)) from poor
        except Refused:
            known = await self.hub.task(task.id)
            if known is not None and known.state in (TaskState.ACTIVE, TaskState.REVEALING):
                raise

    def _objections(
        self, task: Task, digest: Digest | None, found: Standing
    ) -> Iterator[tuple[str, str]]:
        """Causes and sentences of all that speaks against a vote, in the order of old."""
        stake, account, known = task.deal.worker_stake, found.purse.account, found.task
        if digest is None:
            yield "DETERMINISM_HASH_NOT_FOUND", "nothing says what the app computed"
        assert account is not None
        alone = task.replicates[self.me].alone
        if account.stake < stake and not alone:
            yield (
                "STAKE_TOO_LOW",
                f"a vote locks {in_rlc(stake)}, but {in_rlc(account.stake)} are free",
            )
        if known is None or known.state is not TaskState.ACTIVE:
            state = "UNSET" if known is None else known.state.name
            yield "TASK_NOT_ACTIVE", f"the task is {state} on the chain"
        elif found.head.timestamp >= known.contribution_deadline:
            late = found.head.timestamp - known.contribution_deadline
            yield "CONTRIBUTION_TIMEOUT", f"the time for votes ended {late} s ago"
        if found.contribution is not None:
            sent = found.contribution.result_hash
            yield "CONTRIBUTION_ALREADY_SET", f"this wallet voted for {sent}, not for ours"
        if task.replicates[self.me].authorization is None:
            yield "WORKERPOOL_AUTHORIZATION_NOT_FOUND", "the scheduler signed nothing for us"
        if poverty := self._poverty(task, found):
            yield "OUT_OF_GAS", poverty
        if alone and task.deal.trust > 1:
            yield "TRUST_NOT_1", f"no single vote decides at trust {task.deal.trust}"
        if alone and known is not None and known.contributors:
            yield "TASK_ALREADY_CONTRIBUTED", "somebody has voted, so no vote can finalize"

    def _poverty(self, task: Task, found: Standing) -> str | None:
        """Why the wallet could not pay for the vote and its reveal, beside what it owes for
        others; a balance that nobody tells is unknown, not zero."""
        balance, price = found.purse.balance, self.funds.fees.price(found.purse.gas_price)
        own = vote_gas(alone=task.replicates[self.me].alone) * price
        others = self.funds.gas_ahead(task) * price
        if self.funds.free_gas or balance is None or balance >= own + others:
            return None
        promised = f", of which {in_eth(others)} are promised to other votes" if others else ""
        return (
            f"vote and reveal may take {in_eth(own)} at {in_gwei(price)}, but the wallet "
            f"{self.me} has {in_eth(balance)}{promised}: top it up"
        )

    def _require_known(self, found: Standing) -> None:
        """Raises Unavailable while something may change the answer that only time tells."""
        if found.purse.account is None:
            raise Unavailable("What this wallet has on the hub is not known.")
        if found.task is None or found.task.state is TaskState.UNSET:
            # We saw it opened: the node lags, or lies, or the chain has just lost blocks.
            self.hub.rpc.doubt()
            raise Unavailable("The node does not know that the task was opened.")
        strangers = self.sender.strangers(found.sent, found.pending)
        if strangers:
            raise Unavailable(
                f"Transactions {_list(strangers)} of {self.me} wait in the node, and this "
                "worker did not send them: it votes when it is known what they do."
            )

    def _unreachable(self, task: Task, digest: Digest | None, trouble: Unavailable) -> Failed:
        """Give up, when it has lasted and nothing can be on its way; else raises `trouble`."""
        now = time.monotonic()
        waited = now - self._dark.setdefault(task.id, now)
        if waited < self.chain_patience or (digest and self._was_signed(task, digest)):
            raise trouble
        del self._dark[task.id]
        log.warning("%s: no vote, no node answered for %.0f s: %s", task.id, waited, trouble)
        return Failed(self.me, Step.CHECK, "CHAIN_UNREACHABLE")

    async def _refused(self, task: Task, refusal: Refused) -> Fact | None:
        """Another vote may have decided the task a moment earlier: then the chain tells."""
        self.hub.rpc.doubt()
        if await self._contributed(task):
            return None
        known = await self.hub.task(task.id)
        if known is None or known.state is not TaskState.ACTIVE:
            return None
        account = await self.hub.account(self.me)
        if account.stake < task.deal.worker_stake:
            return Failed(self.me, Step.CONTRIBUTE, "STAKE_TOO_LOW")
        raise refusal

    def _digest(self, task: Task) -> Digest | None:
        """What we vote for: the result that was computed, or the one that was signed."""
        mine = task.replicates[self.me]
        if mine.digest is None or mine.authorization is None:
            return mine.digest
        return self._signed(task, mine.digest, mine.authorization)

    def _signed(self, task: Task, digest: Digest, authorization: Signature) -> Digest:
        """`digest`, unless a vote for another one was signed: that one may be mined at any
        time, whatever the app says when it is run again."""
        pledged = self.pledges.of(task.id)
        if pledged in (None, digest):
            return digest
        assert pledged is not None
        if not self.sender.signed(self._vote(task, pledged, authorization)):
            return digest
        log.warning("%s: computed anew, but a vote for the first result is signed.", task.id)
        return pledged

    def _proof(self, task: Task, digest: Digest | None) -> Digest | None:
        """The digest that the vote on the chain was for."""
        vote, known = task.replicates[self.me].vote, (digest, self.pledges.of(task.id))
        if vote is None:
            return digest or known[1]
        good = (each for each in known if each and result_hash(task.id, each) == vote)
        return next(good, None)

    def _vote(self, task: Task, digest: Digest, authorization: Signature) -> Call:
        return self.hub.calls.contribute(
            task.id,
            result_hash(task.id, digest),
            result_seal(self.me, task.id, digest),
            authorization=authorization,
            enclave_sign=_NO_ENCLAVE_SIGN,
        )

    def _was_signed(self, task: Task, digest: Digest) -> bool:
        authorization = task.replicates[self.me].authorization
        return authorization is not None and self.sender.signed(
            self._vote(task, digest, authorization)
        )

    def _on_its_way(self, task: Task, digest: Digest) -> bool:
        authorization = task.replicates[self.me].authorization
        return (
            authorization is not None
            and self._vote(task, digest, authorization) in self.sender.waiting()
        )

    async def _contributed(self, task: Task) -> bool:
        known = await self.hub.contribution(task.id, self.me)
        return known is not None and known.state is not ContributionState.UNSET

    async def _is_owed(self, task: Task) -> bool:
        known = await self.hub.contribution(task.id, self.me)
        return known is not None and known.state is ContributionState.CONTRIBUTED


def _is_ours(found: Standing, task: Task, digest: Digest | None) -> bool:
    """Whether what the wallet voted for is what we would vote for."""
    if found.contribution is None or digest is None:
        return False
    return found.contribution.result_hash == result_hash(task.id, digest)


def _list(nonces: tuple[int, ...]) -> str:
    return ", ".join(map(str, nonces))

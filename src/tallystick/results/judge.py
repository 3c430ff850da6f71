"""Who may upload what: the chain decides, read through the hub."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from tallystick.chain.hub import Hub
from tallystick.chain.records import ChainTask, ContributionState, TaskState
from tallystick.poco.contribution import authorization_hash, result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.signing import BadSignature, ethereum_message_hash, recover
from tallystick.poco.tags import needs_enclave
from tallystick.poco.values import ZERO_ADDRESS, Address, DealId, Hash, TaskId
from tallystick.results.config import ResultsConfig
from tallystick.results.denial import Denied, not_yet, unauthorized
from tallystick.results.store import Store
from tallystick.storage.digest import BadOutput, output_digest
from tallystick.storage.zips import BadArchive, open_zip
from tallystick.wire.authorization import WorkerpoolAuthorization

_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Permit:
    """An upload that the chain allows: the hash that the result must have, and its task."""

    task: ChainTask
    deal: Deal
    worker: Address
    early: bool = False
    """Whether nothing is voted yet, and this worker's vote alone may decide."""


class Judge:
    """Checks requests against the chain."""

    def __init__(self, hub: Hub, config: ResultsConfig) -> None:
        self._hub, self._config = hub, config
        self._deals: OrderedDict[DealId, Deal] = OrderedDict()

    async def deal(self, id: DealId) -> Deal:
        """A deal of the chain; asked once, since deals never change."""
        if id not in self._deals:
            deal = await self._hub.deal(id)
            if deal is None:
                raise unauthorized(f"There is no deal {id}.")
            self._deals[id] = deal
            if len(self._deals) > _REMEMBERED:
                self._deals.popitem(last=False)
        return self._deals[id]

    async def authorized(self, authorization: WorkerpoolAuthorization, header: str) -> Address:
        """The worker, when `header` is its signature and its pool has authorized it for a task
        that is still going on. Raises `Denied` (401, or 503 while the task is not visible).
        """
        worker, id = authorization.worker_wallet, authorization.chain_task_id
        _require_signature(authorization, header)
        task = await self._hub.task(id)
        if task is None:
            raise not_yet(f"The task {id} is not on chain.")
        if task.final_deadline <= (await self._hub.head()).timestamp:
            raise unauthorized(f"The final deadline of the task {id} has passed.")
        deal = await self.deal(task.deal)
        if needs_enclave(deal.tag) or authorization.enclave_challenge != ZERO_ADDRESS:
            raise unauthorized(
                "This store takes no results of enclaves (tasks with a TEE tag)."
            )
        if authorization.signed_by() != deal.workerpool.owner:
            raise unauthorized(
                f"{worker} is not authorized for {id} by {deal.workerpool.owner}, the owner of "
                "the deal's workerpool."
            )
        return worker

    async def permit(self, id: TaskId, worker: Address) -> Permit:
        """Allow `worker` to upload for the task, which has to be revealing, as has its vote; or
        before any vote, where one decides and may finalize the task at once."""
        task = await self._hub.task(id)
        if task is not None and task.state is TaskState.ACTIVE and not task.contributors:
            deal = await self.deal(task.deal)
            if deal.trust == 1:
                return Permit(task, deal, worker, early=True)
        if task is None or task.state is TaskState.ACTIVE:
            raise not_yet(f"The task {id} has no consensus yet.")
        if task.state is not TaskState.REVEALING:
            raise Denied(409, f"The task {id} is {task.state.name}: nothing can be uploaded.")
        contribution = await self._hub.contribution(id, worker)
        if contribution is None or contribution.result_hash != task.consensus:
            raise unauthorized(f"{worker} did not contribute the result of the task {id}.")
        if contribution.state is not ContributionState.PROVED:
            raise not_yet(f"{worker} has not revealed its contribution to the task {id} yet.")
        return Permit(task, await self.deal(task.deal), worker)

    async def approve(self, permit: Permit, archive: Path) -> Hash:
        """The result hash of the zip `archive`. Raises `Denied` unless it holds the result that
        won the vote, or can be voted for."""
        callback = permit.deal.callback != ZERO_ADDRESS
        found = await anyio.to_thread.run_sync(self._hash_of, permit.task.id, archive, callback)
        if not permit.early and found != permit.task.consensus:
            raise Denied(
                400,
                f"The zip has the result hash {found}, and the workers of the task "
                f"{permit.task.id} agreed on {permit.task.consensus}.",
            )
        return found

    async def decide(self, store: Store, id: TaskId) -> None:
        """What came before the vote on a task is its result, or is deleted, once that is known.
        Raises `Unavailable`."""
        task = await self._hub.task(id)
        if task is None or task.state in (TaskState.UNSET, TaskState.ACTIVE):
            return
        failed = task.state is TaskState.FAILED
        result = None if failed else task.consensus
        await anyio.to_thread.run_sync(store.decide, id, result)

    def _hash_of(self, task: TaskId, archive: Path, callback: bool) -> Hash:
        limits = self._config
        try:
            with open_zip(
                archive, max_bytes=limits.max_unpacked_bytes, max_files=limits.max_files
            ) as output:
                return result_hash(task, output_digest(output, callback=callback))
        except (BadArchive, BadOutput) as trouble:
            raise Denied(400, str(trouble)) from trouble

    async def readers(self, deals: list[DealId]) -> set[Address]:
        """Who may read the results of these deals: their beneficiaries and requesters."""
        found = [await self.deal(id) for id in deals]
        return {reader for deal in found for reader in (deal.beneficiary, deal.requester)}


def _require_signature(authorization: WorkerpoolAuthorization, header: str) -> None:
    signed = authorization_hash(
        authorization.worker_wallet,
        authorization.chain_task_id,
        authorization.enclave_challenge,
    )
    try:
        signature = bytes.fromhex(header.removeprefix("0x"))
        signer = recover(ethereum_message_hash(signed), signature)
    except (BadSignature, ValueError) as trouble:
        raise unauthorized("The Authorization is not the worker's signature.") from trouble
    if signer != authorization.worker_wallet:
        raise unauthorized(f"The request was signed by {signer}, not by the worker.")

"""A task on the real contracts whose workers have voted, for the store to judge."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2

from tallystick.chain.calls import Calls
from tallystick.chain.wallet import Wallet
from tallystick.devnet.actors import Actor
from tallystick.poco.contribution import authorization_hash, result_hash, result_seal
from tallystick.poco.deal import Deal
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    Domain,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.signing import ethereum_message_hash, sign
from tallystick.poco.tags import tag_of
from tallystick.poco.values import (
    ZERO_ADDRESS,
    Address,
    DealId,
    Digest,
    Hash,
    Signature,
    TaskId,
)
from tallystick.storage.archive import digest_of, zip_output
from tallystick.wire.authorization import SignatureBody, WorkerpoolAuthorization
from tallystick.wire.results import ResultsClient

URL = "http://results.test"
NO_TAG = tag_of()
_SALTS = itertools.count(1)


@dataclass
class Market:
    """Deals and tasks on the chain of a fixture."""

    chain: Any
    calls: Calls = field(init=False)
    domain: Domain = field(init=False)

    def __post_init__(self) -> None:
        chain = self.chain
        self.domain = Domain(chain.chain_id, chain.hub)
        self.calls = Calls(
            hub=chain.hub,
            token=chain.rlc,
            apps=chain.app_registry,
            datasets=chain.dataset_registry,
            workerpools=chain.workerpool_registry,
        )

    def send(self, actor: Actor, call: Any) -> Any:
        receipt = self.chain.transact(actor.address, call.to, call.data)
        assert int(receipt["status"], 16) == 1, call.what
        return receipt

    def signed(self, order: Any, actor: Actor) -> Any:
        return replace(order, sign=sign(actor.key, order_hash(order, self.domain)))

    def deal(self, **request: Any) -> DealId:
        """Match four orders; `request` changes the requester's."""
        chain, salt = self.chain, Hash(next(_SALTS).to_bytes(32, "big"))
        tag = request.get("tag", NO_TAG)
        app = AppOrder(app=chain.app, price=1, volume=1, tag=tag, salt=salt)
        pool = WorkerpoolOrder(
            workerpool=chain.workerpool, price=10, volume=1, trust=1, tag=tag, salt=salt
        )
        wish = RequestOrder(
            app=chain.app,
            app_max_price=1,
            workerpool_max_price=10,
            requester=chain.requester.address,
            volume=1,
            trust=1,
            salt=salt,
            **request,
        )
        receipt = self.send(
            chain.requester,
            self.calls.match_orders(
                self.signed(app, chain.app_owner),
                NO_DATASET_ORDER,
                self.signed(pool, chain.scheduler),
                self.signed(wish, chain.requester),
            ),
        )
        notice = next(log for log in receipt["logs"] if len(log["topics"]) == 2)
        return DealId(notice["data"])

    def task(self, **request: Any) -> TaskId:
        """A new task, initialized."""
        deal = self.deal(**request)
        self.send(self.chain.scheduler, self.calls.initialize(deal, 0))
        return Deal(deal, start=0, time_unit=1, trust=1).task_id(0)

    def authorization(
        self, task: TaskId, worker: Actor, *, signer: Actor | None = None
    ) -> WorkerpoolAuthorization:
        digest = authorization_hash(worker.address, task)
        signature = sign((signer or self.chain.scheduler).key, ethereum_message_hash(digest))
        return WorkerpoolAuthorization(
            chain_task_id=task,
            deal_id=DealId(bytes(32)),
            task_index=0,
            worker_wallet=worker.address,
            signature=SignatureBody(value=Signature(signature)),
        )

    def contribute(self, task: TaskId, worker: Actor, digest: Digest) -> None:
        permission = self.authorization(task, worker).signature.value
        call = self.calls.contribute(
            task,
            result_hash(task, digest),
            result_seal(worker.address, task, digest),
            authorization=permission,
        )
        self.send(worker, call)

    def reveal(self, task: TaskId, worker: Actor, digest: Digest) -> None:
        self.send(worker, self.calls.reveal(task, digest))

    def revealed(self, digest: Digest, worker: Actor, **request: Any) -> TaskId:
        """A new task to which `worker` contributed `digest` and revealed it."""
        task = self.task(**request)
        self.contribute(task, worker, digest)
        self.reveal(task, worker, digest)
        return task


@dataclass(frozen=True)
class Result:
    """An app's output, packed."""

    archive: Path
    digest: Digest


def result(folder: Path, text: str = "A result", **more: str) -> Result:
    """The output of an app that wrote `text`."""
    out = folder / "iexec_out"
    out.mkdir(parents=True)
    (out / "result.txt").write_text(text)
    computed = {"deterministic-output-path": "/iexec_out/result.txt", **more}
    (out / "computed.json").write_text(json.dumps(computed))
    archive = folder / "iexec_out.zip"
    zip_output(out, archive)
    return Result(archive, digest_of(out, callback="callback-data" in more))


def wallet(actor: Actor) -> Wallet:
    return Wallet(actor.key)


def client_of(app: Any) -> ResultsClient:
    """A client that reaches `app` without a network."""
    client = ResultsClient(URL)
    client._http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=URL)
    return client


__all__ = [
    "URL",
    "ZERO_ADDRESS",
    "Address",
    "Market",
    "Result",
    "client_of",
    "result",
    "wallet",
]

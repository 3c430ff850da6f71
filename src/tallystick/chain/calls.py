"""What can be asked of the contracts, as transactions to send. Pure.

A `Call` built twice from the same arguments is equal: the sender knows by that whether it is
on its way already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tallystick.chain import contracts
from tallystick.chain.abi import encode_call
from tallystick.chain.call import Call
from tallystick.chain.fees import CALLBACK_GAS, DECIDING_GAS
from tallystick.poco.orders import (
    AppOrder,
    DatasetOrder,
    Operation,
    Order,
    RequestOrder,
    WorkerpoolOrder,
    as_tuple,
)
from tallystick.poco.values import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    DealId,
    Digest,
    Hash,
    Nrlc,
    TaskId,
    Wei,
)

__all__ = ["Call", "Calls", "transfer"]


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one deployment of PoCo."""

    hub: Address
    token: Address
    """Zero in native mode, where RLC is the chain's own coin."""
    apps: Address
    datasets: Address
    workerpools: Address

    # Requester

    def match_orders(
        self,
        app: AppOrder,
        dataset: DatasetOrder,
        workerpool: WorkerpoolOrder,
        request: RequestOrder,
    ) -> Call:
        """Makes a deal. Anybody may send it; the requester pays."""
        orders = [as_tuple(order) for order in (app, dataset, workerpool, request)]
        return self._ask("match orders", contracts.MATCH_ORDERS, *orders)

    def sponsor_match_orders(
        self,
        app: AppOrder,
        dataset: DatasetOrder,
        workerpool: WorkerpoolOrder,
        request: RequestOrder,
    ) -> Call:
        """Makes a deal that the sender pays."""
        orders = [as_tuple(order) for order in (app, dataset, workerpool, request)]
        return self._ask("sponsor orders", contracts.SPONSOR_MATCH_ORDERS, *orders)

    def claim(self, task: TaskId) -> Call:
        """Refunds a task that was not finished by its final deadline. Anybody may send it."""
        return self._ask(f"claim {task}", contracts.CLAIM, task)

    def claim_array(self, tasks: Sequence[TaskId]) -> Call:
        """Refunds several tasks, or none when one of them cannot be."""
        return self._ask(f"claim {len(tasks)} tasks", contracts.CLAIM_ARRAY, tasks)

    def initialize_and_claim_array(
        self, deals: Sequence[DealId], indices: Sequence[int]
    ) -> Call:
        """Refunds tasks that were not even initialized by their final deadline."""
        what = f"initialize and claim {len(deals)} tasks"
        return self._ask(what, contracts.INITIALIZE_AND_CLAIM_ARRAY, deals, indices)

    # Scheduler

    def initialize(self, deal: DealId, index: int) -> Call:
        """Starts task `index` of the deal; the index is absolute (from `bot_first` on)."""
        return self._ask(
            f"initialize task {index} of {deal}", contracts.INITIALIZE, deal, index
        )

    def initialize_array(self, deals: Sequence[DealId], indices: Sequence[int]) -> Call:
        """Starts several tasks, or none when one of them cannot be."""
        what = f"initialize {len(deals)} tasks"
        return self._ask(what, contracts.INITIALIZE_ARRAY, deals, indices)

    def finalize(self, task: TaskId, results: bytes, callback: bytes = b"") -> Call:
        """Ends a task whose winners have revealed and pays everybody."""
        args = (task, results, callback)
        return _roomy(self._ask(f"finalize {task}", contracts.FINALIZE, *args), callback)

    def reopen(self, task: TaskId) -> Call:
        """Back to contributing, when nobody revealed in time."""
        return self._ask(f"reopen {task}", contracts.REOPEN, task)

    def change_policy(self, workerpool: Address, stake_ratio: int, reward_ratio: int) -> Call:
        """Sets what workers stake and what the scheduler keeps, in percent; for later deals."""
        data = encode_call(contracts.CHANGE_POLICY, (stake_ratio, reward_ratio))
        return Call(workerpool, data, f"change the policy of workerpool {workerpool}")

    # Worker

    def contribute(
        self,
        task: TaskId,
        result_hash: Hash,
        seal: Hash,
        *,
        authorization: bytes,
        enclave: Address = ZERO_ADDRESS,
        enclave_sign: bytes = b"",
    ) -> Call:
        """Votes for a result without telling it; locks the worker's stake."""
        args = (task, result_hash, seal, enclave, enclave_sign, authorization)
        call = self._ask(f"contribute to {task}", contracts.CONTRIBUTE, *args)
        return replace(call, spare=DECIDING_GAS)

    def reveal(self, task: TaskId, digest: Digest) -> Call:
        """Tells the result that was voted for."""
        return self._ask(f"reveal {task}", contracts.REVEAL, task, digest)

    def contribute_and_finalize(
        self,
        task: TaskId,
        digest: Digest,
        *,
        results: bytes,
        authorization: bytes,
        callback: bytes = b"",
        enclave: Address = ZERO_ADDRESS,
        enclave_sign: bytes = b"",
    ) -> Call:
        """The whole life of a trust-1 task that has no contribution yet, in one transaction."""
        args = (task, digest, results, callback, enclave, enclave_sign, authorization)
        call = self._ask(f"finish {task} by one vote", contracts.CONTRIBUTE_AND_FINALIZE, *args)
        return _roomy(call, callback)

    # Accounts

    def deposit(self, amount: Nrlc) -> Call:
        """Moves RLC of the sender's wallet to its account on the hub."""
        what = f"deposit {amount} nRLC"
        if self.token == ZERO_ADDRESS:
            data = encode_call(contracts.DEPOSIT_NATIVE)
            return Call(self.hub, data, what, value=amount * 10**9)
        data = encode_call(contracts.APPROVE_AND_CALL, (self.hub, amount, b""))
        return Call(self.token, data, what)

    def withdraw(self, amount: Nrlc) -> Call:
        """Moves RLC of the sender's account on the hub to its wallet."""
        return self._ask(f"withdraw {amount} nRLC", contracts.WITHDRAW, amount)

    def transfer_rlc(self, to: Address, amount: Nrlc) -> Call:
        """Moves RLC from wallet to wallet."""
        what = f"transfer {amount} nRLC to {to}"
        if self.token == ZERO_ADDRESS:
            return Call(to, b"", what, value=amount * 10**9)
        return Call(self.token, encode_call(contracts.TRANSFER, (to, amount)), what)

    # Assets

    def create_app(
        self,
        owner: Address,
        name: str,
        *,
        multiaddr: bytes,
        checksum: Hash,
        kind: str = "DOCKER",
        enclave: bytes = b"",
    ) -> Call:
        """Registers an app; its address is in the receipt's `AssetCreated`."""
        args = (owner, name, kind, multiaddr, checksum, enclave)
        return Call(self.apps, encode_call(contracts.CREATE_APP, args), f"create app {name}")

    def create_dataset(
        self, owner: Address, name: str, *, multiaddr: bytes, checksum: Hash = ZERO_HASH
    ) -> Call:
        """Register a dataset in the name of its owner."""
        data = encode_call(contracts.CREATE_DATASET, (owner, name, multiaddr, checksum))
        return Call(self.datasets, data, f"create dataset {name}")

    def create_workerpool(self, owner: Address, description: str) -> Call:
        """Register a workerpool in the name of `owner`."""
        data = encode_call(contracts.CREATE_WORKERPOOL, (owner, description))
        return Call(self.workerpools, data, f"create workerpool {description}")

    def manage_order(self, order: Order, operation: Operation, sign: bytes = b"") -> Call:
        """Signs or closes an order on chain. `sign` stands for the owner, if not the sender."""
        signature = {
            AppOrder: contracts.MANAGE_APP_ORDER,
            DatasetOrder: contracts.MANAGE_DATASET_ORDER,
            WorkerpoolOrder: contracts.MANAGE_WORKERPOOL_ORDER,
            RequestOrder: contracts.MANAGE_REQUEST_ORDER,
        }[type(order)]
        what = f"{operation.name.lower()} a {type(order).__name__}"
        return self._ask(what, signature, (as_tuple(order), operation, sign))

    def _ask(self, what: str, signature: str, *args: Any) -> Call:
        return Call(self.hub, encode_call(signature, args), what)


def _roomy(call: Call, callback: bytes) -> Call:
    """With gas for the requester's contract, whose failure an estimate takes for success."""
    return replace(call, spare=CALLBACK_GAS) if callback else call


def transfer(to: Address, amount: Wei) -> Call:
    """Moves the chain's own coin."""
    return Call(to, b"", f"transfer {amount} wei to {to}", value=amount)

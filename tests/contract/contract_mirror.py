"""The calls of PoCo, each made on the ledger and on the real contracts."""

from __future__ import annotations

from contract_pair import Pair, hexed
from eth_hash.auto import keccak

from tallystick.chain import contracts
from tallystick.chain.abi import encode, encode_call
from tallystick.chain.calls import Call
from tallystick.devnet.actors import Actor
from tallystick.poco.clerk import Workerpool
from tallystick.poco.contribution import (
    authorization_hash,
    enclave_hash,
    result_hash,
    result_seal,
)
from tallystick.poco.escrow import Revert
from tallystick.poco.ledger import Permit
from tallystick.poco.orders import (
    AppOrder,
    DatasetOrder,
    Operation,
    Order,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.signing import ethereum_message_hash, sign
from tallystick.poco.values import (
    ZERO_ADDRESS,
    Address,
    DealId,
    Digest,
    Hash,
    TaskId,
)

STORAGE = 0x5862653C6982C162832160CF30593645E8487B257E44D77CDD6B51EEE2651B00
"""Where the hub's state begins; word 18 is where the scores are."""


class Mirror(Pair):
    """A pair of a chain and a ledger that speaks PoCo."""

    # The calls

    def signed(self, order: Order, owner: Actor) -> bytes:
        return sign(owner.key, order_hash(order, self.domain))

    def permit(
        self,
        worker: Address,
        task: TaskId,
        *,
        enclave: Address = ZERO_ADDRESS,
        enclave_sign: bytes = b"",
        signer: Actor | None = None,
    ) -> Permit:
        """The scheduler's word that `worker` may contribute to `task`."""
        key = (signer or self.chain.scheduler).key
        allowed = ethereum_message_hash(authorization_hash(worker, task, enclave))
        return Permit(
            authorization=sign(key, allowed), enclave=enclave, enclave_sign=enclave_sign
        )

    def match(
        self,
        app: AppOrder,
        dataset: DatasetOrder,
        workerpool: WorkerpoolOrder,
        request: RequestOrder,
        *,
        sponsor: Address | None = None,
        at: int | None = None,
    ) -> Revert | None:
        orders = app, dataset, workerpool, request
        sender = sponsor or self.chain.owner.address
        make = self.calls.sponsor_match_orders if sponsor else self.calls.match_orders

        def act(now: int) -> None:
            self.ledger.clerk.match_orders(*orders, now=now, sponsor=sponsor)

        return self.both(sender, make(*orders), act, at=at)

    def manage(
        self, sender: Address, order: Order, operation: Operation, signature: bytes = b""
    ) -> Revert | None:
        call = self.calls.manage_order(order, operation, signature)
        act = self.ledger.clerk.manage_order
        return self.both(sender, call, lambda now: act(sender, order, operation, signature))

    def initialize(self, deal: DealId, index: int, *, at: int | None = None) -> Revert | None:
        call = self.calls.initialize(deal, index)
        act = self.ledger.initialize
        return self.both(self.chain.owner.address, call, lambda now: act(deal, index), at=at)

    def contribute(
        self,
        worker: Address,
        task: TaskId,
        digest: Digest,
        *,
        permit: Permit | None = None,
        seal: Hash | None = None,
        at: int | None = None,
    ) -> Revert | None:
        allowed = permit or self.permit(worker, task)
        choice, mine = result_hash(task, digest), seal or result_seal(worker, task, digest)
        call = self.calls.contribute(
            *(task, choice, mine),
            authorization=allowed.authorization,
            enclave=allowed.enclave,
            enclave_sign=allowed.enclave_sign,
        )

        def act(now: int) -> None:
            self.ledger.contribute(worker, task, choice, mine, permit=allowed, now=now)

        return self.both(worker, call, act, at=at)

    def contribute_and_finalize(
        self,
        worker: Address,
        task: TaskId,
        digest: Digest,
        *,
        results: bytes = b"",
        callback: bytes = b"",
        permit: Permit | None = None,
        at: int | None = None,
    ) -> Revert | None:
        allowed = permit or self.permit(worker, task)
        call = self.calls.contribute_and_finalize(
            *(task, digest),
            results=results,
            callback=callback,
            authorization=allowed.authorization,
            enclave=allowed.enclave,
            enclave_sign=allowed.enclave_sign,
        )

        def act(now: int) -> None:
            self.ledger.contribute_and_finalize(
                *(worker, task, digest),
                results=results,
                callback=callback,
                permit=allowed,
                now=now,
            )

        return self.both(worker, call, act, at=at)

    def enclave_sign(
        self, enclave: Actor, worker: Address, task: TaskId, digest: Digest
    ) -> bytes:
        proof = enclave_hash(result_hash(task, digest), result_seal(worker, task, digest))
        return sign(enclave.key, ethereum_message_hash(proof))

    def reveal(
        self, worker: Address, task: TaskId, digest: Digest, *, at: int | None = None
    ) -> Revert | None:
        def act(now: int) -> None:
            self.ledger.reveal(worker, task, digest, now=now)

        return self.both(worker, self.calls.reveal(task, digest), act, at=at)

    def reopen(
        self, task: TaskId, *, sender: Address | None = None, at: int | None = None
    ) -> Revert | None:
        me = sender or self.chain.scheduler.address

        def act(now: int) -> None:
            self.ledger.reopen(me, task, now=now)

        return self.both(me, self.calls.reopen(task), act, at=at)

    def finalize(
        self,
        task: TaskId,
        *,
        results: bytes = b"",
        callback: bytes = b"",
        sender: Address | None = None,
        at: int | None = None,
    ) -> Revert | None:
        me = sender or self.chain.scheduler.address

        def act(now: int) -> None:
            self.ledger.finalize(me, task, results=results, callback=callback, now=now)

        return self.both(me, self.calls.finalize(task, results, callback), act, at=at)

    def claim(self, task: TaskId, *, at: int | None = None) -> Revert | None:
        def act(now: int) -> None:
            self.ledger.claim(task, now=now)

        return self.both(self.chain.requester.address, self.calls.claim(task), act, at=at)

    def claim_array(self, tasks: list[TaskId], *, at: int | None = None) -> Revert | None:
        def act(now: int) -> None:
            self.ledger.claim_array(tasks, now=now)

        me = self.chain.requester.address
        return self.both(me, self.calls.claim_array(tasks), act, at=at)

    def initialize_and_claim(
        self, deals: list[DealId], indices: list[int], *, at: int | None = None
    ) -> Revert | None:
        def act(now: int) -> None:
            self.ledger.initialize_and_claim_array(deals, indices, now=now)

        call = self.calls.initialize_and_claim_array(deals, indices)
        return self.both(self.chain.requester.address, call, act, at=at)

    def initialize_array(self, deals: list[DealId], indices: list[int]) -> Revert | None:
        data = encode_call("initializeArray(bytes32[],uint256[])", (deals, indices))
        call = Call(self.chain.hub, data, "initialize many")
        act = self.ledger.initialize_array
        return self.both(self.chain.owner.address, call, lambda now: act(deals, indices))

    # Money

    def deposit(self, account: Address, amount: int) -> Revert | None:
        act = self.ledger.escrow.deposit
        return self.both(account, self.calls.deposit(amount), lambda now: act(account, amount))

    def withdraw(self, account: Address, amount: int) -> Revert | None:
        act = self.ledger.escrow.withdraw
        return self.both(account, self.calls.withdraw(amount), lambda now: act(account, amount))

    def transfer(self, sender: Address, recipient: Address, amount: int) -> Revert | None:
        data = encode_call(contracts.TRANSFER, (recipient, amount))
        call = Call(self.chain.hub, data, f"transfer {amount}")
        act = self.ledger.escrow.transfer
        return self.both(sender, call, lambda now: act(sender, recipient, amount))

    # What is not a call of the hub

    def change_policy(self, stake_ratio: int, reward_ratio: int) -> None:
        pool = self.chain.workerpool

        def act(now: int) -> None:
            policy = Workerpool(self.chain.scheduler.address, stake_ratio, reward_ratio)
            self.ledger.clerk.registries.workerpools[pool] = policy

        call = self.calls.change_policy(pool, stake_ratio, reward_ratio)
        assert self.both(self.chain.scheduler.address, call, act) is None

    def sell_pool(self, buyer: Address) -> None:
        """Transfer the workerpool's token: later deals have another scheduler."""
        pool, seller = self.chain.workerpool, self.chain.scheduler.address

        def act(now: int) -> None:
            self.ledger.clerk.registries.workerpools[pool].owner = buyer

        number = int.from_bytes(pool, "big")
        data = encode_call("transferFrom(address,address,uint256)", (seller, buyer, number))
        assert (
            self.both(seller, Call(self.chain.workerpool_registry, data, "sell"), act) is None
        )

    def admit(self, group: Address, member: Address) -> None:
        """Make `member` one of a group that a restriction names."""

        def act(now: int) -> None:
            self.ledger.clerk.groups.setdefault(group, set()).add(member)

        data = encode_call("setKeyHasPurpose(bytes32,uint256)", (member.rjust(32, b"\0"), 4))
        call = Call(group, data, f"admit {member}")
        assert self.both(self.chain.owner.address, call, act) is None

    def set_broker(self, broker: Address) -> None:
        def act(now: int) -> None:
            self.ledger.tee_broker = broker

        data = encode_call("setTeeBroker(address)", (broker,))
        call = Call(self.chain.hub, data, "set the TEE broker")
        assert self.both(self.chain.owner.address, call, act) is None

    def give_score(self, worker: Address, score: int) -> None:
        """Write a reputation into the hub's storage: earning one takes many tasks."""
        slot = keccak(encode(["address", "uint256"], [worker, STORAGE + 18]))
        word = hexed(score.to_bytes(32, "big"))
        self.chain.rpc("anvil_setStorageAt", str(self.chain.hub), hexed(slot), word)
        self.ledger.scores[worker] = score
        assert self.ask(contracts.VIEW_SCORE, worker, returns="uint256") == score

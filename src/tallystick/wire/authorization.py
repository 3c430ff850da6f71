"""The scheduler's permission to contribute, as it travels: `WorkerpoolAuthorization`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tallystick.poco.contribution import authorization_hash
from tallystick.poco.signing import BadSignature, ethereum_message_hash, recover
from tallystick.poco.values import ZERO_ADDRESS, Address, DealId, Signature, TaskId

UNSIGNED = Signature(bytes(65))
"""In the place of a signature that comes once the worker has handed in its digest."""


class Body(BaseModel):
    """What travels as JSON: camelCase outside, unknown fields ignored, values immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )

    def json_bytes(self, *without: str) -> bytes:
        """UTF-8 JSON with every field but those `without` which the reader wants it, nulls
        included, as the v9 peers write it."""
        return self.model_dump_json(by_alias=True, exclude=set(without)).encode()


class SignatureBody(Body):
    """A signature on the wire: `{"value": "0x..."}` and nothing else."""

    value: Signature


class WorkerpoolAuthorization(Body):
    """Who may contribute to which task, signed by the owner of the workerpool.

    `dealId` and `taskIndex` only inform: they are not part of what is signed.
    """

    chain_task_id: TaskId
    deal_id: DealId
    task_index: int = Field(ge=0, lt=1 << 256)
    worker_wallet: Address
    enclave_challenge: Address = ZERO_ADDRESS
    signature: SignatureBody

    def signed_by(self) -> Address | None:
        """Whose signature it carries; None when it is no signature at all."""
        digest = authorization_hash(
            self.worker_wallet, self.chain_task_id, self.enclave_challenge
        )
        try:
            return recover(ethereum_message_hash(digest), self.signature.value)
        except BadSignature:
            return None

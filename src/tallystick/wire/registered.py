"""How a v9 scheduler answers a worker that registers."""

from __future__ import annotations

from typing import Final, Self

from tallystick.poco.values import Address
from tallystick.wire.authorization import Body
from tallystick.wire.scheduler import WorkerModel

_SGX: Final = tuple("0x" + "0" * 63 + digit for digit in "35")
_TDX: Final = ("0x" + "0" * 63 + "9",)


class RegisteredWorker(Body):
    """What is known of a worker."""

    id: str
    name: str
    wallet_address: Address
    os: str
    cpu: str
    cpu_nb: int
    max_nb_tasks: int
    memory_size: int
    gpu_enabled: bool
    tee_enabled: bool
    tdx_enabled: bool
    participating_chain_task_ids: tuple[str, ...]
    computing_chain_task_ids: tuple[str, ...]
    last_alive_date: str
    """ISO-8601."""
    last_replicate_demand_date: str | None = None
    excluded_tags: tuple[str, ...] = ()
    """The bare tags of enclaves that it lacks."""

    @classmethod
    def of(
        cls,
        worker: Address,
        model: WorkerModel,
        *,
        now: str,
        participating: tuple[str, ...],
        computing: tuple[str, ...],
    ) -> Self:
        """`model` as it is kept; `now` is when it was heard."""
        return cls(
            id=str(worker),
            name=model.name,
            wallet_address=worker,
            os=model.os,
            cpu=model.cpu,
            cpu_nb=model.cpu_nb,
            max_nb_tasks=model.slots,
            memory_size=model.memory_size,
            gpu_enabled=model.gpu_enabled,
            tee_enabled=model.tee_enabled,
            tdx_enabled=model.tdx_enabled,
            participating_chain_task_ids=participating,
            computing_chain_task_ids=computing,
            last_alive_date=now,
            excluded_tags=(
                *(() if model.tee_enabled else _SGX),
                *(() if model.tdx_enabled else _TDX),
            ),
        )

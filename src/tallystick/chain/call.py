"""One transaction that is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

from tallystick.poco.values import Address, TaskId, Wei


@dataclass(frozen=True, slots=True)
class Call:
    """One transaction, before it has a nonce, a fee and a signature."""

    to: Address
    data: bytes
    what: str
    """For people: logs and error sentences."""
    value: Wei = 0
    spare: int = field(default=0, compare=False)
    """Gas beyond what a node estimates, for what the call calls in turn."""

    def __repr__(self) -> str:
        return f"Call({self.what}, to {self.to}, {len(self.data)} bytes)"

    def is_about(self, task: TaskId) -> bool:
        """Whether it is a call of the hub that names `task` first, as those for tasks do."""
        return self.data[4:36] == bytes(task)

"""What a v9 scheduler tells workers that did not ask, or that ask how to go on."""

from __future__ import annotations

from tallystick.poco.values import Address, TaskId
from tallystick.wire.authorization import Body, WorkerpoolAuthorization


class NotificationExtra(Body):
    """What goes with a notification."""

    workerpool_authorization: WorkerpoolAuthorization | None = None
    sms_url: str | None = None
    block_number: int = 0
    """For a reveal the block of the consensus, and then never 0."""
    task_abort_cause: str | None = None


class TaskNotification(Body):
    """One word to the workers of a task. Peers write the abort cause beside it once more,
    which their own workers refuse to read: it is left out here, and passed over."""

    chain_task_id: TaskId
    workers_address: tuple[Address, ...]
    """In lower case; empty: everybody who listens."""
    task_notification_type: str
    task_notification_extra: NotificationExtra | None = None

"""What a scheduler tells its own workers from a cursor. No peer knows of it."""

from __future__ import annotations

from tallystick.poco.values import TaskId
from tallystick.wire.authorization import Body, WorkerpoolAuthorization


class PoolNews(Body):
    """`GET /replicates/facts`: what the scheduler decided about this worker, in order.

    `kind` is Assigned or Authorized (with the authorization), Refuted (others computed
    something else) or UploadRequested (with its deadline, seconds since the epoch by the
    chain). `from_block` tells where on the chain the task begins.
    """

    seq: int
    chain_task_id: TaskId
    kind: str
    weight: int = 0
    authorization: WorkerpoolAuthorization | None = None
    deadline: int = 0
    from_block: int = 0
    alone: bool = False
    digest_first: bool = False
    goes_on: bool = False


class PoolFeed(Body):
    """News past a cursor, and the cursor after them."""

    news: tuple[PoolNews, ...]
    next: int
    of: str = ""
    """Which scheduler process numbered them: a cursor means nothing to another one."""

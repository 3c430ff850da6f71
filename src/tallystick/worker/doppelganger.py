"""Whether another program uses our wallet: then no new work is taken up.

Two workers with one wallet would promise one stake twice, and take each other's nonces. What
is owed goes on all the same: a call whose nonce was taken is signed again with the next one.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from tallystick.chain.sender import Sender
from tallystick.engine.journal import Journal
from tallystick.engine.pulse import Pulse
from tallystick.poco.values import Address
from tallystick.worker.reason import Reason

log = logging.getLogger(__name__)

_KEY = "foreign transactions"


class Doppelganger:
    """A gate that closes when a transaction of the wallet was not sent by this worker.

    It stays closed over restarts, until the operator says that it is all right.
    """

    def __init__(self, me: Address, sender: Sender, journal: Journal[Any]) -> None:
        self._me, self._sender, self._journal = me, sender, journal
        self._nonces: list[int] = json.loads(journal.noted(_KEY) or "[]")
        self._seen: set[int] = set(self._nonces)
        self.changes = Pulse()

    def closed(self) -> Reason | None:
        """Why no work may be asked for. Raises DiskTrouble when the news cannot be kept."""
        if fresh := [nonce for nonce in self._sender.foreign if nonce not in self._seen]:
            self._keep([*self._nonces, *fresh])
            self._seen.update(fresh)
            self.changes.beat()
        return self._reason() if self._nonces else None

    def clear(self) -> None:
        """The operator knows where the transactions came from: work may go on."""
        self._keep([])
        log.info("Foreign transactions of %s are cleared by the operator.", self._me)
        self.changes.beat()

    def _keep(self, nonces: list[int]) -> None:
        self._journal.note(_KEY, json.dumps(nonces))
        self._nonces = nonces

    def _reason(self) -> Reason:
        listed = ", ".join(map(str, self._nonces))
        return Reason(
            "WALLET_SHARED",
            f"Another program uses the wallet {self._me}: transaction {listed} is not from "
            "this worker. No new work is taken up, what is owed goes on. Stop that program; if "
            "it was you (a deposit, a transfer): tally worker resume --clear.",
        )

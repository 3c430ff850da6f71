"""What a status means to a worker's operator, above all for the stake. For documentation and
for whoever explains a status to a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NONE = "No stake was locked, nothing is lost."
_OPEN = "No stake is locked yet."
_LOCKED = "The stake is locked until the task ends."
_SAFE = "The stake is locked until the task is finalized; then it comes back with the reward."
_RISK = "The stake is lost if the vote was with the consensus and is not revealed in time."
_BEATEN = "Before a vote nothing was locked or lost; a vote for another result loses its stake."
_CLAIM = "Nothing is lost: a stake that was locked comes back when the task is claimed."
_CHAIN = "The chain decides: a vote that it has is paid or lost as if nothing had happened."


@dataclass(frozen=True, slots=True)
class Meaning:
    """One name, explained."""

    says: str
    """Who sets it: worker, pool manager, or chain (what a confirmed log proves)."""
    meaning: str
    money: str


def _all(rows: str) -> Mapping[str, Meaning]:
    short = {"-": _NONE, "o": _OPEN, "l": _LOCKED, "s": _SAFE, "r": _RISK, "c": _CHAIN}
    short |= {"b": _BEATEN, "k": _CLAIM}
    who = {"W": "worker", "P": "pool manager", "C": "chain"}
    found = dict[str, Meaning]()
    for line in rows.strip().replace("\n  ", " ").splitlines():
        name, says, money, meaning = line.split(maxsplit=3)
        found[name] = Meaning(who[says], meaning, short[money])
    return found


MEANINGS: Final = _all("""
CREATED P o The worker holds an authorization to contribute.
RUNNING W o It has taken the task up and looks whether the work is worth anything.
STARTING W o The same, in modern words.
STARTED W o Every check passed; the work may begin.
START_FAILED W - A check failed before any work; the cause tells which.
APP_DOWNLOADING W o The app's image is fetched.
APP_DOWNLOADED W o The image is on the machine.
APP_DOWNLOAD_FAILED W o The image cannot be had. Nobody can have it, so that is a result and
  is voted on.
DATA_DOWNLOADING W o Dataset and input files are fetched.
DATA_DOWNLOADED W o They are on disk, or there are none.
DATA_DOWNLOAD_FAILED W o They cannot be had, or the dataset has another checksum: a result,
  voted on.
COMPUTING W o The app runs.
COMPUTED W o The app ran and its output has a digest.
COMPUTE_FAILED W - The app could not be run here: not a result, not voted on.
CAN_CONTRIBUTE W o A vote would count, and can be paid for.
CANT_CONTRIBUTE_SINCE_STAKE_TOO_LOW W - Less is free on the hub than a vote locks: deposit
  more.
CANT_CONTRIBUTE_SINCE_TASK_NOT_ACTIVE W - Others have decided the task already.
CANT_CONTRIBUTE_SINCE_AFTER_DEADLINE W - The time for votes is over.
CANT_CONTRIBUTE_SINCE_CONTRIBUTION_ALREADY_SET W c The wallet has voted on this task by
  another hand.
CANT_CONTRIBUTE_SINCE_DETERMINISM_HASH_NOT_FOUND W - Nothing says what the app computed.
CANT_CONTRIBUTE_SINCE_CHAIN_UNREACHABLE W - No node answered for too long.
CANT_CONTRIBUTE_SINCE_TEE_EXECUTION_NOT_VERIFIED W - An enclave was asked for and did not
  sign.
CONTRIBUTING W o The vote is on its way.
CONTRIBUTED C l The vote is on the chain.
CONTRIBUTE_FAILED W c The vote was not cast, or the contract refused it; the cause tells why.
OUT_OF_GAS W r The wallet cannot pay. Before a vote nothing is locked and the task is given
  up; before a reveal it is tried again with every block: refill the wallet.
REVEALING W r The vote won and its proof is on its way.
REVEALED C s The proof is on the chain.
REVEAL_FAILED W r The proof could not be sent.
CANT_REVEAL W r The digest that was voted for is not on this machine any more.
REVEAL_TIMEOUT P r The vote won and was not revealed in time.
RESULT_UPLOAD_REQUESTED P s This worker was chosen to publish the result.
RESULT_UPLOAD_REQUEST_FAILED P s It did not begin in two minutes; another winner is asked. If
  it does so later, that is as good.
RESULT_UPLOADING W s The result goes to the store.
RESULT_UPLOADED W s The store has it.
RESULT_UPLOAD_FAILED W s The store did not take it, or the worker did not end in time (then
  the pool manager says so). With no other winner the task cannot be paid, and the stake comes
  back by a claim.
COMPLETING W s The task is final; the worker tidies up.
COMPLETE_FAILED W s It could not tidy up.
COMPLETED W s Nothing of the task is left on the machine. Paid only if the vote was with the
  consensus and was revealed.
ABORTED W c Dropped; the cause tells why.
ABORTED_ON_CONSENSUS_REACHED W b Others decided the task first.
ABORTED_ON_CONTRIBUTION_TIMEOUT W k No consensus in time.
WORKER_LOST P c The worker was not heard for a minute. Not an end: it goes on when it is back.
RECOVERING P c The worker is back and goes on where it stopped.
FAILED P c An end of another kind; the cause tells which.
CONTRIBUTE_AND_FINALIZE_ONGOING W - The result goes to the store, then vote, proof and end in
  one transaction: only where one vote decides.
CONTRIBUTE_AND_FINALIZE_FAILED W - It was not sent, or the contract refused it; the cause tells
  why.
CONTRIBUTE_AND_FINALIZE_DONE C - The vote is on the chain, proven, and paid.
""")

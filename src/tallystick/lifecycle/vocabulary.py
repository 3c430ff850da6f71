"""The two vocabularies in which the world knows replicates: names, and what may follow what.

The seed vocabulary is that of versions 3.0 and 3.1, both graphs joined; the modern one is that
of 8.1 to 9, with the edge that it lacks for an upload which nobody began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Final, Literal

Vocabulary = Literal["seed", "modern"]
Graph = Mapping[str, frozenset[str]]

CANT = "CANT_CONTRIBUTE_SINCE_"
_CANT: Final = tuple(
    CANT + why
    for why in (
        *("STAKE_TOO_LOW", "TASK_NOT_ACTIVE", "AFTER_DEADLINE", "CONTRIBUTION_ALREADY_SET"),
        *("DETERMINISM_HASH_NOT_FOUND", "CHAIN_UNREACHABLE", "TEE_EXECUTION_NOT_VERIFIED"),
    )
)
_ABORTS: Final = ("ABORTED_ON_CONSENSUS_REACHED", "ABORTED_ON_CONTRIBUTION_TIMEOUT")

_SEED: Final = """
CREATED LFAR RUNNING
RUNNING LFAR APP_DOWNLOADING CANT*
APP_DOWNLOADING LFAR APP_DOWNLOADED APP_DOWNLOAD_FAILED
APP_DOWNLOADED LFAR DATA_DOWNLOADING CANT*
APP_DOWNLOAD_FAILED LFA CAN_CONTRIBUTE CANT-
DATA_DOWNLOADING LFAR DATA_DOWNLOADED DATA_DOWNLOAD_FAILED
DATA_DOWNLOADED LFAR COMPUTING CANT*
DATA_DOWNLOAD_FAILED LFA CAN_CONTRIBUTE CANT-
COMPUTING LFAR COMPUTED COMPUTE_FAILED
COMPUTED LFAR CAN_CONTRIBUTE CANT*
COMPUTE_FAILED LFAR CAN_CONTRIBUTE CANT*
CAN_CONTRIBUTE LFAR CONTRIBUTING OUT_OF_GAS
CANT_CONTRIBUTE_SINCE_STAKE_TOO_LOW LFA
CANT_CONTRIBUTE_SINCE_TASK_NOT_ACTIVE LFA
CANT_CONTRIBUTE_SINCE_AFTER_DEADLINE LFA
CANT_CONTRIBUTE_SINCE_CONTRIBUTION_ALREADY_SET LFA
CANT_CONTRIBUTE_SINCE_DETERMINISM_HASH_NOT_FOUND FA
CANT_CONTRIBUTE_SINCE_CHAIN_UNREACHABLE FA
CANT_CONTRIBUTE_SINCE_TEE_EXECUTION_NOT_VERIFIED FA
CONTRIBUTING LFAR CONTRIBUTED CONTRIBUTE_FAILED
CONTRIBUTE_FAILED LFA
CONTRIBUTED LFAR CANT_REVEAL REVEALING REVEAL_TIMEOUT OUT_OF_GAS
CANT_REVEAL F
REVEALING LFR REVEALED REVEAL_FAILED REVEAL_TIMEOUT
REVEALED LFR RESULT_UPLOAD_REQUESTED COMPLETED
REVEAL_FAILED F
RESULT_UPLOAD_REQUESTED LFR RESULT_UPLOADING RESULT_UPLOAD_REQUEST_FAILED
RESULT_UPLOAD_REQUEST_FAILED L
RESULT_UPLOADING LFR RESULT_UPLOADED RESULT_UPLOAD_FAILED
RESULT_UPLOADED LF COMPLETED
RESULT_UPLOAD_FAILED L
COMPLETED -
REVEAL_TIMEOUT F
WORKER_LOST LFAR RESULT_UPLOAD_REQUEST_FAILED RESULT_UPLOAD_FAILED COMPLETED REVEAL_TIMEOUT
ABORTED_ON_CONSENSUS_REACHED F
ABORTED_ON_CONTRIBUTION_TIMEOUT F
FAILED -
OUT_OF_GAS LFA
RECOVERING *
"""

_MODERN: Final = """
CREATED LFAR STARTING
STARTING LFAR STARTED START_FAILED
START_FAILED LFA
STARTED LFAR APP_DOWNLOADING
APP_DOWNLOADING LFAR APP_DOWNLOADED APP_DOWNLOAD_FAILED
APP_DOWNLOADED LFAR DATA_DOWNLOADING
APP_DOWNLOAD_FAILED LFAR CONTRIBUTING
DATA_DOWNLOADING LFAR DATA_DOWNLOADED DATA_DOWNLOAD_FAILED
DATA_DOWNLOADED LFAR COMPUTING
DATA_DOWNLOAD_FAILED LFAR CONTRIBUTING
COMPUTING LFAR COMPUTED COMPUTE_FAILED
COMPUTED LFAR CONTRIBUTING CONTRIBUTE_AND_FINALIZE_ONGOING
COMPUTE_FAILED LFA
CONTRIBUTING LFAR CONTRIBUTED CONTRIBUTE_FAILED
CONTRIBUTE_FAILED LFA
CONTRIBUTED LFAR REVEALING
REVEALING LFAR REVEALED REVEAL_FAILED
REVEAL_FAILED LFA
REVEALED LAR RESULT_UPLOAD_REQUESTED COMPLETING
RESULT_UPLOAD_REQUESTED LAR RESULT_UPLOADING RESULT_UPLOAD_FAILED
RESULT_UPLOADING LAR RESULT_UPLOADED RESULT_UPLOAD_FAILED
RESULT_UPLOADED LAR COMPLETING
RESULT_UPLOAD_FAILED LAR COMPLETING
CONTRIBUTE_AND_FINALIZE_ONGOING LFAR CONTRIBUTE_AND_FINALIZE_DONE CONTRIBUTE_AND_FINALIZE_FAILED
CONTRIBUTE_AND_FINALIZE_FAILED LFAR
CONTRIBUTE_AND_FINALIZE_DONE LAR COMPLETING
COMPLETING LAR COMPLETED COMPLETE_FAILED
COMPLETE_FAILED LA
COMPLETED -
FAILED -
ABORTED LF COMPLETED
RECOVERING * CREATED STARTING
WORKER_LOST * WORKER_LOST
"""
"""A line: a name; L, F, A, R for WORKER_LOST, FAILED, what is aborted, RECOVERING; the rest.
After a star: everything but what is named."""


def _read(table: str, aborted: Iterable[str]) -> Graph:
    lines = [line.split() for line in table.strip().splitlines()]
    names = frozenset(name for name, *_ in lines)
    short = {
        "L": ("WORKER_LOST",),
        "F": ("FAILED",),
        "A": tuple(aborted),
        "R": ("RECOVERING",),
        "-": (),
        "CANT*": _CANT,
        "CANT-": _CANT[:-1],  # no enclave has run when a download failed
    }

    def after(ends: str, more: list[str]) -> frozenset[str]:
        if ends == "*":
            return names - set(more)
        words = [*ends, *more]
        return frozenset(name for word in words for name in short.get(word, (word,)))

    return {name: after(ends, more) for name, ends, *more in lines}


GRAPHS: Final[Mapping[Vocabulary, Graph]] = {
    "seed": _read(_SEED, _ABORTS),
    "modern": _read(_MODERN, ("ABORTED",)),
}
LADDERS: Final[Mapping[Vocabulary, tuple[str, ...]]] = {
    "seed": (
        *("CREATED", "RUNNING", "APP_DOWNLOADING", "APP_DOWNLOADED", "DATA_DOWNLOADING"),
        *("DATA_DOWNLOADED", "COMPUTING", "COMPUTED", "CAN_CONTRIBUTE", "CONTRIBUTING"),
        *("CONTRIBUTED", "REVEALING", "REVEALED", "RESULT_UPLOAD_REQUESTED"),
        *("RESULT_UPLOADING", "RESULT_UPLOADED", "COMPLETED"),
    ),
    "modern": (
        *("CREATED", "STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED"),
        *("DATA_DOWNLOADING", "DATA_DOWNLOADED", "COMPUTING", "COMPUTED", "CONTRIBUTING"),
        *("CONTRIBUTED", "REVEALING", "REVEALED", "RESULT_UPLOAD_REQUESTED"),
        *("RESULT_UPLOADING", "RESULT_UPLOADED", "COMPLETING", "COMPLETED"),
    ),
}
"""The names of a replicate that goes well, in order."""
ONGOING, DONE, UNDONE = (
    "CONTRIBUTE_AND_FINALIZE_ONGOING",
    "CONTRIBUTE_AND_FINALIZE_DONE",
    "CONTRIBUTE_AND_FINALIZE_FAILED",
)
SHORTCUT: Final = (
    *LADDERS["modern"][: LADDERS["modern"].index("COMPUTED") + 1],
    *(ONGOING, DONE, "COMPLETING", "COMPLETED"),
)
"""The same for one whose vote finalizes the task; the seed vocabulary has no names for it."""


@cache
def way(vocabulary: Vocabulary, before: str, after: str) -> tuple[str, ...] | None:
    """The names that lie between two others: none where the graph has the edge.

    What was achieved implies what comes before it; failing that, the worker was away and has
    come back. None where no graph leads there.
    """
    at_once = not {before, after}.isdisjoint((ONGOING, DONE, UNDONE))
    steps: Collection[str] = SHORTCUT if at_once else LADDERS[vocabulary]
    for between in (steps, {*steps, "RECOVERING"}, {*steps, "RECOVERING", "WORKER_LOST"}):
        if (found := _shortest(GRAPHS[vocabulary], between, before, after)) is not None:
            return found
    return None


def _shortest(
    graph: Graph, between: Collection[str], before: str, after: str
) -> tuple[str, ...] | None:
    ahead = deque[tuple[str, tuple[str, ...]]]([(before, ())])
    seen = {before}
    while ahead:
        name, path = ahead.popleft()
        if after in graph[name]:
            return path
        for following in sorted(graph[name] & set(between) - seen):
            seen.add(following)
            ahead.append((following, (*path, following)))
    return None

"""Golden copies of the machine: a row that comes, goes or changes must be meant."""

from tallystick.lifecycle.replicate import (
    BEFORE_VOTE,
    MAY_ABORT,
    OVER,
    STARTS_FROM,
    TRANSITIONS,
    VOTED_ON,
)

EDGES = """
AppFetched: started -> app fetched
Checked: computed -> checked
Completed: revealed -> completed
Completed: upload requested -> completed
Completed: uploaded -> completed
Computed: data fetched -> computed
Contributed: aborted -> contributed
Contributed: app fetched -> contributed
Contributed: assigned -> contributed
Contributed: checked -> contributed
Contributed: computed -> contributed
Contributed: data fetched -> contributed
Contributed: failed -> contributed
Contributed: published -> contributed
Contributed: started -> contributed
DataFetched: app fetched -> data fetched
Published: checked -> published
Revealed: aborted -> revealed
Revealed: contributed -> revealed
Revealed: failed -> revealed
Started: assigned -> started
UploadRequested: revealed -> upload requested
Uploaded: upload requested -> uploaded
"""

STARTS = """
start: assigned
fetch app: started
fetch data: app fetched
compute: data fetched
check: computed
publish: checked
contribute and finalize: computed, checked, published
contribute: computed, checked, published
reveal: contributed
upload: upload requested
complete: revealed, uploaded
"""


def test_what_may_follow_what() -> None:
    edges = sorted(
        f"{fact.__name__}: {before} -> {after}"
        for fact, row in TRANSITIONS.items()
        for before, after in row.items()
    )
    assert edges == EDGES.split("\n")[1:-1]


def test_from_where_a_step_begins() -> None:
    starts = [f"{step}: {', '.join(froms)}" for step, froms in STARTS_FROM.items()]
    assert starts == STARTS.split("\n")[1:-1]


def test_how_a_replicate_may_end() -> None:
    assert ", ".join(OVER) == "completed, rejected, aborted, failed"
    early = "assigned, started, app fetched, data fetched, computed, checked, published"
    assert ", ".join(BEFORE_VOTE) == early
    assert set(MAY_ABORT) == {
        *BEFORE_VOTE,
        *["contributed", "revealed", "upload requested", "uploaded"],
    }
    assert ", ".join(VOTED_ON) == "fetch app, fetch data"

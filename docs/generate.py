"""Prints ``docs/reference/``: what the code knows better than a writer.

``python docs/generate.py`` writes the pages; a test compares them with what this would write.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import getdoc, getsource
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

from typer.main import get_command

from tallystick.bench.page import figures_page
from tallystick.bench.pictures import draw
from tallystick.cli.program import whole_tree
from tallystick.cli.services import FLAGS
from tallystick.execution.network import NetworkPolicy
from tallystick.lifecycle import facts
from tallystick.lifecycle.meanings import MEANINGS
from tallystick.lifecycle.replicate import (
    MAY_ABORT,
    STARTS_FROM,
    TRANSITIONS,
    Status,
)
from tallystick.lifecycle.vocabulary import GRAPHS
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.front import bare
from tallystick.scheduler.reference import document
from tallystick.scheduler.routing import REQUESTER, WORKER
from tallystick.scheduler.terms import OrderTerms
from tallystick.worker import legacy
from tallystick.worker.config import RegistryLogin, WorkerConfig
from tallystick.worker.environment import PROXIES, names_of
from tallystick.worker.policy import Policies
from tallystick.worker.settings import option_name

UNITS = {
    "Price": "wei; or `22gwei`",
    "Size": "bytes; or `2GiB`",
    "Seconds": "seconds; or `PT5M`",
    "Nrlc": "nRLC",
}
"""By a part of a field's type."""

REFERENCE = Path(__file__).resolve().parent / "reference"
PICTURES = REFERENCE.parent / "pictures"
FIGURES = REFERENCE.parent / "figures.json"
HEAD = "<!-- Written by docs/generate.py; do not edit. -->\n\n"


def pages() -> dict[str, str]:
    """Every page by its file name."""
    writers: Mapping[str, Callable[[], Iterator[str]]] = {
        "facts.md": facts_page,
        "replicate.md": replicate_page,
        "statuses.md": statuses_page,
        "commands.md": commands_page,
        "settings.md": settings_page,
        "pool-settings.md": pool_settings_page,
        "scheduler-api.md": scheduler_api_page,
        "figures.md": lambda: figures_page(kept_figures(), "../pictures"),
    }
    told = {name: HEAD + "\n".join(write()) + "\n" for name, write in writers.items()}
    return told | {"scheduler-api.json": json.dumps(document(bare()), indent=1) + "\n"}


def kept_figures() -> dict[str, Any]:
    """What `tally bench --keep docs/figures.json` wrote, on whatever machine."""
    found: dict[str, Any] = json.loads(FIGURES.read_text())
    return found


def scheduler_api_page() -> Iterator[str]:
    """Every route of the scheduler, by what it is about."""
    found = document(bare())
    yield "# The scheduler over HTTP\n"
    yield f"{found['info']['description']}\n"
    yield "The same with every field: [scheduler-api.json](scheduler-api.json), an OpenAPI"
    yield "document. A running scheduler serves it at `/openapi.json`, and a page at `/docs`."
    tag = ""
    for path, verbs in found["paths"].items():
        for verb, operation in verbs.items():
            if operation["tags"][0] != tag:
                (tag,) = operation["tags"]
                yield f"\n## {tag.capitalize()}\n"
                yield "| Route | Does | Who may ask |\n|---|---|---|"
            who = next((name for each in operation.get("security", ()) for name in each), "")
            asker = {WORKER: "a worker that logged in", REQUESTER: "the deal's requester"}
            what = _cell(operation["description"])
            yield f"| `{verb.upper()} {path}` | {what} | {asker.get(who, 'everybody')} |"


def facts_page() -> Iterator[str]:
    """Every fact, by the one party that may assert it."""
    yield "# Facts\n"
    yield "Everything that can happen to a task. Each fact has one authority.\n"
    for authority, union in (
        ("the chain", facts.ChainFact),
        ("the scheduler", facts.PoolFact),
        ("the worker, about itself", facts.WorkerFact),
    ):
        yield f"## Asserted by {authority}\n"
        yield "| Fact | Means | Carries |"
        yield "|---|---|---|"
        for kind in get_args(union):
            carried = ", ".join(f"`{field.name}`" for field in fields(kind)) or "–"
            yield f"| `{kind.__name__}` | {_sentence(kind)} | {carried} |"
        yield ""
    yield "## Steps of a worker\n"
    yield ", ".join(f"`{step.name}`" for step in facts.Step) + ", in this order."


def replicate_page() -> Iterator[str]:
    """The machine of a replicate as a picture and as tables."""
    yield "# The life of a replicate\n"
    yield "Printed from the tables in `lifecycle/replicate.py`, which worker, scheduler and"
    yield "simulator read too.\n"
    yield "```mermaid\nstateDiagram-v2"
    yield f"    [*] --> {_state(Status.ASSIGNED)}"
    for fact, moves in TRANSITIONS.items():
        for before, after in moves.items():
            yield f"    {_state(before)} --> {_state(after)}: {fact.__name__}"
    yield "```\n"
    yield "| Step | May begin when the replicate is |"
    yield "|---|---|"
    for step, starts in STARTS_FROM.items():
        yield f"| `{step.name}` | {_list(starts)} |"
    yield "\nBeside the picture:\n"
    yield f"* `Aborted` ends a replicate that is {_list(MAY_ABORT)}."
    yield "* `Failed` ends it while a step is under way. A fetch that fails for every honest"
    yield "  worker alike is a result instead, and is voted on."
    yield "* `RevealOverdue` ends one that voted and never revealed."
    yield "* `Lost` and `Recovering` say whether the worker is there; they move nothing."
    yield "* A vote on chain is believed over a worker that has not told it, or gave up."


def statuses_page() -> Iterator[str]:
    """Every name in both vocabularies, and what it means for the operator's money."""
    yield "# Statuses of a replicate\n"
    yield "What the worker, the scheduler and the chain tell about a replicate, in the words"
    yield "of versions 3.0 and 3.1 (seed) and of 8.1 to 9 (modern): views of the same facts."
    yield "A name that is only implied, since a peer did not tell it, stands in the history"
    yield "with the fact that implies it. A check that fails has a name of its own in the seed"
    yield "vocabulary; in the modern one it is the failure of its stage, with a cause.\n"
    yield "Two things go beyond the graphs of old. An empty wallet before a reveal is a state"
    yield "beside the walk (OUT_OF_GAS), left when the wallet is refilled: no worker ends for"
    yield "it. And the chain is believed: a vote that is mined after its worker gave up brings"
    yield "the replicate back.\n"
    for vocabulary, graph in GRAPHS.items():
        yield f"## {vocabulary.capitalize()}: {len(graph)} names\n"
        yield "| Status | Set by | Means | For your money | May be followed by |"
        yield "|---|---|---|---|---|"
        for name, after in graph.items():
            told = MEANINGS[name]
            following = "any other" if len(after) > 25 else ", ".join(sorted(after)) or "–"
            yield f"| `{name}` | {told.says} | {told.meaning} | {told.money} | {following} |"
        yield ""


def commands_page() -> Iterator[str]:
    """Every command with its arguments and options."""
    yield "# Commands\n"
    yield "What `tally COMMAND --help` says. `./tally` in a checkout is the same program."
    for words, command in _leaves("tally", get_command(whole_tree())):
        yield f"\n## {words}\n"
        yield _paragraphs(command.help or "")
        if command.params:
            yield "\n| Argument or option | Means |\n|---|---|"
            yield from map(_row, command.params)


def settings_page() -> Iterator[str]:
    """Every setting of a worker, by all its names."""
    yield "# Settings of a worker\n"
    yield "Default, settings file, environment, command line: the later counts for more."
    yield "[How to set a worker up](../howto/settings.md) tells the rest.\n"
    yield "| In a settings file | Means | Unit | Default | Environment | Option |"
    yield "|---|---|---|---|---|---|"
    notes = dict(_field_notes(WorkerConfig))
    for field in fields(WorkerConfig):
        if field.name != "file":
            yield _setting(field, notes[field.name])
    yield "\nRegistries are counted from 0, which is docker.io when no address is given; their"
    yield "passwords may be in files too: `IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0_FILE`."
    yield ", ".join(f"`{name}`" for name in PROXIES) + " become"
    yield "`HTTP_PROXY` and `HTTPS_PROXY`, with `NO_PROXY` for this machine, unless they are"
    yield "set."
    yield from _tables()
    yield "\n## Where the original had another default\n"
    yield "| Setting | There | Here |\n|---|---|---|"
    for name, (theirs, ours) in legacy.DEFAULTS.items():
        yield f"| `{name}` | {theirs} | {ours or 'the same'} |"
    yield "\n## Names that mean nothing any more\n"
    yield "They are accepted, and the worker says once why they change nothing.\n"
    yield "| Name | Why |\n|---|---|"
    for name, why in legacy.DROPPED.items():
        yield f"| `{name}` | {why} |"


def pool_settings_page() -> Iterator[str]:
    """Every setting of a pool's scheduler."""
    yield "# Settings of a pool\n"
    yield "The TOML file of `tally pool start --config FILE`."
    yield "[How to run a pool](../howto/run-a-pool.md) tells the rest.\n"
    yield from _plain_table(SchedulerConfig)
    yield "\n## [[orders]]\n"
    yield f"{_sentence(OrderTerms)}\n"
    yield from _plain_table(OrderTerms)


def _plain_table(kind: type) -> Iterator[str]:
    yield "| Key | Means | Default |\n|---|---|---|"
    notes = dict(_field_notes(kind))
    for field in fields(kind):
        meaning = _cell(notes[field.name][1])
        yield f"| `{field.name}` | {meaning} | {_default(field)} |"


def _setting(field: Field[Any], note: tuple[str, str]) -> str:
    kind, meaning = note
    names = ", ".join(f"`{name}`" for name in names_of(field.name)) or "–"
    option = f"--{option_name(field.name)}"
    cells = (
        f"`{field.name}`",
        _cell(meaning),
        next((unit for mark, unit in UNITS.items() if mark in kind), "–"),
        _default(field),
        names,
        f"`{option}`" if option in FLAGS else "–",
    )
    return f"| {' | '.join(cells)} |"


def _default(field: Field[Any]) -> str:
    if field.name == "slots":
        return "processors − 1"
    if field.default is MISSING and field.default_factory is MISSING:
        return "**must be set**"
    value = field.default if field.default is not MISSING else None
    if value in (None, (), "") or is_dataclass(value):
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _tables() -> Iterator[str]:
    """The tables that a settings file may have."""
    for title, kind in (
        ("[network]", NetworkPolicy),
        ("[[registries]]", RegistryLogin),
        ("[policies]", Policies),
    ):
        yield f"\n## {title}\n"
        yield f"{_sentence(kind)}\n"
        yield "| Key | Means | Default |\n|---|---|---|"
        notes = dict(_field_notes(kind))
        for field in fields(kind):
            yield f"| `{field.name}` | {_cell(notes[field.name][1])} | {_default(field)} |"


def _field_notes(kind: type) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each field with its annotation and the text below it."""
    (body,) = ast.parse(dedent(getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    for this, following in zip(body.body, [*body.body[1:], ast.Pass()], strict=True):
        if isinstance(this, ast.AnnAssign):
            text = following.value if isinstance(following, ast.Expr) else None
            said = text.value if isinstance(text, ast.Constant) else ""
            yield ast.unparse(this.target), (ast.unparse(this.annotation), str(said))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or "–"


def _leaves(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield words, command
        return
    for name, child in children.items():
        yield from _leaves(f"{words} {name}", child)


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    meaning = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    default = parameter.default
    shown = "" if default in (None, False, (), []) else f" Default: `{default}`."
    return f"| {names} | {meaning}{shown} |"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _sentence(kind: type) -> str:
    return " ".join((getdoc(kind) or "").split())


def _state(status: Status) -> str:
    return status.name.lower()


def _list(statuses: tuple[Status, ...]) -> str:
    return ", ".join(str(status) for status in statuses)


def main() -> int:
    """Write the pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)
    for old in PICTURES.glob("figures-*.svg"):
        old.unlink()
    draw(kept_figures(), PICTURES)
    return 0


if __name__ == "__main__":
    sys.exit(main())

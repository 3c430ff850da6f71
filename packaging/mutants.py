"""Mutation tests of the pure core: a small change of `poco` or `lifecycle` makes a test fail.

    nice .venv/bin/python packaging/mutants.py                   all functions of both packages
    nice .venv/bin/python packaging/mutants.py lifecycle/agenda   modules whose path begins so
    nice .venv/bin/python packaging/mutants.py --list             only names the mutants

One change at a time is made to the syntax tree of one function. The tests are collected once;
a forked process gives the function the changed code and runs them until one fails. Files stay
as they are, so others may work in the same checkout. What lies outside of functions (tables,
constants, defaults of fields) cannot be changed in a process that has read it: the golden
copies in the tests compare those whole.

Mutants that no test can tell from the original are listed, with the reason, in
docs/explanation/mutants.md. The score leaves those out; the raw score does not.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib
import os
import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "tallystick"
EXPLAINED = ROOT / "docs" / "explanation" / "mutants.md"
PACKAGES = ("poco", "lifecycle")
PATIENCE = 60
"""Seconds of computing after which a mutant that has not ended counts as noticed: it loops."""

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
EXHAUSTIVE = "not is_reached and not from_every_state and not both_histories"
"""Tests of `lifecycle/views` that look at every state there is take a minute: left out."""
GENERIC = ("dict", "list", "set", "tuple", "deque", "Counter", "Mapping", "cast")
TYPES_ONLY = ("TypeAlias", "Literal", "ClassVar")


@dataclass(frozen=True)
class Place:
    """Where a node hangs: a field of its parent, or one element of that field."""

    parent: ast.AST
    field: str
    index: int | None = None

    def put(self, node: ast.AST | None) -> None:
        """Hang another node there; None takes the element out."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        elif node is None:
            del getattr(self.parent, self.field)[self.index]
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    line: int
    scope: str
    """The function, by its qualified name."""
    key: str
    """Names it across versions of the module, as long as its statement stays as it is."""
    apply: Callable[[], None]


# --- what may be changed --------------------------------------------------------------------


def changes(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901, PLR0912 - a table
    """Other nodes that could stand in the place of this one."""
    match node:
        case ast.Compare(ops=ops):
            for n, op in enumerate(ops):
                yield _with(node, ops=[*ops[:n], SWAPPED[type(op)](), *ops[n + 1 :]])
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op):
            yield _with(node, op=SWAPPED[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as text):
            yield from (ast.Constant(other) for other in _other_texts(text))
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES:
            yield ast.Name(NAMES[name], ast.Load())
        case ast.Call(keywords=[_, *_] as keywords):
            for n in range(len(keywords)):
                yield _with(node, keywords=keywords[:n] + keywords[n + 1 :])
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.UnaryOp):
                yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr()):
            yield ast.Return(None)
        case ast.match_case(guard=ast.expr()):
            yield _with(node, guard=None)
        case ast.Dict(keys=keys, values=values):
            for n in range(len(keys)):
                yield ast.Dict(keys[:n] + keys[n + 1 :], values[:n] + values[n + 1 :])
        case _:
            return


def removable(field: str, nodes: Sequence[ast.AST], parent: ast.AST) -> Iterator[int]:
    """Which of a list of nodes may be taken out."""
    for n, node in enumerate(nodes):
        match parent, node:
            case ast.Tuple(ctx=ast.Load()) | ast.List() | ast.Set(), _ if field == "elts":
                yield n
            case ast.BoolOp() | ast.MatchOr(), _ if len(nodes) > 2:
                yield n
            case ast.Match(), ast.match_case() if len(nodes) > 1 and not _never(node):
                yield n
            case _, ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.Raise():
                yield n
            case _, ast.AugAssign() | ast.Delete():
                yield n
            case ast.comprehension(), _ if field == "ifs":
                yield n
            case _:
                continue


def _never(node: ast.AST) -> bool:
    """Whether only mypy looks at it."""
    text = ast.unparse(node)
    return "assert_never(" in text or "raise AssertionError(" in text


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _other_texts(text: str) -> Iterator[str]:
    """Without one line for a table, otherwise other; a sentence for people stays."""
    lines = text.split("\n")
    if len(lines) > 3:
        for n, line in enumerate(lines):
            if line.strip() and not line.startswith(" "):
                yield "\n".join(lines[:n] + lines[n + 1 :])
    elif not (" " in text.strip() and text.strip().endswith((".", ":"))):
        yield "XX" + text


# --- where ----------------------------------------------------------------------------------


def mutants_of(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """Every mutant of a module, each with a key of its own."""
    seen = Counter[str]()
    for place, node, new, scope, statement in _sites(tree, "", None):
        old = _told(node)
        becomes = "nothing" if new is None else _told(new)
        key = f"{module} {scope}: {old} → {becomes}"
        if len(old) < 40 and (within := _told(statement or node)) != old:
            key += f" in {within}"
        seen[key] += 1
        if seen[key] > 1:
            key += f" ({seen[key]})"
        line = getattr(node, "lineno", getattr(statement, "lineno", 0))
        yield Mutant(module, line, scope, key, _applied(place, node, new))


def _applied(place: Place, node: ast.AST, new: ast.AST | None) -> Callable[[], None]:
    def apply() -> None:
        if new is None and isinstance(node, ast.stmt):
            place.put(ast.Pass())
        else:
            place.put(new)

    return apply


Site = tuple[Place, ast.AST, ast.AST | None, str, ast.AST | None]


def _sites(node: ast.AST, scope: str, statement: ast.AST | None) -> Iterator[Site]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        scope = f"{scope}.{node.name}".strip(".")
    if isinstance(node, ast.stmt):
        statement = node
    for field, value in ast.iter_fields(node):
        if _skipped(node, field):
            continue
        if isinstance(value, ast.AST):
            yield from _at(Place(node, field), value, scope, statement)
        elif isinstance(value, list):
            nodes = [each for each in value if isinstance(each, ast.AST)]
            for n, each in enumerate(nodes):
                yield from _at(Place(node, field, n), each, scope, statement)
            for n in removable(field, nodes, node):
                if not _ignored(nodes[n]):
                    yield Place(node, field, n), nodes[n], None, scope, statement


def _at(place: Place, node: ast.AST, scope: str, statement: ast.AST | None) -> Iterator[Site]:
    if _ignored(node):
        return
    inner = node if isinstance(node, ast.stmt) else statement
    for new in changes(node):
        yield place, node, new, scope, inner
    yield from _sites(node, scope, statement)


def _skipped(node: ast.AST, field: str) -> bool:
    """Annotations and decorators change nothing here; a case's pattern has no operators."""
    return field in ("annotation", "returns", "decorator_list", "names") or (
        isinstance(node, ast.Raise) or (isinstance(node, ast.keyword) and field == "arg")
    )


def _ignored(node: ast.AST) -> bool:
    """Imports, docstrings, assertions for mypy, aliases of types, texts for people."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.AnnAssign() | ast.Assign() if any(
            word in ast.unparse(node).split("=")[0] + ast.unparse(node.value or node)[:8]
            for word in TYPES_ONLY
        ):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Subscript(value=ast.Name(id=name)) if name in GENERIC:
            return True
        case ast.stmt() | ast.match_case() if _never(node) and not _compound(node):
            return True
        case _:
            return False


def _compound(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Match | ast.If | ast.For)


def _told(node: ast.AST) -> str:
    """One line of source, cut where it is long."""
    text = node.pattern if isinstance(node, ast.match_case) else node
    line = " ".join(ast.unparse(text).split()).replace("`", "'")
    if isinstance(node, ast.match_case):
        line = f"case {line}" + (f" if {ast.unparse(node.guard)}" if node.guard else "")
    return line if len(line) <= 110 else f"{line[:80]} … {line[-25:]}"


# --- running --------------------------------------------------------------------------------


def function_of(module: str, scope: str) -> FunctionType | None:
    """The living function of that name; None where there is none to change."""
    found: Any = importlib.import_module("tallystick." + module[:-3].replace("/", "."))
    for name in scope.split("."):
        found = vars(found).get(name)
        if isinstance(found, property):
            found = found.fget
        if isinstance(found, classmethod | staticmethod):
            found = found.__func__
        if hasattr(found, "cache_clear"):
            found.cache_clear()
            found = found.__wrapped__
    return found if isinstance(found, FunctionType) else None


def code_of(tree: ast.Module, scope: str) -> CodeType:
    """The same function's code in another version of its module."""
    found = compile(ast.fix_missing_locations(tree), "<mutant>", "exec", dont_inherit=True)
    for name in scope.split("."):
        inner = (each for each in found.co_consts if isinstance(each, CodeType))
        found = next(code for code in inner if code.co_name == name)
    return found


class Hunt:
    """A pytest plugin that runs the collected tests once for every mutant."""

    def __init__(self, package: str, wanted: Sequence[str], seconds: float) -> None:
        self.package, self.wanted, self.seconds = package, wanted, seconds
        self.counts = Counter[str]()
        self.reasons = explained()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests once."""
        gc.freeze()
        took = self._baseline(session.items)
        for module in modules(self.package, self.wanted):
            self._hunt(module, quick_first(session.items, took, module, self.seconds))
        return True

    def _hunt(self, module: str, items: list[pytest.Item]) -> None:
        tree, here = ast.parse((SRC / module).read_text()), Counter[str]()
        for mutant in list(mutants_of(module, tree)):
            if function_of(module, mutant.scope) is None:
                fate = "outside functions"
            elif mutant.key in self.reasons:
                fate = "explained"
            else:
                fate = "alive" if self._lives(mutant, tree, items) else "killed"
            if fate == "alive":
                print(f"{mutant.line:4} {mutant.key}", flush=True)
            here[fate] += 1
        self.counts += here
        print(f"# {module}: {dict(here)}", flush=True)

    def _lives(self, mutant: Mutant, tree: ast.Module, items: list[pytest.Item]) -> bool:
        def run() -> int:
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE))
            function = function_of(mutant.module, mutant.scope)
            assert function is not None
            mutant.apply()
            function.__code__ = code_of(tree, mutant.scope)
            return 0 if all(passes(item) for item in items) else 1

        return forked(run) == 0

    def _baseline(self, items: list[pytest.Item]) -> dict[str, float]:
        """Seconds that each test takes unchanged. They must pass."""
        read, write = os.pipe()

        def run() -> int:
            took = dict[str, float]()
            for item in items:
                began = os.times().user
                if not passes(item):
                    print(f"fails without a mutant: {item.nodeid}", file=sys.stderr)
                    return 1
                took[item.nodeid] = os.times().user - began
            with os.fdopen(write, "w") as told:
                told.write(repr(took))
            return 0

        failed = forked(run)
        os.close(write)
        if failed:
            pytest.exit("The tests fail without any mutant; see to that first.", 2)
        with os.fdopen(read) as told:
            return dict(ast.literal_eval(told.read()))


def passes(item: pytest.Item) -> bool:
    """Run one test."""
    reports = runtestprotocol(item, nextitem=None, log=False)
    return not any(report.failed for report in reports)


def quick_first(
    items: list[pytest.Item], took: dict[str, float], module: str, seconds: float
) -> list[pytest.Item]:
    """The tests of the module's own file, then the others, each from the quickest on, as many
    as take so many seconds together."""
    own = "test_" + Path(module).stem
    ranked = sorted(
        items,
        key=lambda item: (took[item.nodeid] > 0.5, own not in item.nodeid, took[item.nodeid]),
    )
    chosen, left = list[pytest.Item](), seconds
    for item in ranked:
        if took[item.nodeid] <= left:
            left -= took[item.nodeid]
            chosen.append(item)
    return chosen


def forked(run: Callable[[], int]) -> int:
    """What `run` returns in a process of its own; 1 when it ends otherwise."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            code = run()
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def explained() -> set[str]:
    """The keys that the documentation gives a reason for."""
    text = EXPLAINED.read_text() if EXPLAINED.exists() else ""
    return set(re.findall(r"^ *- `(.+)`$", text, re.MULTILINE))


def modules(package: str, wanted: Sequence[str]) -> Iterator[str]:
    """Paths below src/tallystick."""
    for path in sorted((SRC / package).glob("*.py")):
        name = path.relative_to(SRC).as_posix()
        if not wanted or name.startswith(tuple(wanted)):
            yield name


def main() -> None:
    """Run what was asked for and tell the score."""
    parser = argparse.ArgumentParser(description="Mutation tests of the pure core.")
    parser.add_argument("modules", nargs="*", help="such as lifecycle/agenda; all by default")
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    parser.add_argument("--seconds", type=float, default=8, help="of tests for each mutant")
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "src")]
    counts = Counter[str]()
    for package in PACKAGES:
        if asked.list:
            for module in modules(package, asked.modules):
                tree = ast.parse((SRC / module).read_text())
                for mutant in mutants_of(module, tree):
                    print(f"{mutant.line:4} {mutant.key}")
        elif any(modules(package, asked.modules)):
            hunt = Hunt(package, asked.modules, asked.seconds)
            quiet = ["-q", "-n0", "-s", "-p", "no:cacheprovider", "--noconftest"]
            quiet += ["-W", "ignore::pytest.PytestWarning", "--hypothesis-seed=0"]
            ended = pytest.main([*quiet, "-k", EXHAUSTIVE, f"tests/{package}"], plugins=[hunt])
            if ended not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                raise SystemExit(1)
            counts += hunt.counts
    every = counts["killed"] + counts["alive"] + counts["explained"]
    if every:
        score = counts["killed"] / max(1, every - counts["explained"])
        print(f"# all: {dict(counts)}; score {score:.1%}, raw {counts['killed'] / every:.1%}")


if __name__ == "__main__":
    main()

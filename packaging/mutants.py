"""Mutation tests of the pure core: a small change of `poco` or `lifecycle` makes a test fail.

    nice .venv/bin/python packaging/mutants.py                    all functions of both packages
    nice .venv/bin/python packaging/mutants.py lifecycle/agenda   modules whose path begins so
    nice .venv/bin/python packaging/mutants.py --tables           what lies outside of functions
    nice .venv/bin/python packaging/mutants.py --again OUTPUT     only those that OUTPUT names
    nice .venv/bin/python packaging/mutants.py --list             only names the mutants

One change at a time is made to the syntax tree of one module (`mutations.py`). The tests are
collected and run once, to know what each takes and which lines it comes by. Then a forked
process gives one function the changed code and runs the tests that come by the change until
one fails. Files stay as they are, so others may work in the same checkout.

What lies outside of functions (tables, constants, defaults of fields) is done once, when a
module is read. For its mutants a forked process reads everything anew, and runs first the
golden copies (`test_golden*.py`), then all tests. The same is done for a function by which no
test comes.

Mutants that no test can tell from the original are listed, with the reason, in
docs/explanation/mutants.md. The score leaves those out; the raw score does not.
"""

from __future__ import annotations

import argparse
import ast
import functools
import gc
import importlib
import inspect
import os
import re
import resource
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings
from mutations import Mutant, mutants_of

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "tallystick"
EXPLAINED = ROOT / "docs" / "explanation" / "mutants.md"
PACKAGES = ("poco", "lifecycle")
PATIENCE = 60
"""Seconds of computing after which a mutant that has not ended counts as noticed: it loops."""
EXHAUSTIVE = "not is_reached and not from_every_state and not both_histories"
"""Tests of `lifecycle/views` that look at every state there is take a minute: left out."""
PATHS = {
    path.as_posix(): path.relative_to(SRC).as_posix()
    for package in PACKAGES
    for path in (SRC / package).glob("*.py")
}
QUIET = (
    *("-q", "-n0", "-s", "-x", "-p", "no:cacheprovider", "--noconftest"),
    *("-W", "ignore::pytest.PytestWarning", "--hypothesis-seed=0"),
)
ALIVE, KILLED, NONSENSE = 0, 1, 3
"""How a process ends that tries a mutant; nonsense is what Python cannot compile."""


def tree_of(module: str) -> ast.Module:
    """The syntax tree of the module as it is."""
    return ast.parse((SRC / module).read_text())


def name_of(module: str) -> str:
    """The module's name for Python."""
    return "tallystick." + module[:-3].replace("/", ".")


@dataclass(frozen=True)
class Choice:
    """Which mutants are wanted."""

    modules: tuple[str, ...] = ()
    """Beginnings of paths below src/tallystick; all when empty."""
    again: frozenset[str] | None = None
    """Only these keys."""
    tests: str = EXHAUSTIVE
    """Which are run, as pytest's `-k` has it."""
    seconds: float = 8
    """Of tests for each mutant."""

    def paths(self, package: str) -> Iterator[str]:
        """The modules of a package."""
        for path in sorted((SRC / package).glob("*.py")):
            name = path.relative_to(SRC).as_posix()
            if not self.modules or name.startswith(self.modules):
                yield name

    def of(self, module: str, tree: ast.Module) -> Iterator[Mutant]:
        """The mutants of one module. To apply one changes `tree`."""
        for mutant in list(mutants_of(module, tree)):
            if self.again is None or mutant.key in self.again:
                yield mutant


class Score:
    """What became of the mutants."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.reasons = explained()

    def judge(self, module: str, mutants: Iterator[Mutant], judged: Judge) -> None:
        """Try each, print those that nobody notices, and how many there were."""
        here = Counter[str]()
        for mutant in mutants:
            fate = "explained" if mutant.key in self.reasons else judged(mutant)
            if fate == "alive":
                print(f"{mutant.line:4} {mutant.key}", flush=True)
            here[fate] += 1
        self.counts += here
        print(f"# {module}: {dict(here)}{told(here)}", flush=True)


Judge = Callable[[Mutant], str]


def told(counts: Counter[str]) -> str:
    """The score, and the raw one."""
    every = counts["killed"] + counts["alive"] + counts["explained"]
    if not every:
        return ""
    score = counts["killed"] / max(1, every - counts["explained"])
    return f"; score {score:.1%}, raw {counts['killed'] / every:.1%}"


# --- functions ------------------------------------------------------------------------------


def function_of(module: str, scope: str) -> FunctionType | None:
    """The living function of that name, or the one around it; None where there is none."""
    found: Any = importlib.import_module(name_of(module))
    for name in scope.split("."):
        found = vars(found).get(name)
        if isinstance(found, property):
            found = found.fget
        if isinstance(found, classmethod | staticmethod):
            found = found.__func__
        if hasattr(found, "cache_clear"):
            found.cache_clear()
        found = inspect.unwrap(found) if callable(found) else found
        if isinstance(found, FunctionType):
            return found
    return None


def code_of(tree: ast.Module, function: FunctionType) -> CodeType:
    """The same function's code in another version of its module."""
    found = compile(ast.fix_missing_locations(tree), "<mutant>", "exec", dont_inherit=True)
    for name in function.__qualname__.split("."):
        inner = (each for each in found.co_consts if isinstance(each, CodeType))
        found = next(code for code in inner if code.co_name == name)
    return found


@dataclass(frozen=True)
class Tests:
    """The collected tests: what each takes unchanged, and where it comes by."""

    items: list[pytest.Item]
    took: dict[str, float]
    """Seconds, by name, while it is watched."""
    lines: dict[str, dict[str, set[int]]]
    """By name and module."""

    def noticing(self, mutant: Mutant, seconds: float) -> list[pytest.Item]:
        """Those that come by the mutant, the module's own and the quickest first, as many as
        take so many seconds together."""
        own = "test_" + Path(mutant.module).stem
        by = [item for item in self.items if self._comes_by(item, mutant)]
        chosen, left = list[pytest.Item](), seconds
        for item in sorted(by, key=lambda item: self._rank(item, own)):
            if self.took[item.nodeid] <= left:
                left -= self.took[item.nodeid]
                chosen.append(item)
        return chosen

    def _comes_by(self, item: pytest.Item, mutant: Mutant) -> bool:
        lines = self.lines[item.nodeid].get(mutant.module, set())
        return not lines.isdisjoint(mutant.lines)

    def _rank(self, item: pytest.Item, own: str) -> tuple[bool, bool, float]:
        took = self.took[item.nodeid]
        return (took > 0.5, own not in item.nodeid, took)


class Hunt:
    """A pytest plugin that runs the collected tests once for every mutant."""

    def __init__(self, package: str, choice: Choice, score: Score) -> None:
        self.package, self.choice, self.score = package, choice, score

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests once."""
        for path in self.choice.paths(self.package):
            importlib.import_module(name_of(path))  # not only when the first test asks for it
        gc.freeze()
        tests = once_unchanged(session.items)
        for module in self.choice.paths(self.package):
            self._hunt(module, tests)
        return True

    def _hunt(self, module: str, tests: Tests) -> None:
        tree = tree_of(module)

        def judged(mutant: Mutant) -> str:
            function = function_of(module, mutant.scope) if mutant.is_inside else None
            if function is None:
                return "outside functions"
            items = tests.noticing(mutant, self.choice.seconds)
            if not items:
                return tried_anew(self.package, self.choice.tests, tree, mutant)
            return tried(mutant, tree, function, items)

        self.score.judge(module, self.choice.of(module, tree), judged)


def tried(
    mutant: Mutant, tree: ast.Module, function: FunctionType, items: list[pytest.Item]
) -> str:
    """What becomes of a mutant of this function."""

    def run() -> int:
        limited()
        mutant.apply()
        try:
            function.__code__ = code_of(tree, function)
        except SyntaxError:
            return NONSENSE
        return ALIVE if all(passes(item) for item in items) else KILLED

    return fate(forked(run))


def once_unchanged(items: list[pytest.Item]) -> Tests:
    """What each test takes, and by which lines of which modules it comes. They must pass."""
    took, lines = asked_of_a_fork(lambda: [_watched(item) for item in items])
    found = [dict(zip((i.nodeid for i in items), told, strict=True)) for told in (took, lines)]
    return Tests(items, *found)


def _watched(item: pytest.Item) -> tuple[float, dict[str, set[int]]]:
    lines = defaultdict[str, set[int]](set)

    def noted(frame: FrameType, event: str, _: object) -> Any:
        module = PATHS.get(frame.f_code.co_filename)
        if module is None:
            return None
        if event in ("call", "line"):
            lines[module].add(frame.f_lineno)
        return noted

    forget()
    began = os.times().user
    sys.settrace(noted)
    passed = passes(item)
    sys.settrace(None)
    if not passed:
        raise AssertionError(f"fails without a mutant: {item.nodeid}")
    return os.times().user - began, dict(lines)


def forget() -> None:
    """What functions have cached: who asks again shall come by their lines."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("tallystick.", "test_")):
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def asked_of_a_fork(run: Callable[[], list[tuple[Any, ...]]]) -> tuple[Any, ...]:
    """What a process of its own has found, in columns."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        code = 1
        try:
            found = repr([*zip(*run(), strict=True)])
            with os.fdopen(write, "w") as pipe:
                pipe.write(found)
            code = 0
        except AssertionError as problem:
            print(problem, file=sys.stderr)
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    if os.waitpid(pid, 0)[1]:
        pytest.exit("The tests fail without any mutant; see to that first.", 2)
    return tuple(ast.literal_eval(text))


def passes(item: pytest.Item) -> bool:
    """Run one test."""
    reports = runtestprotocol(item, nextitem=None, log=False)
    return not any(report.failed for report in reports)


# --- what lies outside of functions ---------------------------------------------------------


class Changed(MetaPathFinder):
    """Reads a module as somebody else would have written it."""

    def __init__(self, module: str, code: CodeType) -> None:
        self.module, self.code = module, code

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> ModuleSpec | None:
        """Only of that module."""
        if fullname != name_of(self.module):
            return None
        code = self.code

        class Loader(SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                return code

        file = str(SRC / self.module)
        return spec_from_file_location(fullname, file, loader=Loader(fullname, file))


def hunt_tables(package: str, choice: Choice, score: Score) -> None:
    """Mutants of what is done while a module is read."""
    for module in choice.paths(package):
        tree = tree_of(module)
        outside = (m for m in choice.of(module, tree) if not m.is_inside)
        score.judge(module, outside, functools.partial(tried_anew, package, choice.tests, tree))


def tried_anew(package: str, which: str, tree: ast.Module, mutant: Mutant) -> str:
    """What becomes of a mutant whose module is read anew."""
    golden = [str(path) for path in sorted((ROOT / "tests" / package).glob("test_golden*.py"))]

    def run() -> int:
        limited()
        mutant.apply()
        try:
            code = compile(ast.fix_missing_locations(tree), str(SRC / mutant.module), "exec")
        except SyntaxError:
            return NONSENSE
        sys.meta_path.insert(0, Changed(mutant.module, code))
        unread()
        for tests in ([*golden], ["-k", which, f"tests/{package}"]):
            if tests and pytest.main([*QUIET, *tests]) is not pytest.ExitCode.OK:
                return KILLED
        return ALIVE

    return fate(forked(run))


def unread() -> None:
    """Whatever is of this checkout is read anew."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if name != "__main__" and file.startswith((f"{SRC}/", f"{ROOT}/tests/")):
            del sys.modules[name]


# --- both -----------------------------------------------------------------------------------


def limited() -> None:
    """A mutant that loops ends."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE))


def once() -> None:
    """Hypothesis neither minds a slow machine nor looks for the shortest example."""
    settings.register_profile(
        "mutants",
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")


def forked(run: Callable[[], int]) -> int:
    """What `run` returns in a process of its own; `KILLED` when it ends otherwise."""
    pid = os.fork()
    if pid == 0:
        code = KILLED
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            code = run()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fate(code: int) -> str:
    """The same in words."""
    return {ALIVE: "alive", NONSENSE: "no program"}.get(code, "killed")


def explained() -> set[str]:
    """The keys that the documentation gives a reason for."""
    text = EXPLAINED.read_text() if EXPLAINED.exists() else ""
    return set(re.findall(r"^ *- `(.+)`$", text, re.MULTILINE))


def named_in(output: str) -> frozenset[str]:
    """The keys of the mutants that an earlier run has printed."""
    return frozenset(re.findall(r"^ *\d+ (.+)$", Path(output).read_text(), re.MULTILINE))


def main() -> None:
    """Run what was asked for and tell the score."""
    parser = argparse.ArgumentParser(description="Mutation tests of the pure core.")
    parser.add_argument("modules", nargs="*", help="such as lifecycle/agenda; all by default")
    parser.add_argument("--tables", action="store_true", help="what lies outside of functions")
    parser.add_argument("--again", metavar="OUTPUT", help="only those that OUTPUT names")
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    parser.add_argument("--tests", default=EXHAUSTIVE, help="which, as pytest's -k has it")
    parser.add_argument("--seconds", type=float, default=8, help="of tests for each mutant")
    asked = parser.parse_args()
    again = named_in(asked.again) if asked.again else None
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "src")]
    once()
    choice = Choice(tuple(asked.modules), again, asked.tests, asked.seconds)
    score = Score()
    for package in PACKAGES:
        if not any(choice.paths(package)):
            continue
        if asked.list:
            for module in choice.paths(package):
                for mutant in choice.of(module, tree_of(module)):
                    if mutant.is_inside is not asked.tables:
                        print(f"{mutant.line:4} {mutant.key}")
        elif asked.tables:
            hunt_tables(package, choice, score)
        else:
            hunt = Hunt(package, choice, score)
            ended = pytest.main([*QUIET, "-k", asked.tests, f"tests/{package}"], plugins=[hunt])
            if ended not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                raise SystemExit(1)
    if score.counts:
        print(f"# all: {dict(score.counts)}{told(score.counts)}")


if __name__ == "__main__":
    main()

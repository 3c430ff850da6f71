"""Talking to somebody who joins a pool: marked lines, and questions that may be answered
beforehand."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.terminal import clean


@dataclass(frozen=True, slots=True)
class Talk:
    """With `agreed` every question is answered yes, and nobody has to be there."""

    agreed: bool

    def info(self, text: str) -> None:
        """What happens, or what is left to do."""
        print(f"[INFO] {clean(text)}", flush=True)

    def ok(self, text: str) -> None:
        """What is as it should be."""
        print(f"[OK] {clean(text)}", flush=True)

    def error(self, text: str) -> None:
        """What keeps it from going on."""
        print(f"[ERROR] {clean(text)}", file=sys.stderr, flush=True)

    def agrees(self, question: str) -> bool:
        """Whether the answer is yes. Raises Mistake when there is nobody to ask."""
        if self.agreed:
            self.info(f"{question} Yes, by --yes.")
            return True
        self._require_somebody()
        return typer.confirm(clean(question))

    def ask(self, question: str, default: str) -> str:
        """A line. Raises Mistake when there is nobody to ask."""
        if self.agreed:
            return default
        self._require_somebody()
        return str(typer.prompt(clean(question), default=default))

    @staticmethod
    def _require_somebody() -> None:
        if not sys.stdin.isatty():
            raise Mistake(
                "There is no terminal to ask on: add --yes, with --name, --wallet and"
                " --password-file."
            )

"""What a service keeps, whether in a file (`Journal`) or on a server (`PostgresJournal`)."""

from __future__ import annotations

from typing import Protocol, TypeVar

from tallystick.engine.engine import Facts

F = TypeVar("F")


class Notes(Protocol):
    """Small things beside the facts: a cursor, a registration."""

    def note(self, key: str, value: str) -> None:
        """Remember it, in place of what was there."""
        ...

    def noted(self, key: str) -> str | None:
        """What is remembered."""
        ...

    def forget(self, key: str) -> None:
        """Remember it no longer."""
        ...

    def notes(self, prefix: str) -> dict[str, str]:
        """All whose key begins so."""
        ...


class Keeping(Facts[F], Notes, Protocol[F]):
    """Facts and notes in one place."""

    def close(self) -> None:
        """Let go of file or connection."""
        ...

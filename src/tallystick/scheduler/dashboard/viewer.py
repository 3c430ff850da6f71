"""Who looks at a page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Viewer:
    """Everybody, unless they showed who they are."""

    wallet: str = ""
    """Whose wallet signed in; empty: nobody did."""
    operator: bool = False
    """Whether it is the pool's owner."""

    @property
    def kind(self) -> str:
        """Viewers of one kind see the same page; nobody else is shown what was made for one
        who signed in."""
        return self.wallet


PUBLIC = Viewer()

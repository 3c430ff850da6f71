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
    session: str = ""
    """Names the session; it is no secret."""
    csrf: str = ""
    """What every form of this session carries, so that no other site can send one."""

    @property
    def kind(self) -> str:
        """Viewers of one kind see the same page; nobody else is shown what was made for one
        who signed in."""
        return f"{self.wallet} {self.session}".strip()


PUBLIC = Viewer()

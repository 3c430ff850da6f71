"""Who signed in: one-time links, the cookie of a session, and its end.

All of it is signed by a key that the processes of a pool share, so a link that one of them
made opens a session at each. What was used up or ended is noted in their journal.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from starlette.requests import Request
from starlette.responses import Response

from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Journal
from tallystick.poco.values import Address
from tallystick.scheduler.dashboard.viewer import PUBLIC, Viewer

LINK_LIFE: Final = 300
"""Seconds for which a one-time link may be used."""
SESSION_LIFE: Final = 8 * 3600
"""Seconds after which an operator has to sign in again."""
_LINK, _SESSION, _READER = "tallystick link", "tallystick session", "tallystick reader"
"""What a signed text is for: none is good as another. A reader is never an operator, whosever
wallet it shows: what requesters sign to read logs is worth no more than that."""
_USED: Final = "This link was used already: it opens one session."
_SPENT: Final = "signed out "
"""Before the name of a link that was used or a session that ended: the note of its end."""
_CLAIM: Final = "signing in "
"""Before the name of a link and whoever uses it: the same note of each that tries."""
_LONGEST: Final = 1_000
"""Letters of a signed text; ours have 300."""


class BadLink(Exception):
    """The link opens nothing; the sentence says why, and how to get another."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a signed text says."""

    name: str
    wallet: Address
    ends: float


@dataclass(slots=True, kw_only=True)
class Sessions:
    """The door of one pool's pages."""

    key: bytes = field(repr=False)
    pool: Address
    owner: Address
    journal: Journal[Any]
    clock: Callable[[], float] = time.time

    def link(self, wallet: Address) -> str:
        """A code that opens one session for `wallet`."""
        return self._sign(_LINK, wallet, LINK_LIFE)

    def require_good(self, code: str) -> None:
        """Raises BadLink unless the code still opens a session. Changes nothing."""
        said = self._read(_LINK, code)
        if said is None:
            raise BadLink("This link is too old, or not of this pool.")
        if self._is_spent(said.name):
            raise BadLink(_USED)

    def open(self, code: str, request: Request, response: Response) -> None:
        """Use the code up, and give whoever sent it a session. Raises BadLink, Unavailable."""
        self.require_good(code)
        said = self._read(_LINK, code)
        assert said is not None
        self._claim(said)
        self._give(self._sign(_SESSION, said.wallet, SESSION_LIFE), request, response)

    def let_read(self, wallet: Address, request: Request, response: Response) -> None:
        """Give whoever showed that it has this wallet a session, to read what it bought."""
        self._give(self._sign(_READER, wallet, SESSION_LIFE), request, response)

    def _give(self, session: str, request: Request, response: Response) -> None:
        response.set_cookie(
            self._cookie(request),
            session,
            max_age=SESSION_LIFE,
            path=_home(request),
            secure=_is_safe(request),
            httponly=True,
            samesite="strict",
        )

    def viewer(self, request: Request) -> Viewer:
        """Who sent this request: nobody, unless it carries a session that has not ended."""
        text = request.cookies.get(self._cookie(request), "")
        signed_in = self._read(_SESSION, text)
        said = signed_in or self._read(_READER, text)
        if said is None:
            return PUBLIC
        try:
            if self._is_spent(said.name):
                return PUBLIC
        except Unavailable:
            return PUBLIC
        return Viewer(
            wallet=str(said.wallet),
            operator=signed_in is not None and said.wallet == self.owner,
            session=said.name,
            csrf=self._csrf(said.name),
        )

    def is_own_form(self, viewer: Viewer, token: str) -> bool:
        """Whether a form was made for this session."""
        return bool(viewer.session) and hmac.compare_digest(
            self._csrf(viewer.session).encode(), token.encode(errors="replace")
        )

    def end(self, request: Request, response: Response) -> None:
        """End the session, wherever its cookie may have got to. Raises Unavailable."""
        name = self._cookie(request)
        text = request.cookies.get(name, "")
        if said := self._read(_SESSION, text) or self._read(_READER, text):
            self._spend(said)
        response.delete_cookie(
            name,
            path=_home(request),
            secure=_is_safe(request),
            httponly=True,
            samesite="strict",
        )

    def _cookie(self, request: Request) -> str:
        """The cookie's name: ports of one host share their cookies, and pools must not."""
        return f"{'__Secure-' if _is_safe(request) else ''}tally-{str(self.pool)[2:14]}"

    def _csrf(self, session: str) -> str:
        return hmac.digest(self.key, f"form {session}".encode(), "sha256").hex()

    def _sign(self, purpose: str, wallet: Address, life: int) -> str:
        claims = {
            "aud": purpose,
            "iss": str(self.pool),
            "sub": str(wallet),
            "jti": secrets.token_hex(16),
            "exp": int(self.clock()) + life,
        }
        return jwt.encode(claims, self.key, algorithm="HS256")

    def _read(self, purpose: str, text: str) -> _Said | None:
        """What a text of ours says; None for any other, and for one that is too old."""
        if not text or len(text) > _LONGEST:
            return None
        try:
            claims = jwt.decode(
                text,
                self.key,
                algorithms=["HS256"],
                audience=purpose,
                issuer=str(self.pool),
                options={
                    "require": ["exp", "sub", "aud", "iss", "jti"],
                    "verify_exp": False,  # by our own clock, below
                },
            )
            said = _Said(str(claims["jti"]), Address(str(claims["sub"])), float(claims["exp"]))
        except (jwt.InvalidTokenError, ValueError):
            return None
        return said if self.clock() < said.ends else None

    def _is_spent(self, name: str) -> bool:
        return self.journal.noted(f"{_SPENT}{name}") is not None

    def _claim(self, said: _Said) -> None:
        """Use a link up. Two processes may be asked in one moment: each says first that it
        tries, and whoever then sees another one try does not succeed."""
        tries, mine = f"{_CLAIM}{said.name} ", secrets.token_hex(8)
        self.journal.note(tries + mine, f"{said.ends:.0f}")
        self._spend(said)
        if set(self.journal.notes(tries)) != {tries + mine}:
            raise BadLink(_USED)

    def _spend(self, said: _Said) -> None:
        """Note its end; notes of what is too old by now anyway go."""
        self.journal.note(f"{_SPENT}{said.name}", f"{said.ends:.0f}")
        for kind in (_SPENT, _CLAIM):
            for key, ends in self.journal.notes(kind).items():
                if float(ends) < self.clock():
                    self.journal.forget(key)


def _is_safe(request: Request) -> bool:
    """Whether nobody on the way can read the cookie."""
    return request.url.scheme == "https"


def _home(request: Request) -> str:
    """Where the pages are found: elsewhere the cookie is not sent."""
    return f"{request.scope.get('root_path', '')}/"

"""What a browser sends with a button, and whether it was one of our pages that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from tallystick.scheduler.dashboard.sessions import Sessions
from tallystick.scheduler.dashboard.viewer import Viewer

_LONGEST: Final = 16 << 10
"""Bytes; our longest form has a reason of 500 letters."""
_MOST_FIELDS: Final = 20
_KIND: Final = "application/x-www-form-urlencoded"
TOKEN: Final = "csrf"
"""The field with the session's own word."""


class BadForm(Exception):
    """A form that none of our pages sends; the sentence says what to do."""


class NotSignedIn(Exception):
    """Only an operator may do this, and this is none (any more)."""


async def fields(request: Request) -> Mapping[str, str]:
    """What was filled in. Raises BadForm."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise BadForm("This is not sent as a form is.")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise BadForm("Another site sent this form: nothing was done.")
    body = await request.body()
    if len(body) > _LONGEST:
        raise BadForm("The form is too long.")
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=_MOST_FIELDS))
    except ValueError as problem:
        raise BadForm("The form cannot be read.") from problem


async def signed_fields(
    request: Request, sessions: Sessions
) -> tuple[Viewer, Mapping[str, str]]:
    """Who filled in a form that was made for its session, and what. Raises NotSignedIn,
    BadForm."""
    viewer = sessions.viewer(request)
    if not viewer.session:
        raise NotSignedIn("You are not signed in, or not any more: nothing was done.")
    found = await fields(request)
    if not sessions.is_own_form(viewer, found.get(TOKEN, "")):
        raise BadForm("This form was not made for your session: go back and try again.")
    return viewer, found


async def operators_fields(
    request: Request, sessions: Sessions
) -> tuple[Viewer, Mapping[str, str]]:
    """The same of the pool's owner alone. Raises NotSignedIn, BadForm."""
    viewer, found = await signed_fields(request, sessions)
    if not viewer.operator:
        raise NotSignedIn("Only the pool's operator may do this: nothing was done.")
    return viewer, found

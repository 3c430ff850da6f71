"""How a service says no: a status, and JSON that tells people what to do next."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi.responses import JSONResponse
from pydantic import Field

from tallystick.wire.authorization import Body


class Problem(Body):
    """Why a request was not answered. The first three fields are those of the v9 peers."""

    status: int
    error: str
    """The words of HTTP for the status."""
    path: str = Field(max_length=300)
    message: str
    """What was wrong, and what to do next."""


_LONGEST_PATH: Final = 300
_LONGEST_MESSAGE: Final = 1_000


def refusal(
    status: int, message: str, path: str = "", *, headers: dict[str, str] | None = None
) -> JSONResponse:
    """The answer with `status` and, for people, `message`."""
    said = Problem(
        status=status,
        error=HTTPStatus(status).phrase,
        path=_clean(path, _LONGEST_PATH),
        message=_clean(message, _LONGEST_MESSAGE),
    )
    return JSONResponse(said.model_dump(), status_code=status, headers=headers)


def _clean(text: str, most: int) -> str:
    """What strangers may have written, as UTF-8 that every reader takes."""
    return text[:most].encode(errors="replace").decode()

"""What a pool says to those who join: its `/join.json`."""

from __future__ import annotations

import re
from typing import Annotated

import httpx2
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from tallystick.cli.failure import Mistake
from tallystick.poco.values import Address

_PATIENCE = 30.0
"""Seconds for the pool to answer."""


class JoinOffer(BaseModel, frozen=True):
    """The values of one pool; fields that are not named here are not needed."""

    name: str
    workerpool: Address
    chain_id: int
    hub: Address
    scheduler_url: str
    deposit_nrlc: Annotated[int, Field(ge=0)]
    minimum_eth_wei: Annotated[int, Field(ge=0)]
    folder: Annotated[str, StringConstraints(pattern=re.compile(r"^[a-z0-9-]{1,64}$"))]


def fetched(url: str) -> JoinOffer:
    """What the pool at `url` offers. Raises Mistake."""
    try:
        answer = httpx2.get(f"{url.rstrip('/')}/join.json", timeout=_PATIENCE)
    except (httpx2.HTTPError, httpx2.InvalidURL) as trouble:
        raise Mistake(
            f"The pool at {url} does not answer: {str(trouble) or 'silence'}."
        ) from trouble
    if answer.status_code != 200:
        raise Mistake(f"The pool at {url} lets nobody join (it answers {answer.status_code}).")
    try:
        return JoinOffer.model_validate_json(answer.content)
    except ValidationError as trouble:
        raise Mistake(f"What {url} answers is not the offer of a pool.") from trouble

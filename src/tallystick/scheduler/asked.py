"""What may stand behind the question mark of a route: checked, since anybody may ask."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Patience = Annotated[float, Query(ge=0, allow_inf_nan=False)]
"""Seconds that a request may be held open. No NaN: a wait for NaN seconds would never end."""

Cursor = Annotated[int, Query(ge=0, lt=1 << 63)]
"""The number of a fact. The journal counts in 64 bits."""

"""The operator's line to a development node: plain JSON-RPC over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self

import httpx2

from tallystick.engine.errors import Refused, Unavailable

Question = tuple[str, Sequence[Any]]
"""A method and its parameters."""


class NodeRefused(Refused):
    """The node answered with an error; its sentence is ours."""


class Console:
    """Asks one node, and blocks until it answers. Safe to use from several threads."""

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self.url = url
        self._http = httpx2.Client(timeout=timeout, trust_env=False)
        self._ids = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def call(self, method: str, *params: Any) -> Any:
        """The node's answer. Raises NodeRefused, or Unavailable when nobody answers."""
        return _result(self._post(self._question(method, params)), method)

    def batch(self, questions: Sequence[Question]) -> list[Any]:
        """All answers in order, from one request. The first refusal is raised, as by `call`."""
        if not questions:  # an empty request is an error to every node
            return []
        asked = [self._question(method, params) for method, params in questions]
        answers = {answer["id"]: answer for answer in self._post(asked)}
        return [
            _result(answers[ask["id"]], method)
            for ask, (method, _) in zip(asked, questions, strict=True)
        ]

    def _question(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        return {
            "jsonrpc": "2.0",
            "id": next(self._ids),
            "method": method,
            "params": list(params),
        }

    def _post(self, body: Any) -> Any:
        try:
            return self._http.post(self.url, json=body).raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as error:
            raise Unavailable(f"The node at {self.url} does not answer: {error!r}.") from error


def _result(answer: Mapping[str, Any], method: str) -> Any:
    if error := answer.get("error"):
        raise NodeRefused(f"The node refused {method}: {error.get('message', error)}.")
    return answer.get("result")

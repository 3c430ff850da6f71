"""The store's refusals."""

from __future__ import annotations


class Denied(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def unauthorized(sentence: str) -> Denied:
    """The caller is not who it has to be."""
    return Denied(401, sentence)


def not_yet(sentence: str) -> Denied:
    """The chain, as our node shows it, is not that far; the same request may succeed later."""
    return Denied(503, sentence)

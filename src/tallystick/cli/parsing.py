"""Words of the command line as values; a word that is none is a usage error."""

from __future__ import annotations

from typing import Annotated, TypeVar

import typer

from tallystick.poco.values import Address, DealId, FixedBytes, TaskId
from tallystick.requester.amounts import BadAmount, parse_amount

_V = TypeVar("_V", bound=FixedBytes)


def amount(text: str) -> int:
    """nRLC."""
    try:
        return parse_amount(text)
    except BadAmount as error:
        raise typer.BadParameter(str(error)) from error


def task_id(text: str) -> TaskId:
    """A task's id as it was typed. Raises typer.BadParameter."""
    return _value(TaskId, text, "a task")


def deal_id(text: str) -> DealId:
    """A deal's id as it was typed. Raises typer.BadParameter."""
    return _value(DealId, text, "a deal")


def address(text: str) -> Address:
    """An address as it was typed. Raises typer.BadParameter."""
    return _value(Address, text, "an account")


def _value(kind: type[_V], text: str, what: str) -> _V:
    try:
        return kind(text)
    except ValueError as error:
        digits = 2 * kind.SIZE
        raise typer.BadParameter(
            f"{text!r} does not name {what}: that is 0x and {digits} hex digits."
        ) from error


Task = Annotated[TaskId, typer.Argument(parser=task_id, metavar="TASK", help="0x…, 64 digits.")]
Deal = Annotated[DealId, typer.Argument(parser=deal_id, metavar="DEAL", help="0x…, 64 digits.")]
Amount = Annotated[
    list[str], typer.Argument(metavar="AMOUNT", help="With its unit: 1.5 RLC or 300 nRLC.")
]

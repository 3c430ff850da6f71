"""What workers are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tallystick.poco.values import Address
from tallystick.scheduler.roster import Roster


def names_of(roster: Roster, workers: Iterable[Address]) -> Mapping[str, str]:
    """The name of each of these workers that ever registered, by its address."""
    models = {worker: roster.model(worker) for worker in workers}
    return {str(worker): model.name for worker, model in models.items() if model}

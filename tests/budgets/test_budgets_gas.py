"""Gas of every transaction is what the specification says, and of whole tasks what we claim."""

from __future__ import annotations

import pytest

from tallystick.bench import gas
from tallystick.bench.gas_lives import LIVES
from tallystick.devnet.packages import PocoPackages

WHOLE = "a whole task, "


@pytest.fixture(scope="module")
def figures(
    poco_packages: PocoPackages, tmp_path_factory: pytest.TempPathFactory
) -> list[gas.Figure]:
    return gas.measured(tmp_path_factory.mktemp("gas"))


def test_every_transaction_is_within_two_percent_of_the_specification(
    figures: list[gas.Figure],
) -> None:
    compared = {what: burnt / known for what, burnt, known in figures if known}
    assert len(compared) > 30
    assert {what: r for what, r in compared.items() if not 0.98 <= r <= 1.02} == {}


def test_whole_tasks_burn_what_the_table_says(figures: list[gas.Figure], keep_to) -> None:
    found = {
        what.removeprefix(WHOLE): burnt for what, burnt, _ in figures if what.startswith(WHOLE)
    }
    assert found.keys() == LIVES.keys()
    keep_to("gas a task", found)


def test_batches_and_one_vote_save_what_they_are_there_for(figures: list[gas.Figure]) -> None:
    burnt = {what: gas for what, gas, _ in figures}
    alone = burnt[f"{WHOLE}trust 1"]
    assert burnt[f"{WHOLE}trust 1, at once"] < 0.87 * alone
    assert burnt[f"{WHOLE}trust 1, 20 in a deal, at once"] < 0.4 * alone
    assert burnt["initialize three at once"] < 0.85 * 3 * burnt["initialize"]

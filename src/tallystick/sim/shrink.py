"""The smallest world that is still broken: what is left is what matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

from tallystick.sim.odds import Odds, Plan, Purchase


def shrink(plan: Plan, breaks: Callable[[Plan], bool], *, tries: int = 300) -> Plan:
    """A smaller plan for which `breaks` still holds, after at most `tries` worlds.

    Greedy: of all plans that are one thing smaller the first that breaks is taken, again and
    again. `plan` itself has to break.
    """
    left = tries
    again = True
    while again:
        again = False
        for smaller in _smaller(plan):
            if left == 0:
                return plan
            left -= 1
            if breaks(smaller):
                plan, again = smaller, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with one thing less, the largest steps first."""
    for n in range(len(plan.purchases)):
        if len(plan.purchases) > 1:
            yield replace(plan, purchases=plan.purchases[:n] + plan.purchases[n + 1 :])
    for n in range(len(plan.machines)):
        if len(plan.machines) > 1:
            yield replace(plan, machines=plan.machines[:n] + plan.machines[n + 1 :])
    calm = Odds()
    for field in fields(Odds):
        usual = getattr(calm, field.name)
        if getattr(plan.odds, field.name) != usual:
            yield replace(plan, odds=replace(plan.odds, **{field.name: usual}))
    for n, purchase in enumerate(plan.purchases):
        for simpler in _simpler(purchase):
            yield replace(
                plan, purchases=(*plan.purchases[:n], simpler, *plan.purchases[n + 1 :])
            )


def _simpler(purchase: Purchase) -> Iterator[Purchase]:
    if len(purchase.lots) > 1:
        yield replace(purchase, lots=purchase.lots[:1])
    if max(purchase.lots) > 1:
        yield replace(purchase, lots=tuple(1 for _ in purchase.lots))
    if purchase.natures:
        yield replace(purchase, natures=())
    if purchase.trust > 1:
        yield replace(purchase, trust=1)

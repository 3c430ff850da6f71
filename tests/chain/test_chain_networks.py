"""Which hub may be given work and money."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tallystick.chain.hub import Hub
from tallystick.chain.networks import (
    DEPLOYMENTS,
    Meant,
    UnconfirmedHub,
    confirm,
    confirm_answers,
    deployment_of,
)
from tallystick.poco.orders import Domain
from tallystick.poco.values import Address

SOMEBODYS = Address(b"\x66" * 20)
ARBITRUM = DEPLOYMENTS[0]


@pytest.mark.parametrize("known", DEPLOYMENTS, ids=lambda each: each.name)
def test_the_hubs_of_known_networks_need_no_word(known: Any) -> None:
    confirm(known.hub, known.chain_id, Meant())
    assert deployment_of(known.hub) is known


@pytest.mark.parametrize(
    ("named", "chain", "meant", "sentence"),
    [
        (SOMEBODYS, 42161, Meant(), f"--trust-hub {SOMEBODYS}"),
        (SOMEBODYS, 1, Meant(chain_id=1), "is of no known network"),
        (SOMEBODYS, 1, Meant(trust_hub=ARBITRUM.hub), "is of no known network"),
        (SOMEBODYS, 42161, Meant(hub=ARBITRUM.hub), "the settings name 0x098bfcb1"),
        (ARBITRUM.hub, 42161, Meant(chain_id=134), "the settings name chain 134"),
        (ARBITRUM.hub, 1, Meant(), "is that of Arbitrum One"),
        (ARBITRUM.hub, 1, Meant(trust_hub=ARBITRUM.hub), "do not trust who says so"),
    ],
)
def test_other_hubs_are_refused_with_what_to_do(
    named: Address, chain: int, meant: Meant, sentence: str
) -> None:
    with pytest.raises(UnconfirmedHub, match=sentence):
        confirm(named, chain, meant)


@pytest.mark.parametrize("meant", [Meant(hub=SOMEBODYS), Meant(trust_hub=SOMEBODYS)])
def test_an_operators_word_is_enough(meant: Meant) -> None:
    confirm(SOMEBODYS, 31337, meant)


@pytest.mark.anyio
async def test_node_and_hub_are_asked_as_well(shared_chain: Any, hub: Hub) -> None:
    meant = Meant(trust_hub=hub.address, rlc=shared_chain.rlc)
    await confirm_answers(hub, 31337, meant)
    with pytest.raises(UnconfirmedHub, match="The node serves chain 31337, not chain 134"):
        await confirm_answers(hub, 134, meant)
    with pytest.raises(UnconfirmedHub, match="not with RLC at 0x6666"):
        await confirm_answers(hub, 31337, replace(meant, rlc=SOMEBODYS))
    # What answers as the hub of Arbitrum must work with the RLC of Arbitrum.
    fake = Hub(hub.rpc, Domain(31337, ARBITRUM.hub), SOMEBODYS, hub.registries)
    with pytest.raises(UnconfirmedHub, match="not with RLC at 0xe649"):
        await confirm_answers(fake, 31337, Meant())

"""`tally`, to which a test's market is one more known network: HUB CHAIN RLC, then its words.

A pool of a public network needs no word about its hub, which is the case of the operators'
page. A market on one machine has a hub that nobody knows: this adds it to the list.
"""

from __future__ import annotations

import sys

from tallystick.chain import networks
from tallystick.cli.main import main
from tallystick.poco.values import Address

if __name__ == "__main__":
    hub, chain, rlc, *words = sys.argv[1:]
    here = networks.Deployment("the market", int(chain), Address(hub), Address(rlc))
    networks.DEPLOYMENTS = (*networks.DEPLOYMENTS, here)  # type: ignore[misc]
    sys.argv[1:] = words
    main()

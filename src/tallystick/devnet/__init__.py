"""A complete iExec market on one machine: node, contracts, wallets, registry, processes."""

"""Ethereum behind one door: nodes, contracts, logs, transactions and wallets."""

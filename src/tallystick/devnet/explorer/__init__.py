"""What happened on the local chain, as pages: blocks, transactions, accounts, deals, tasks."""

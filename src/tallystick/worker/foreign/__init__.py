"""A worker of ours in a pool of the v9 stack: the same state, told and heard in other words."""

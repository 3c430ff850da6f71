"""The result store: keeps what workers computed until its owner has fetched it."""

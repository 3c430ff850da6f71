"""A whole market in one thread and no time: seeded, deterministic, and as unkind as it gets."""

"""The scheduler of a workerpool: turns deals into tasks and hands out replicates."""

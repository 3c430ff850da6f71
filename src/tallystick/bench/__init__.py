"""Every figure that is claimed, measured again beside its reference: `tally bench`.

A module of this package that defines `NAME`, `SUMMARY` and
`async def run(options: Options) -> Report` is a benchmark; nothing else has to be told.
"""

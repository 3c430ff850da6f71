"""`tally pools serve`: a page that lists pools."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import anyio
import typer

from tallystick.cli.terminal import Voice
from tallystick.directory.app import serve as serve_board
from tallystick.directory.board import EVERY, Board
from tallystick.directory.listing import listed

Pools = Annotated[
    list[str] | None,
    typer.Option("--pool", metavar="URL", help="A pool's scheduler; may be repeated."),
]
File = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="A list of pools: a URL and a name a line."),
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="0: any free one.")
]
Every = Annotated[
    float,
    typer.Option("--every", min=5, metavar="SECONDS", help="Between two questions to a pool."),
]


def attach(program: typer.Typer) -> None:
    """Add `tally pools`."""
    group = typer.Typer(help="Serve a page that lists pools.", no_args_is_help=True)

    @group.callback()
    def _only_a_group() -> None: ...

    group.command("serve")(serve)
    program.add_typer(group, name="pools")


def serve(
    *,
    pool: Pools = None,
    file: File = None,
    host: Host = "127.0.0.1",
    port: Port = 12900,
    every: Every = EVERY,
) -> None:
    """Serve a page that lists pools: workers, prices, success, each with its dashboard.

    The same is served as JSON at /pools.json. Runs until Ctrl-C.
    """
    board = Board(listed(pool or (), file), every)
    with suppress(KeyboardInterrupt):
        anyio.run(serve_board, board, host, port, Voice(json=False).say)

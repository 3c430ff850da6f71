"""`tally worker join` and `leave`: from a pool's address to a worker that runs, and back."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from platformdirs import user_data_path

from tallystick.chain.networks import deployment_of
from tallystick.cli import join_money, join_service, join_wallet
from tallystick.cli.failure import Mistake, in_words
from tallystick.cli.join_home import JoinHome, checked_name
from tallystick.cli.join_offer import JoinOffer, fetched
from tallystick.cli.join_talk import Talk
from tallystick.devnet.places import write_settings
from tallystick.poco.values import Nrlc
from tallystick.requester.amounts import show_amount
from tallystick.worker.checkup import Checkup
from tallystick.worker.config import WorkerConfig
from tallystick.worker.deposit import deposit
from tallystick.worker.preflight import Level, Verdict, first_failure

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="FOLDER",
        help="Where everything of this pool lies.",
        show_default="a folder of the pool's own",
    ),
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What the worker is called.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing; agree to the deposit.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def attach(group: typer.Typer) -> None:
    """Add `tally worker join` and `leave`."""
    group.command("join")(join)
    group.command("leave")(leave)


def join(
    url: Annotated[str, typer.Argument(metavar="URL", help="The pool's scheduler.")],
    *,
    name: Name = None,
    wallet: Annotated[
        Path | None, typer.Option("--wallet", metavar="FILE", help="Its keystore.")
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="Its first line opens it."),
    ] = None,
    home: Home = None,
    update: Annotated[
        bool, typer.Option("--update", help="Restart the workers with this program.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Make this machine a worker of a pool: find or make a wallet, see to gas and deposit, and
    keep the worker running. Run it again at any time: it goes on where it was."""
    talk = Talk(agreed=yes)
    with _errors(talk):
        offer = fetched(url)
        where = JoinHome(home or user_data_path() / f"tallystick-worker-{offer.folder}")
        if update:
            _update(talk, where, name, url)
            return
        called = _named(talk, where, name)
        joining = _Joining(talk, offer, where, called, url)
        joining.run(wallet, password_file, dry_run=dry_run)


def leave(
    *, home: Home = None, name: Name = None, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Stop a worker that joined a pool and remove everything of it but its wallet."""
    talk = Talk(agreed=yes)
    with _errors(talk):
        where = JoinHome(home or _only_home())
        called = _existing(where, name)
        config = where.config(called)
        if dry_run:
            talk.info(f"Would stop the worker {called} and remove it from {where.root}")
            return
        if not talk.agrees(f"Remove the worker {called}?"):
            raise Mistake("Nothing was removed.")
        join_service.end(talk, where, called)
        where.forget(called)
        where.tidy()
        talk.ok(f"The worker {called} is removed")
        talk.info(
            f"Its wallet stays in {config.wallet}, its password in {config.password_file}."
        )


@contextmanager
def _errors(talk: Talk) -> Iterator[None]:
    """Everything that is no bug ends with a line of the same form, and its exit code."""
    try:
        yield
    except Exception as error:
        told = in_words(error)
        if told is None:
            raise
        talk.error(told)
        raise typer.Exit(int(getattr(error, "exit_code", 0)) or 1) from error


def _named(talk: Talk, where: JoinHome, name: str | None) -> str:
    """The worker that is meant: the one there is, or a new one."""
    if name is not None:
        return checked_name(name)
    if len(where.workers) == 1:
        return where.workers[0]
    host = "".join(c if c.isalnum() and c.isascii() else "-" for c in socket.gethostname())
    while True:
        text = talk.ask("Worker name (letters, digits, - and _)", host[:64] or "worker")
        try:
            return checked_name(text)
        except Mistake as mistake:
            talk.error(str(mistake))


def _only_home() -> Path:
    """The folder of the one pool that was joined here. Raises Mistake."""
    known = sorted(user_data_path().glob("tallystick-worker-*"))
    if len(known) == 1:
        return known[0]
    names = ", ".join(map(str, known)) or "none is known"
    raise Mistake(f"Which pool? Name its folder with --home: {names}.")


def _existing(where: JoinHome, name: str | None) -> str:
    known = where.workers
    if name is None and len(known) == 1:
        return known[0]
    if name in known:
        return str(name)
    if not known:
        raise Mistake(f"No worker was set up in {where.root}.")
    raise Mistake(f"Which worker? Choose with --name: {', '.join(known)}.")


def _update(talk: Talk, where: JoinHome, name: str | None, url: str) -> None:
    """Restart every worker here with the program that runs this; one that runs in a terminal
    goes on in this one."""
    names = [_existing(where, name)] if name else where.workers
    if not names:
        raise Mistake(f"No worker was set up in {where.root}: run this without --update.")
    kept = [each for each in names if join_service.keeper(where, each) is not None]
    for each in kept:
        join_service.begin(talk, where, each)
        _tell(talk, where, each, url)
    where.tidy()
    loose = [each for each in names if each not in kept]
    if not loose:
        return
    if len(loose) > 1:
        raise Mistake(
            "Without systemd one worker runs in a terminal: choose with --name:"
            f" {', '.join(loose)}."
        )
    if where.runs(loose[0]):
        talk.info(f"The worker {loose[0]} is stopped, and goes on here")
        join_service.halt(where, loose[0])
        where.tidy()
    _tell(talk, where, loose[0], url)
    join_service.begin(talk, where, loose[0])


@dataclass(frozen=True, slots=True)
class _Joining:
    """One worker on its way."""

    talk: Talk
    offer: JoinOffer
    home: JoinHome
    name: str
    url: str

    def run(self, wallet: Path | None, password_file: Path | None, *, dry_run: bool) -> None:
        """All steps, each of which is passed over when it is done already."""
        settings = self.home.settings(self.name)
        if not settings.exists():
            if dry_run:
                self.talk.info(f"Would set up the worker {self.name} in {self.home.root}")
                return
            self._set_up(wallet, password_file)
        self.talk.ok(f"The settings of {self.name} are in {settings}")
        config = self._config(wallet)
        if state := self.home.runs(self.name):
            self.talk.ok(f"The worker {self.name} runs already ({state})")
            _tell(self.talk, self.home, self.name, self.url)
            return
        if amount := join_money.missing(self.talk, self.offer, config):
            self._deposit(config, amount, dry_run=dry_run)
        self._check(config)
        if dry_run:
            self.talk.info("Would start the worker")
            return
        _tell(self.talk, self.home, self.name, self.url)
        join_service.begin(self.talk, self.home, self.name)

    def _set_up(self, wallet: Path | None, password_file: Path | None) -> None:
        offer, known = self.offer, deployment_of(self.offer.hub) is not None
        if not known and not self.talk.agrees(
            f"The hub {offer.hub} on chain {offer.chain_id} is of no known network, so it might"
            " keep what is deposited there. Do you trust this pool?"
        ):
            raise Mistake("Nothing was set up.")
        keystore, password = join_wallet.chosen(
            self.talk, self.home, self.name, wallet, password_file
        )
        path = self.home.settings(self.name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        given: dict[str, Any] = {
            "name": self.name,
            "scheduler_url": self.url.rstrip("/"),
            "pool": str(offer.workerpool),
            "chain_id": offer.chain_id,
            "wallet": keystore,
            "password_file": password,
            "base_dir": self.home.root.absolute() / "work",
        }
        write_settings(path, given if known else given | {"trust_hub": str(offer.hub)})

    def _config(self, wallet: Path | None) -> WorkerConfig:
        config = self.home.config(self.name)
        if config.pool != self.offer.workerpool:
            raise Mistake(
                f"{self.name} is set up for the pool {config.pool}, not for this one."
            )
        if wallet is not None and wallet.expanduser().absolute() != config.wallet:
            raise Mistake(
                f"{self.name} has the wallet {config.wallet} already: choose another --name for"
                " another wallet."
            )
        return config

    def _deposit(self, config: WorkerConfig, amount: Nrlc, *, dry_run: bool) -> None:
        shown = f"{show_amount(amount)} ({amount} nRLC)"
        if dry_run:
            self.talk.info(f"Would deposit {shown} after asking")
            return
        if not self.talk.agrees(
            f"To participate you need to deposit {shown} in the hub. It can be taken out again"
            " while no task holds it. Do you agree?"
        ):
            raise Mistake("Without the deposit there is no work; nothing was sent.")
        account = anyio.run(deposit, config, amount)
        self.talk.ok(f"{show_amount(account.stake + account.locked)} are deposited")

    def _check(self, config: WorkerConfig) -> None:
        """Everything else that a start needs. Raises Mistake."""

        async def look() -> list[Verdict]:
            async with AsyncExitStack() as stack:
                return await Checkup(config, stack).run()

        self.talk.info("Checking the machine, the pool and the chain")
        found = anyio.run(look)
        for each in found:
            if each.level is Level.WARN:
                self.talk.info(f"{each.check}: {each}")
            elif each.level is Level.FAIL:
                self.talk.error(f"{each.check}: {each}")
        if code := int(first_failure(found)):
            self.talk.error("Run this again when that is done: it goes on from here.")
            raise typer.Exit(code)
        self.talk.ok("The machine is ready")


def _tell(talk: Talk, where: JoinHome, name: str, url: str) -> None:
    """How to live with it."""
    tally, config = (
        shlex.quote(str(where.root / "tally")),
        shlex.quote(str(where.settings(name))),
    )
    script = f"curl -fsSL {shlex.quote(url.rstrip('/') + '/join-worker-pool.sh')} | sh -s --"
    found = join_service.keeper(where, name)
    talk.info(f"Look at it:  {tally} worker status --config {config}")
    talk.info(f"Why no work: {tally} worker why --config {config}")
    if found is not None:
        user = "--user " if found.personal else ""
        talk.info(f"Its log:     {found.journal}")
        talk.info(f"Stop it:     systemctl {user}stop {found.name}")
    else:
        talk.info(f"Its log:     {tally} worker logs -f --config {config}")
        talk.info(f"Stop it:     {tally} worker stop --config {config}")
    talk.info(f"Update it:   {script} --update")
    talk.info(f"Remove it:   {script} --remove --name {name}")

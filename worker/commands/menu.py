"""What each command of the service takes. What it does stands in a module of its own, loaded when it is called."""

from enum import StrEnum
from typing import Annotated

import typer

from paceline.producing import AsJson, Config

Sandbox = Annotated[
    bool, typer.Option("--sandbox", envvar="PACELINE_SANDBOX", help="Point every account at the sandbox.")
]


class Verdict(StrEnum):
    """What an operator says became of an unknown message."""

    DELIVERED = "delivered"
    FAILED = "failed"
    RESEND = "resend"


MessageId = Annotated[str, typer.Argument(metavar="ID")]
Place = Annotated[str, typer.Argument(metavar="ACCOUNT[/CLASS]")]


def migrate(config: Config = None, sandbox: Sandbox = False) -> None:
    """Bring the database up to this version, and publish accounts and routes in it."""
    from worker.commands.database import migrate

    migrate(config, sandbox=sandbox)


def purge(
    config: Config = None,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and forget nothing.")] = False,
) -> None:
    """Forget what is older than `[retention]` says, as the workers do every night; prints how much."""
    from worker.commands.database import purge

    purge(config, sandbox=sandbox, as_json=as_json, dry_run=dry_run)


def encrypt(config: Config = None, sandbox: Sandbox = False) -> None:
    """Encrypt what is in the database under the first content key, and take older keys out of use."""
    from worker.commands.database import encrypt

    encrypt(config, sandbox=sandbox)


def worker(config: Config = None, sandbox: Sandbox = False) -> None:
    """Run the worker processes; Ctrl-C finishes what is on the wire and stops."""
    from worker.commands.processes import worker

    worker(config, sandbox=sandbox)


def beat(config: Config = None, sandbox: Sandbox = False) -> None:
    """Run the clock that ticks every second."""
    from worker.commands.processes import beat

    beat(config, sandbox=sandbox)


def hooks(config: Config = None, sandbox: Sandbox = False) -> None:
    """Receive providers' webhooks."""
    from worker.commands.processes import hooks

    hooks(config, sandbox=sandbox)


def flower(config: Config = None, sandbox: Sandbox = False) -> None:
    """Run Flower, which shows workers and messages."""
    from worker.commands.processes import flower

    flower(config, sandbox=sandbox)


def sandbox(config: Config = None) -> None:
    """Run the providers' sandbox."""
    from worker.commands.processes import sandbox

    sandbox(config)


def up(config: Config = None, sandbox: Sandbox = False) -> None:
    """Run everything in one terminal; prints `ready` when all of it answers. Ctrl-C drains and stops."""
    from worker.commands.up import up

    up(config, sandbox=sandbox)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, and print its addresses.")] = False,
) -> None:
    """Send a few hundred messages through the sandbox, show their progress and print what arrived."""
    from worker.commands.demo import demo

    demo(keep=keep)


def init(
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a commented paceline.toml."""
    from worker.commands.init import init

    init(config, force=force)


def lanes(
    config: Config = None,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second.")] = False,
) -> None:
    """Show each lane: open or closed and why, tokens left, backlog, what is on the wire."""
    from worker.commands.lanes import lanes

    lanes(config, sandbox=sandbox, as_json=as_json, watch=watch)


def retry(message: MessageId, config: Config = None, sandbox: Sandbox = False) -> None:
    """Queue a failed, expired or cancelled message again."""
    from worker.commands.operator import retry

    retry(config, message, sandbox=sandbox)


def resolve(
    message: MessageId,
    verdict: Annotated[Verdict, typer.Option("--as", help="What became of it.")],
    config: Config = None,
    sandbox: Sandbox = False,
) -> None:
    """Settle an unknown message or job, or ask for it again."""
    from worker.commands.operator import resolve

    resolve(config, message, verdict.value, sandbox=sandbox)


def open_(place: Place, config: Config = None, sandbox: Sandbox = False) -> None:
    """Open a lane, or an account's lanes and its key."""
    from worker.commands.operator import open_

    open_(config, place, sandbox=sandbox)


def close(place: Place, config: Config = None, sandbox: Sandbox = False) -> None:
    """Close a lane, or an account's key, until it is opened again."""
    from worker.commands.operator import close

    close(config, place, sandbox=sandbox)


def doctor(config: Config = None, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Check the configuration, database, broker, clocks and accounts, and say what to do."""
    from worker.commands.doctor import doctor

    doctor(config, sandbox=sandbox, as_json=as_json)


def join(app: typer.Typer) -> None:
    """Add the service's commands to the application's."""
    running = (init, up, demo, worker, beat, hooks, flower, sandbox, migrate, purge, encrypt)
    for command in (*running, retry, resolve, open_, close, lanes, doctor):
        app.command(command.__name__.rstrip("_"))(command)

"""The service's commands: what each takes. What each does stands in a module of its own, loaded when it is called."""

from typing import Annotated

import typer

from paceline.producing import Config

Sandbox = Annotated[
    bool, typer.Option("--sandbox", envvar="PACELINE_SANDBOX", help="Point every account at the sandbox.")
]
MessageId = Annotated[str, typer.Argument(metavar="ID")]
Place = Annotated[str, typer.Argument(metavar="ACCOUNT[/CLASS]")]


def migrate(config: Config = None, sandbox: Sandbox = False) -> None:
    """Bring the database up to this version, and publish accounts and routes in it."""
    from worker.commands.database import migrate

    migrate(config, sandbox=sandbox)


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


def join(app: typer.Typer) -> None:
    """Add the service's commands to the application's."""
    for command in (migrate, worker, beat, hooks, flower, sandbox, up, demo):
        app.command(command.__name__.rstrip("_"))(command)

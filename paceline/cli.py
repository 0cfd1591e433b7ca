"""The command `paceline`. Producers' commands work wherever the package is installed; the service's join them where
the service is: in its checkout or image, whose packages stand beside this one."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from paceline.broadcast.commands import broadcasts
from paceline.explain import explain
from paceline.producing import producers
from paceline.requesting import requests
from paceline.suppressing import suppressions

FAILED, WRONG_USE = 1, 2
TRACEBACK = "PACELINE_TRACEBACK"  # set: a defect shows its traceback

SERVICE = {
    "init": "Write a commented paceline.toml.",
    "up": "Run everything in one terminal.",
    "demo": "Send through the sandbox and show it.",
    "worker": "Run the worker processes.",
    "beat": "Run the clock.",
    "hooks": "Receive webhooks.",
    "flower": "Run Flower.",
    "sandbox": "Run the providers' sandbox.",
    "migrate": "Bring the database up to date.",
    "purge": "Forget what is old.",
    "encrypt": "Encrypt what is in the database.",
    "retry": "Queue a message again.",
    "resolve": "Settle an unknown message or job.",
    "open": "Open an account or a lane.",
    "close": "Close an account or a lane.",
    "lanes": "Show the lanes.",
    "doctor": "Check the installation.",
}

# click's, which some versions of typer bring along themselves
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


def main() -> None:
    """The console script."""
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 done, 1 failed, 2 wrong use. Errors go to stderr, a sentence each."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = application()(args=given, prog_name="paceline", standalone_mode=False)
    except _UsageError as error:
        return _fail(f"{_sentence(error)}; --help shows what is taken.", WRONG_USE)
    except (KeyboardInterrupt, typer.Abort):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our answer has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        return _fail(explain(error), FAILED)
    return code if isinstance(code, int) else 0


def application() -> typer.Typer:
    """The command with all its subcommands, or with a word about those that are not here."""
    made = typer.Typer(
        help="Paced, durable delivery of messages through other people's APIs.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    made.callback()(_options)
    producers(made)
    broadcasts(made)
    requests(made)
    suppressions(made)
    root = checkout()
    if root is None:
        for name, meaning in SERVICE.items():
            _absent(made, name, meaning)
    else:
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
        importlib.import_module("worker.commands.menu").join(made)
    return made


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"paceline {metadata.version('paceline')}\n")
        raise typer.Exit


def _options(
    _version: Annotated[  # its callback has answered
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def checkout() -> Path | None:
    """The directory of the service's packages, if this package stands among them."""
    root = Path(__file__).resolve().parent.parent
    present = all((root / part).is_file() for part in ("worker/commands/menu.py", "config/settings.py"))
    return root if present else None


def _absent(made: typer.Typer, name: str, meaning: str) -> None:
    @made.command(name, help=meaning, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def absent() -> None:
        _fail(
            f"`paceline {name}` is a command of the service, and only the producer's package is installed here: run it "
            "where Paceline's checkout (pip install -e '.[service]') or its image is.",
            FAILED,
        )
        raise typer.Exit(FAILED)


def _sentence(error: Any) -> str:
    """What a usage error says, on one line: choices come in several, and some begin with pydantic's words."""
    said = " ".join(error.format_message().split())
    return said.replace("Value error, ", "").rstrip(".")


def _fail(sentence: str, code: int) -> int:
    for line in sentence.splitlines():
        sys.stderr.write(f"paceline: {line}\n")
    return code


if __name__ == "__main__":
    main()

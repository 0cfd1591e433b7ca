"""`paceline init`."""

from pathlib import Path

from config.template import render
from paceline.connection import CONFIG_FILE
from paceline.errors import PacelineError
from providers.registry import PROVIDERS
from worker.commands.context import say


def init(config: Path | None, *, force: bool) -> None:
    """Write the commented configuration. A file that is there is left alone unless `force` says otherwise."""
    file = config or Path(CONFIG_FILE)
    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(render(PROVIDERS.values()))
    except FileExistsError:
        raise PacelineError(f"{file} is there already; --force writes over it.") from None
    say(f"Wrote {file}: give it an account, then run `paceline doctor` and `paceline up`.")

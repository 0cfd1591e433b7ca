"""What the benchmarks print: a line for each step, and one closing table."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

_console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the closing table. `met` is None where there is no target."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None


def say(text: str) -> None:
    """One line of progress."""
    _console.print(text, markup=False, soft_wrap=True)


def closing(title: str, lines: list[Line]) -> None:
    """The table of what was measured, beside what is asked of it."""
    table = Table("what", "measured", "target", "", title=title)
    for line in lines:
        table.add_row(line.what, line.measured, line.target, {True: "met", False: "MISSED", None: ""}[line.met])
    _console.print(table)

"""What the demo shows: the lanes while it runs, on a terminal as a table and else as lines; and what arrived."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from paceline.status import Status
from worker.lanes_view import LaneView

BAR = 24  # characters
PLAIN_EVERY = 5.0  # seconds between two lines where there is no terminal
LIVE_EVERY = 0.4  # seconds between two pictures on a terminal


class DemoView:
    """Shows progress. `every` is how many seconds to wait between two calls of `show`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.every = LIVE_EVERY if console.is_terminal else PLAIN_EVERY

    def running(self) -> AbstractContextManager[object]:
        """While this is open the picture stands on the terminal."""
        return self._live or nullcontext()

    def say(self, line: str) -> None:
        """A line of its own."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def show(self, seconds: float, lanes: Sequence[LaneView], statuses: Mapping[str, int]) -> None:
        """Where everything stands after so many seconds."""
        if self._live is None:
            self.say(_line(seconds, lanes, statuses))
        else:
            self._live.update(_picture(seconds, lanes, statuses), refresh=True)

    def report(self, rows: Sequence[tuple[str, str]]) -> None:
        """The closing table."""
        table = Table(box=box.SIMPLE_HEAD, show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)


def _line(seconds: float, lanes: Sequence[LaneView], statuses: Mapping[str, int]) -> str:
    stand = ", ".join(f"{status} {count}" for status, count in _ordered(statuses))
    tokens = "; ".join(f"{lane.lane} {_tokens(lane)}, backlog {lane.backlog}" for lane in lanes)
    return f"{seconds:3.0f} s  {stand}  |  {tokens}"


def _picture(seconds: float, lanes: Sequence[LaneView], statuses: Mapping[str, int]) -> Group:
    table = Table(box=box.SIMPLE_HEAD, title=f"{seconds:.0f} s", title_justify="left")
    for title in ("lane", "tokens left", "", "backlog", "in flight"):
        table.add_column(title, justify="left" if title in ("lane", "") else "right")
    for lane in lanes:
        table.add_row(lane.lane, _tokens(lane), _bar(lane), str(lane.backlog), str(lane.in_flight))
    counts = Text("   ".join(f"{status} {count}" for status, count in _ordered(statuses)))
    return Group(table, counts)


def _tokens(lane: LaneView) -> str:
    limit = lane.limits[0]
    return f"{'?' if limit.left is None else limit.left} of {limit.limit}"


def _bar(lane: LaneView) -> Text:
    limit = lane.limits[0]
    full = round(BAR * (limit.left or 0) / int(limit.limit.partition("/")[0]))
    return Text("█" * full, style="green") + Text("░" * (BAR - full), style="dim")


def _ordered(statuses: Mapping[str, int]) -> list[tuple[str, Any]]:
    return [(status, statuses[status]) for status in Status if statuses.get(status)]

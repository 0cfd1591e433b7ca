"""What the demo shows: accounts and lanes while it runs, on a terminal as tables and else as lines; what arrived."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from paceline.status import Status
from paceline.views import JobView
from worker.watch.lanes import LaneView

BAR = 24  # characters
PLAIN_EVERY = 5.0  # seconds between two lines where there is no terminal
LIVE_EVERY = 0.4  # seconds between two pictures on a terminal


@dataclass(frozen=True, slots=True)
class Shown:
    """Where everything stands after so many seconds: messages by account and status, lanes, and the broadcast."""

    seconds: float
    statuses: Mapping[str, Mapping[Status, int]]
    lanes: Sequence[LaneView]
    broadcast: JobView


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

    def show(self, now: Shown) -> None:
        """Where everything stands."""
        if self._live is None:
            self.say(_line(now))
        else:
            self._live.update(_picture(now), refresh=True)

    def report(self, facts: Mapping[str, Mapping[str, int]]) -> None:
        """The closing table: a column for each provider."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        for provider in facts:
            table.add_column(provider, justify="right", no_wrap=True)
        for name in next(iter(facts.values())):
            table.add_row(name, *(str(each[name]) for each in facts.values()))
        self._console.print(table)


def _line(now: Shown) -> str:
    total = sum(map(Counter, now.statuses.values()), Counter[Status]())
    stand = ", ".join(f"{status} {count}" for status, count in _ordered(total))
    left = "; ".join(
        f"{lane.lane} {_tokens(lane)}, backlog {lane.backlog}" for lane in now.lanes if lane.backlog or lane.in_flight
    )
    return f"{now.seconds:3.0f} s  {stand}; broadcast {_phase(now.broadcast)}" + (f"  |  {left}" if left else "")


def _picture(now: Shown) -> Group:
    lanes = Table(box=box.SIMPLE_HEAD, title=f"{now.seconds:.0f} s", title_justify="left")
    for title in ("lane", "tokens left", "", "backlog", "in flight"):
        lanes.add_column(title, justify="left" if title in ("lane", "") else "right")
    for lane in now.lanes:
        lanes.add_row(lane.lane, _tokens(lane), _bar(lane), str(lane.backlog), str(lane.in_flight))
    accounts = Table(box=box.SIMPLE_HEAD)
    accounts.add_column("account")
    accounts.add_column("messages")
    for account, statuses in now.statuses.items():
        accounts.add_row(account, "   ".join(f"{status} {count}" for status, count in _ordered(statuses)))
    accounts.add_row(f"{now.broadcast.account}, broadcast", _phase(now.broadcast))
    return Group(lanes, accounts)


def _phase(job: JobView) -> str:
    """How far the broadcast is."""
    progress = job.progress if isinstance(job.progress, Mapping) else {}
    return str(job.status if job.status.final else progress.get("phase") or "waits")


def _tokens(lane: LaneView) -> str:
    limit = lane.limits[0]
    return f"{'?' if limit.left is None else limit.left} of {limit.limit}"


def _bar(lane: LaneView) -> Text:
    limit = lane.limits[0]
    full = round(BAR * (limit.left or 0) / int(limit.limit.partition("/")[0]))
    return Text("█" * full, style="green") + Text("░" * (BAR - full), style="dim")


def _ordered(statuses: Mapping[Status, int]) -> list[tuple[str, Any]]:
    return [(status, statuses[status]) for status in Status if statuses.get(status)]

"""What a terminal shows while recipients are read and while a broadcast runs: a live bar where rich is installed and
somebody watches, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from paceline.broadcast.control import BroadcastView
from paceline.broadcast.definition import Preview

EVERY = 1.0  # seconds between two looks
SAID_EVERY = 10.0  # seconds between two lines where nobody watches live
WAITING = ("queued", "sending")

Say = Callable[[str], None]


@contextmanager
def reading() -> Iterator[Callable[[Preview], None]]:
    """Tells, on stderr, how many recipients have been read."""
    bar = _bar("{task.description}")
    if bar is None:
        yield _reader(_err)
        return
    with bar:
        task = bar.add_task("reading the recipients", total=None)
        yield lambda found: bar.update(task, description=read_so_far(found))


def follow(view: BroadcastView, say: Say) -> BroadcastView:
    """Show how it goes until it is over, once a second; where it stands then."""
    bar = _bar("{task.description}", bar=True)
    if bar is None:
        return _spoken(view, say)
    with bar:
        task = bar.add_task(described(view), total=max(view.counts["messages"], 1))
        while view.status not in ("finished", "cancelled"):
            bar.update(
                task, completed=left_so_far(view), total=max(view.counts["messages"], 1), description=described(view)
            )
            time.sleep(EVERY)  # between two looks at a picture that people watch
            view = view.refresh()
        bar.update(task, completed=left_so_far(view), description=described(view))
    return view


def left_so_far(view: BroadcastView) -> int:
    """How many of its messages wait no more."""
    return view.counts["messages"] - sum(view.counts[name] for name in WAITING)


def described(view: BroadcastView) -> str:
    """Its counts in a line, without those that are zero."""
    skipped = ("recipients", "duplicates", "suppressed", "invalid", "messages", "parts")
    said = [f"{number:,} {name}" for name, number in view.counts.items() if number and name not in skipped]
    return f"{view.name}: {view.status}; {', '.join(said) or 'nothing to send'}"


def read_so_far(found: Preview) -> str:
    """How far the reading is."""
    return f"{found.recipients:,} recipients read, {found.messages:,} will be written to"


def _spoken(view: BroadcastView, say: Say) -> BroadcastView:
    said = 0.0
    while view.status not in ("finished", "cancelled"):
        if time.monotonic() - said >= SAID_EVERY:
            said = time.monotonic()
            say(described(view))
        time.sleep(EVERY)  # between two looks
        view = view.refresh()
    say(described(view))
    return view


def _reader(say: Say) -> Callable[[Preview], None]:
    said = time.monotonic()

    def tell(found: Preview) -> None:
        nonlocal said
        if time.monotonic() - said >= SAID_EVERY:
            said = time.monotonic()
            say(read_so_far(found))

    return tell


def _bar(text: str, *, bar: bool = False) -> Any:
    """A progress of rich's on stderr, if it is installed and stderr is a terminal."""
    if not sys.stderr.isatty():
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    except ImportError:
        return None
    columns = [TextColumn("{task.percentage:>3.0f} %"), BarColumn()] if bar else [SpinnerColumn()]
    return Progress(*columns, TextColumn(text, markup=False), TimeElapsedColumn(), console=Console(stderr=True))


def _err(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

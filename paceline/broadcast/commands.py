"""The commands of broadcasts: `paceline broadcast start FILE | test FILE | list | show | pause | resume | cancel …`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from paceline.broadcast.control import BroadcastView
from paceline.broadcast.definition import Preview
from paceline.broadcast.file import load
from paceline.broadcast.forecast import Forecast
from paceline.broadcast.watching import follow, reading
from paceline.client import Client
from paceline.producing import AsJson, Config, columns, emit
from paceline.views import iso

File = Annotated[Path, typer.Argument(metavar="FILE", help="TOML with the broadcast.")]
Name = Annotated[str, typer.Argument(help="The broadcast's name or id.")]
Rejects = Annotated[
    Path | None, typer.Option(help="A CSV file for the recipients that are left out: line, kind, reason.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Show how it goes until it is over.")]


def broadcasts(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="One message for many recipients.")
    commands = (start, send_test, list_, show, pause, resume, cancel, forecast, retry)
    for command in commands:
        group.command(command.__name__.removeprefix("send_").rstrip("_"))(command)
    app.add_typer(group, name="broadcast")


def start(
    file: File,
    paused: Annotated[bool, typer.Option("--paused", help="Stage it, and wait for `resume`.")] = False,
    rejects: Rejects = None,
    watch: Watch = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Read and check all recipients, say when it will be done, and let it go; the same again goes on."""
    asked = _asked(file, rejects)
    asked["paused"] = paused or asked.get("paused", False)
    with Client(config) as client:
        for warning in client.broadcast_warnings(**asked):
            _warn(warning)
        with reading() as tell:
            view = client.broadcast(**asked, tell=tell, before=None if as_json else _foretell)
        _shown(view, watch=watch, as_json=as_json)


def send_test(
    file: File,
    to: Annotated[list[str], typer.Option(help="One of your own addresses; repeatable.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Send the first recipient's message to addresses of your own, to see what it looks like."""
    asked = _asked(file, None)
    with Client(config) as client:
        receipts = client.broadcast_test(to=to, **asked)
    if as_json:
        emit([{"id": receipt.id, "replayed": receipt.replayed} for receipt in receipts])
    else:
        emit("\n".join(receipt.id for receipt in receipts))


def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100, config: Config = None, as_json: AsJson = False
) -> None:
    """List broadcasts, the newest first."""
    with Client(config) as client:
        views = client.broadcasts(limit)
    if as_json:
        emit([view.as_json() for view in views])
        return
    rows = [
        (
            view.name,
            view.status,
            view.via,
            f"{view.counts['messages']:,}",
            f"{view.counts['queued']:,}",
            iso(view.created_at),
        )
        for view in views
    ]
    emit("\n".join(columns(("name", "status", "via", "messages", "queued", "created_at"), rows)))


def show(name: Name, watch: Watch = False, config: Config = None, as_json: AsJson = False) -> None:
    """Show where a broadcast stands, and when it will be done."""
    with Client(config) as client:
        _shown(client.get_broadcast(name), watch=watch, as_json=as_json)


def pause(name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """Let nothing more of it leave until it is resumed."""
    with Client(config) as client:
        _steered(client.get_broadcast(name).pause(), as_json=as_json)


def resume(name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """Let it go on."""
    with Client(config) as client:
        _steered(client.get_broadcast(name).resume(), as_json=as_json)


def cancel(name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """End it: what has not left never will."""
    with Client(config) as client:
        _steered(client.get_broadcast(name).cancel(), as_json=as_json)


def forecast(
    what: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A broadcast's file, or one that was started.")],
    rejects: Rejects = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say when a broadcast will be done: of one that was started, or of a file, of which nothing is sent."""
    with Client(config) as client:
        if not Path(what).is_file() and not what.endswith(".toml"):
            found = client.get_broadcast(what).forecast()
            emit(found.as_json() if as_json else "\n".join(_foretold(found)))
            return
        with reading() as tell:
            preview, found = client.preview(**_asked(Path(what), rejects), tell=tell)
    if as_json:
        emit({**preview.as_json(), "forecast": found.as_json()})
        return
    for warning in preview.warnings:
        _warn(warning)
    emit("\n".join([*_counted(preview), *_foretold(found)]))


def retry(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Only those whose reason begins like this.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Queue those of its messages again that failed, never one that may have been accepted."""
    with Client(config) as client:
        count = client.retry_broadcast(name, reason)
    emit({"retried": count} if as_json else f"{count:,} messages are queued again.")


def _asked(file: Path, rejects: Path | None) -> dict[str, Any]:
    asked = load(file)
    return asked if rejects is None else {**asked, "rejects": rejects}


def _shown(view: BroadcastView, *, watch: bool, as_json: bool) -> None:
    if watch:
        view = follow(view, _line)
    if as_json:
        emit({**view.as_json(), "forecast": view.forecast().as_json()})
    elif not watch:
        emit("\n".join([*_described(view), *_foretold(view.forecast())]))


def _steered(view: BroadcastView, *, as_json: bool) -> None:
    emit(view.as_json() if as_json else f"{view.name} is {view.status}.")


def _foretell(view: BroadcastView, found: Forecast) -> None:
    names = ("recipients", "duplicates", "suppressed", "invalid", "messages", "parts")
    recipients, duplicates, suppressed, invalid, messages, parts = (view.counts[name] for name in names)
    counted = Preview(recipients, duplicates, suppressed, invalid, messages, parts)
    _line("\n".join([*_counted(counted), *_foretold(found)]))


def _described(view: BroadcastView) -> list[str]:
    facts = {name: value for name, value in view.as_json().items() if name != "counts" and value not in (None, {})}
    facts |= {name: f"{number:,}" for name, number in view.counts.items() if number or name == "messages"}
    width = max(map(len, facts))
    return [f"{name.ljust(width)}  {value}" for name, value in facts.items()]


def _counted(found: Preview) -> list[str]:
    if not found.recipients:
        return []  # its provider counts them, later
    left_out = [
        f"{number:,} {name}"
        for name, number in (
            ("duplicates", found.duplicates),
            ("opted out", found.suppressed),
            ("invalid", found.invalid),
        )
        if number
    ]
    without = f" (left out: {', '.join(left_out)})" if left_out else ""
    return [f"{found.messages:,} of {found.recipients:,} recipients{without}, {found.parts:,} parts"]


def _foretold(found: Forecast) -> list[str]:
    if found.finish_at is None:
        said = f"no end can be told: {found.limited_by or 'it would take over a year'}"
    else:
        said = f"done by {iso(found.finish_at)}" + (f", limited by {found.limited_by}" if found.limited_by else "")
    lines = [said]
    if found.late:
        lines.append("it will be late: some will expire before they can leave")
    return [*lines, found.advice] if found.advice else lines


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _warn(sentence: str) -> None:
    sys.stderr.write(f"paceline: {sentence}\n")

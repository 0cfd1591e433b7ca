"""The commands of the suppression list: `paceline suppressions list | add | remove`."""

import sys
from typing import Annotated

import typer

from paceline.client import Client
from paceline.producing import AsJson, Config, columns, emit
from paceline.suppression import MOST, SuppressionView
from paceline.views import iso, moment

Channel = Annotated[str, typer.Argument(help="sms, email, whatsapp or aurogy: one that an account has.")]
Recipient = Annotated[str, typer.Argument(help="What the provider calls the recipient.")]


def suppressions(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who wants nothing more on a channel.")
    for name, command in (("list", list_), ("add", add), ("remove", remove)):
        group.command(name)(command)
    app.add_typer(group, name="suppressions")


def list_(
    channel: Annotated[str | None, typer.Option(help="Of this channel alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST)] = 1000,
    after: Annotated[
        str | None, typer.Option(metavar="RECIPIENT", help="Go on behind this one of the --channel.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List those who opted out, by channel and recipient."""
    if after is not None and channel is None:
        raise typer.BadParameter("--after takes a recipient of one --channel: give that too")
    with Client(config) as client:
        last = None if after is None else _place(channel or "", after)
        found = client.suppressions(channel, limit=limit, after=last)
    if as_json:
        emit([view.as_json() for view in found])
        return
    rows = [(view.channel, view.recipient, iso(view.at), view.source, view.reason or "") for view in found]
    emit("\n".join(columns(("channel", "recipient", "since", "source", "reason"), rows)))


def add(
    channel: Channel,
    recipient: Recipient,
    reason: Annotated[str | None, typer.Option(help="Why, for those who read the list.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let nothing more through to a recipient."""
    with Client(config) as client:
        added = client.suppress(channel, recipient, reason)
    if as_json:
        emit({"channel": channel, "added": added})
    else:
        emit("They are on the list." if added else "They were on the list.")


def remove(channel: Channel, recipient: Recipient, config: Config = None, as_json: AsJson = False) -> None:
    """Let messages through again; exit code 1 if the recipient was not on the list."""
    with Client(config) as client:
        removed = client.unsuppress(channel, recipient)
    if as_json:
        emit({"channel": channel, "removed": removed})
    elif removed:
        emit("They are off the list.")
    else:
        sys.stderr.write(f"paceline: they are not on the list of {channel}.\n")
    if not removed:
        raise typer.Exit(1)


def _place(channel: str, recipient: str) -> SuppressionView:
    return SuppressionView(channel, recipient, moment(0.0), "", None, None)

"""A producer's commands: `send`, `show`, `list`, `cancel`. Plain text or JSON on stdout."""

import base64
import json
import mimetypes
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from paceline.client import Client
from paceline.errors import InvalidMessage
from paceline.limit import parse_duration
from paceline.messages import KINDS, from_json
from paceline.status import Priority, Status
from paceline.views import MessageView, iso

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The configuration; by default ./paceline.toml.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Pairs = list[str] | None

MOST_ATTACHED = 50_000_000  # bytes of one file, so that none fills the memory before its provider's rule refuses it
_INSTANT = "ISO 8601 with an offset"


def one_of(words: Iterable[str]) -> Callable[[str | None], str | None]:
    """What checks an option that takes one of a few words: anything else is wrong use."""
    known = tuple(words)

    def check(given: str | None) -> str | None:
        if given is not None and given not in known:
            raise typer.BadParameter(f"must be one of {', '.join(known)}")
        return given

    return check


def producers(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (("send", send), ("show", show), ("list", list_), ("cancel", cancel)):
        app.command(name)(command)


def send(
    via: Annotated[str, typer.Argument(help="An account or a route.")],
    to: Annotated[str, typer.Option(help="What the provider calls the recipient.")],
    kind: Annotated[str, typer.Option(help="text, media, template or email.", callback=one_of(KINDS))] = "text",
    text: Annotated[str | None, typer.Option(help="The text; of an e-mail its plain part.")] = None,
    url: Annotated[str | None, typer.Option(help="Where the media is: https.")] = None,
    media_type: Annotated[str | None, typer.Option(help="Such as image/png.")] = None,
    caption: Annotated[str | None, typer.Option()] = None,
    filename: Annotated[str | None, typer.Option()] = None,
    template: Annotated[str | None, typer.Option(help="The template's name.")] = None,
    language: Annotated[str | None, typer.Option(help="The template's language.")] = None,
    variable: Annotated[Pairs, typer.Option(metavar="K=V", help="A variable of the template; repeatable.")] = None,
    subject: Annotated[str | None, typer.Option(help="An e-mail's subject.")] = None,
    html: Annotated[str | None, typer.Option(help="An e-mail's HTML part.")] = None,
    sender: Annotated[str | None, typer.Option()] = None,
    sender_name: Annotated[str | None, typer.Option()] = None,
    reply_to: Annotated[Pairs, typer.Option(help="Repeatable for e-mail.")] = None,
    cc: Annotated[Pairs, typer.Option(help="Repeatable.")] = None,
    bcc: Annotated[Pairs, typer.Option(help="Repeatable.")] = None,
    header: Annotated[Pairs, typer.Option(metavar="K=V", help="An e-mail's header; repeatable.")] = None,
    attachment: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A file that an e-mail carries; repeatable.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again sends nothing new.")] = None,
    priority: Annotated[str, typer.Option(help=f"{', '.join(Priority)}.", callback=one_of(list(Priority)))] = "normal",
    send_at: Annotated[str | None, typer.Option(help=f"{_INSTANT}.")] = None,
    expires_at: Annotated[str | None, typer.Option(help=f"{_INSTANT}.")] = None,
    metadata: Annotated[Pairs, typer.Option(metavar="K=V", help="Repeatable.")] = None,
    option: Annotated[
        Pairs, typer.Option(metavar="K=V", help="A provider's extra; K:=V takes V as JSON; repeatable.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue one message and print its id."""
    fields = {
        "to": to, "text": text, "url": url, "media_type": media_type, "caption": caption, "filename": filename,
        "template": template, "language": language, "variables": _pairs("--variable", variable), "subject": subject,
        "html": html, "sender": sender, "sender_name": sender_name, "cc": cc, "bcc": bcc,
        "headers": _pairs("--header", header), "attachments": [_attached(file) for file in attachment or ()],
        "reply_to": reply_to if kind == "email" else _single(reply_to),
    }  # fmt: skip
    message = from_json({"kind": kind, **{name: value for name, value in fields.items() if value}})
    with Client(config) as client:
        receipt = client.enqueue(
            message,
            via=via,
            idempotency_key=idempotency_key,
            priority=priority,
            send_at=_instant("--send-at", send_at),
            expires_at=_instant("--expires-at", expires_at),
            metadata=_pairs("--metadata", metadata),
            options=_options(option),
        )
    emit({"id": receipt.id, "replayed": receipt.replayed} if as_json else receipt.id)


def show(
    id: Annotated[str | None, typer.Argument(metavar="ID")] = None,  # noqa: A002  # the message's id, as everywhere
    idempotency_key: Annotated[str | None, typer.Option(help="Instead of the id.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show where a message stands, what was tried, and what was said about it."""
    if (id is None) == (idempotency_key is None):
        raise typer.BadParameter("give a message's ID or its --idempotency-key")
    with Client(config) as client:
        view = client.status(id, idempotency_key=idempotency_key)
    emit(view.as_json() if as_json else "\n".join(_described(view)))


def list_(
    status: Annotated[str | None, typer.Option(help=f"{', '.join(Status)}.", callback=one_of(list(Status)))] = None,
    via: Annotated[str | None, typer.Option(help="An account or a route.")] = None,
    since: Annotated[str | None, typer.Option(help=f"{_INSTANT}, or how long ago: 30m, 2h.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List messages, the newest first."""
    with Client(config) as client:
        views = client.messages(status=status, via=via, since=_since(since), limit=limit)
    if as_json:
        emit([view.as_json() for view in views])
        return
    rows = [
        (view.id, str(view.status), view.via, view.priority, iso(view.created_at), view.reason or "") for view in views
    ]
    emit("\n".join(columns(("id", "status", "via", "priority", "created_at", "reason"), rows)))


def cancel(
    id: Annotated[str, typer.Argument(metavar="ID")],  # noqa: A002  # the message's id, as everywhere
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a message that has not left; exit code 1 if it is too late for that."""
    with Client(config) as client:
        cancelled = client.cancel(id)
        status = client.status(id).status
    if as_json:
        emit({"id": id, "cancelled": cancelled, "status": str(status)})
    elif cancelled:
        emit(f"{id} is cancelled.")
    else:
        sys.stderr.write(f"paceline: {id} is {status}: only a message that is queued can be cancelled.\n")
    if not cancelled:
        raise typer.Exit(1)


def emit(answer: object) -> None:
    """Print an answer: text as it is, anything else as JSON."""
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def columns(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines in which what belongs together stands below each other."""
    table = [titles, *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(titles))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _described(view: MessageView) -> list[str]:
    facts = {name: value for name, value in view.as_json().items() if name not in ("attempts", "events")}
    width = max(map(len, facts))
    lines = [f"{name.ljust(width)}  {_word(value)}" for name, value in facts.items() if value not in (None, {})]
    for title, entries in (("attempts", view.attempts), ("events", view.events)):
        shown = [entry.as_json() for entry in entries]
        if shown:
            lines += ["", f"{title}:"]
            lines += columns(list(shown[0]), [[_word(value) for value in entry.values()] for entry in shown])
    return lines


def _word(value: object) -> str:
    if value is None:
        return "-"
    return ", ".join(f"{name}={item}" for name, item in value.items()) if isinstance(value, dict) else str(value)


def _pairs(name: str, given: Pairs) -> dict[str, str]:
    pairs = {}
    for item in given or ():
        key, sign, value = item.partition("=")
        if not key or not sign:
            raise typer.BadParameter(f"{name} takes K=V, such as order=4821")
        pairs[key] = value
    return pairs


def _options(given: Pairs) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for key, value in _pairs("--option", given).items():
        if not key.endswith(":"):
            options[key] = value
            continue
        try:
            options[key[:-1]] = json.loads(value)
        except (ValueError, RecursionError):
            raise typer.BadParameter(f"--option {key}= takes JSON, such as {key}=60") from None
    return options


def _attached(file: Path) -> dict[str, str]:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise typer.BadParameter(f"--attachment {file} must be a file, not a directory, device or pipe")
        if found.st_size > MOST_ATTACHED:
            raise typer.BadParameter(
                f"--attachment {file} has over {MOST_ATTACHED:,} bytes, more than any provider takes"
            )
        content = file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"--attachment {file} cannot be read: {error.strerror}") from None
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return {"filename": file.name, "content": base64.b64encode(content).decode(), "media_type": media_type}


def _single(values: Pairs) -> str | None:
    if values and len(values) > 1:
        raise InvalidMessage("reply_to", "may be given once; only an e-mail has several")
    return values[0] if values else None


def _instant(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(f"{name} takes {_INSTANT}, such as 2026-03-01T09:30:00+00:00")
    return moment


def _since(text: str | None) -> datetime | timedelta | None:
    try:
        return timedelta(seconds=parse_duration(text)) if text else None
    except (ValueError, OverflowError):
        return _instant("--since", text)

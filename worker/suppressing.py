"""The worker's side of the suppression list: what providers report comes onto it, and what waits for somebody who is on
it ends at its claim."""

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, and_, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from paceline.ciphers import Unreadable
from paceline.clock import now
from paceline.content import Content, content_of, keyring_of
from paceline.door import MESSAGE
from paceline.errors import InvalidMessage
from paceline.messages import check_text
from paceline.suppression import LONGEST, SUPPRESSION, Pair, named, normalised, sealed
from worker.rows import encode, table_of
from worker.statements import message
from worker.work import Claimed

OPTED_OUT = "opted_out"

_ENTRY = {"channel": str, "recipient": str, "source": str, "account": str, "reason": str, "sealed": str}
_ID = {"id": str}
_PAIR = {"channel": str, "recipient": str}


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants nothing more on a channel, or (`out` False) wants to be written to again."""

    channel: str
    recipient: str = field(repr=False)
    account: str
    source: str
    out: bool = True


class Suppressing:
    """Statements on the list, built once. Entries are written in their key's order, so that no two wait in a circle."""

    def __init__(self, dialect: str) -> None:
        make = postgresql.insert if dialect == "postgresql" else sqlite.insert
        given = table_of(dialect, "rows", _ENTRY)
        columns = list(_ENTRY)
        self._add = (
            make(SUPPRESSION)
            .from_select(
                [*columns, "at"],
                select(*(given.c[name] for name in columns), now()).where(given.c.channel.is_not(None)),
            )
            .on_conflict_do_nothing()
        )
        gone = table_of(dialect, "rows", _PAIR)
        self._remove = delete(SUPPRESSION).where(
            select(gone.c.channel)
            .where(and_(gone.c.channel == SUPPRESSION.c.channel, gone.c.recipient == SUPPRESSION.c.recipient))
            .exists()
        )
        asked = table_of(dialect, "rows", _ID)
        self._payloads = select(message.c.id, message.c.payload).join(asked, asked.c.id == message.c.id)
        listed = table_of(dialect, "rows", _PAIR)
        self._listed = select(listed.c.channel, listed.c.recipient).join(
            SUPPRESSION,
            and_(SUPPRESSION.c.channel == listed.c.channel, SUPPRESSION.c.recipient == listed.c.recipient),
        )

    def heed(self, connection: Connection, wishes: Iterable[Wish]) -> None:
        """Write down what was wished, the last word of each counting."""
        last = {(wish.channel, normalised(wish.channel, wish.recipient)[:LONGEST]): wish for wish in wishes}
        if not last:
            return
        safe = content_of(connection)
        entries = [(_named(safe, pair), pair[1], wish) for pair, wish in last.items() if all(pair)]
        entries.sort(key=operator.itemgetter(0))
        out = [_entry(safe, name, recipient, wish) for name, recipient, wish in entries if wish.out]
        back = [dict(zip(_PAIR, name, strict=True)) for name, _, wish in entries if not wish.out]
        if out:
            connection.execute(self._add, {"rows": encode(out)})
        if back:
            connection.execute(self._remove, {"rows": encode(back)})

    def told_by(self, connection: Connection, messages: Mapping[str, tuple[str, str]], source: str) -> None:
        """Put the recipients of these messages on the list: by message id, its channel and its account."""
        if messages:
            rows = encode([{"id": id_} for id_ in sorted(messages)])
            found = connection.execute(self._payloads, {"rows": rows}).all()
            told = [(*messages[row.id], addressee(connection, row.id, row.payload)) for row in found]
            self.heed(connection, [Wish(channel, to, account, source) for channel, account, to in told if to])

    def mark(
        self, connection: Connection, channels: Mapping[str, str], taken: Sequence[Claimed]
    ) -> tuple[Claimed, ...]:
        """The claimed messages, with those marked whose recipient is on the list of their account's channel.

        `channels` is by `via`.
        """
        safe = content_of(connection)
        to = {item.id: _addressee(item.payload) for item in taken if channels.get(item.via)}
        pairs = {
            item.id: _named(safe, (channels[item.via], normalised(channels[item.via], to[item.id])))
            for item in taken
            if to.get(item.id)
        }
        asked = encode([dict(zip(_PAIR, pair, strict=True)) for pair in sorted(set(pairs.values()))])
        listed = {(row.channel, row.recipient) for row in connection.execute(self._listed, {"rows": asked})}
        return tuple(replace(item, suppressed=True) if pairs.get(item.id) in listed else item for item in taken)


def _named(safe: Content, pair: Pair) -> Pair:
    return named(safe, [pair])[0]


def addressee(connection: Connection, message_id: str, stored: str) -> str:
    """Whom the message of this row is for; empty if nobody can tell."""
    try:
        return _addressee(keyring_of(connection).open(stored, MESSAGE, message_id))
    except Unreadable:
        return ""


def _addressee(payload: str) -> str:
    """Whom a message is for; nobody where its payload has been erased meanwhile, or is none."""
    try:
        content = json.loads(payload)
        to = content.get("to") if isinstance(content, dict) else None
        check_text("to", to)  # or no database could be asked about it
    except (ValueError, RecursionError, InvalidMessage):
        return ""
    return str(to)


def _entry(safe: Content, pair: Pair, recipient: str, wish: Wish) -> dict[str, Any]:
    return {
        "channel": pair[0],
        "recipient": pair[1],
        "sealed": sealed(safe, pair[0], recipient),
        "source": wish.source,
        "account": wish.account,
        "reason": OPTED_OUT,
    }

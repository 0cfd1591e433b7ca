"""The worker's side of the suppression list: what providers report comes onto it, and what waits for somebody who is on
it ends at its claim."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Text, and_, cast, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from paceline.clock import now
from paceline.suppression import LONGEST, SUPPRESSION, normalised
from worker.rows import encode, table_of
from worker.statements import message
from worker.work import Claimed

OPTED_OUT = "opted_out"

_ENTRY = {"channel": str, "recipient": str, "source": str, "account": str, "reason": str}
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
        # The payload may have been erased meanwhile: then nobody can be named.
        recipient: Any = (
            cast(message.c.payload, JSONB)["to"].astext
            if dialect == "postgresql"
            else func.json_extract(message.c.payload, "$.to", type_=Text())
        )
        self._recipients = select(message.c.id, recipient.label("recipient")).join(asked, asked.c.id == message.c.id)
        listed = table_of(dialect, "rows", _PAIR)
        self._listed = select(listed.c.channel, listed.c.recipient).join(
            SUPPRESSION,
            and_(SUPPRESSION.c.channel == listed.c.channel, SUPPRESSION.c.recipient == listed.c.recipient),
        )

    def heed(self, connection: Connection, wishes: Iterable[Wish]) -> None:
        """Write down what was wished, the last word of each counting."""
        last = {(wish.channel, normalised(wish.channel, wish.recipient)[:LONGEST]): wish for wish in wishes}
        entries = [(pair, wish) for pair, wish in sorted(last.items()) if all(pair)]
        out = [_entry(pair, wish) for pair, wish in entries if wish.out]
        back = [dict(zip(_PAIR, pair, strict=True)) for pair, wish in entries if not wish.out]
        if out:
            connection.execute(self._add, {"rows": encode(out)})
        if back:
            connection.execute(self._remove, {"rows": encode(back)})

    def told_by(self, connection: Connection, messages: Mapping[str, tuple[str, str]], source: str) -> None:
        """Put the recipients of these messages on the list: by message id, its channel and its account."""
        if messages:
            rows = encode([{"id": id_} for id_ in sorted(messages)])
            found = connection.execute(self._recipients, {"rows": rows}).all()
            self.heed(
                connection,
                [
                    Wish(messages[row.id][0], row.recipient, messages[row.id][1], source)
                    for row in found
                    if row.recipient
                ],
            )

    def mark(
        self, connection: Connection, channels: Mapping[str, str], taken: Sequence[Claimed]
    ) -> tuple[Claimed, ...]:
        """The claimed messages, with those marked whose recipient is on the list of their account's channel.

        `channels` is by `via`.
        """
        rows = encode([{"id": item.id} for item in taken if channels.get(item.via)])
        to = {row.id: row.recipient for row in connection.execute(self._recipients, {"rows": rows}) if row.recipient}
        pairs = {
            item.id: (channels[item.via], normalised(channels[item.via], to[item.id]))
            for item in taken
            if item.id in to
        }
        asked = encode([dict(zip(_PAIR, pair, strict=True)) for pair in sorted(set(pairs.values()))])
        listed = {(row.channel, row.recipient) for row in connection.execute(self._listed, {"rows": asked})}
        return tuple(replace(item, suppressed=True) if pairs.get(item.id) in listed else item for item in taken)


def _entry(pair: tuple[str, str], wish: Wish) -> dict[str, Any]:
    return {
        "channel": pair[0],
        "recipient": pair[1],
        "source": wish.source,
        "account": wish.account,
        "reason": OPTED_OUT,
    }

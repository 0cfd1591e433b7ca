"""Who wants nothing more on a channel. Enqueue refuses a message to them, and a claim ends one that was waiting.

A channel is what kind of address its recipients are: `sms`, `email`, `whatsapp`, `aurogy`. Accounts of several
providers may share one.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, String, and_, bindparam, cast, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from paceline import tables
from paceline.capabilities import Rule, broken_rule
from paceline.ciphers import Unreadable
from paceline.clock import now
from paceline.content import CLEAR, Content, content_of, keyring_of
from paceline.directory import Via
from paceline.errors import InvalidMessage
from paceline.messages import check_text
from paceline.transactions import Transaction
from paceline.views import iso, moment

SUPPRESSION = tables.columns(tables.Suppression)
MOST = 10_000
LONGEST = 512  # characters of a recipient
# What its recipients are on a channel that several providers share, whatever each of these calls them.
FORMS_BY_CHANNEL = {"sms": "phone", "whatsapp": "phone", "email": "email"}

HIDDEN = "(encrypted)"  # a recipient, where there is no key to read it with

Pair = tuple[str, str]  # a channel and a recipient as `normalised` writes it, or as `named` makes of that


@dataclass(frozen=True, slots=True)
class SuppressionView:
    """One entry of the list: who, since when, and who told (`webhook`, `response`, `poll`, `operator`).

    Its repr leaves out whom it is about.
    """

    channel: str
    recipient: str = field(repr=False)
    at: datetime
    source: str
    account: str | None
    reason: str | None = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Plain data, the time in ISO 8601."""
        said = {"channel": self.channel, "recipient": self.recipient, "at": iso(self.at)}
        return {**said, "source": self.source, "account": self.account, "reason": self.reason}


class Suppressed(InvalidMessage):
    """The recipient wants nothing more on this channel; nothing was stored."""

    def __init__(self, field_name: str = "to", rule: str = "") -> None:
        super().__init__(field_name, rule)


def refusal(channel: str) -> Suppressed:
    """What enqueue raises for a recipient who opted out."""
    return Suppressed(
        "to",
        f"has opted out of the channel {channel}, or cannot be reached there; remove it from the suppression list only "
        "if they ask to be written to again",
    )


def normalised(channel: str, recipient: str) -> str:
    """The recipient in the one way in which the list writes it: addresses in lower case, numbers without spaces."""
    if channel == "email":
        return recipient.strip().lower()
    if channel in ("sms", "whatsapp"):
        return "".join(character for character in recipient if character not in " -()./\t")
    return recipient.strip()


def pairs_of(channels: Collection[str], recipient: str) -> tuple[Pair, ...]:
    """What must not be on the list for a message that may go by these channels."""
    return tuple((channel, normalised(channel, recipient)) for channel in dict.fromkeys(channels) if channel)


def named(safe: Content, pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs as the list holds them."""
    if safe.clear:
        return tuple(pairs)
    return tuple((channel, safe.name(channel, recipient)) for channel, recipient in pairs)


def sealed(safe: Content, channel: str, recipient: str) -> str | None:
    """The recipient, encrypted, where the list holds but a digest of it."""
    name = safe.name(channel, recipient)
    return None if name == recipient else safe.seal(recipient, "suppression", channel, name)


def find(transaction: Transaction, pairs: Collection[Pair]) -> set[Pair]:
    """Those of these pairs, as `named` makes them, that are on the list."""
    if not pairs:
        return set()
    asked = json.dumps([list(pair) for pair in sorted(set(pairs))])
    return {(row[0], row[1]) for row in transaction.run(FIND[transaction.dialect], {"asked": asked})}


def listed(connection: Connection, channel: str | None, limit: int, after: Pair | None) -> list[SuppressionView]:
    """Entries in the order of channel and recipient, `after` that of the last one seen.

    Where content is encrypted they stand in the order of what the list holds instead of the recipients.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        raise InvalidMessage("limit", f"must be a whole number from 1 to {MOST:,}")
    key = tuple_(SUPPRESSION.c.channel, SUPPRESSION.c.recipient)
    statement = select(SUPPRESSION).order_by(SUPPRESSION.c.channel, SUPPRESSION.c.recipient).limit(limit)
    if channel is not None:
        statement = statement.where(SUPPRESSION.c.channel == channel)
    if after is not None:
        statement = statement.where(key > tuple_(*named(content_of(connection), [after])[0]))
    return [
        SuppressionView(row.channel, _recipient(connection, row), moment(row.at), row.source, row.account, row.reason)
        for row in connection.execute(statement)
    ]


def _recipient(connection: Connection, row: Any) -> str:
    if row.sealed is None:
        return str(row.recipient)
    try:
        return keyring_of(connection).open(row.sealed, "suppression", row.channel, row.recipient)
    except Unreadable:
        return HIDDEN


def add(transaction: Transaction, channel: str, recipient: str, reason: str | None, safe: Content = CLEAR) -> bool:
    """Put somebody on the list, by hand; False if they were on it."""
    if reason is not None:
        check_text("reason", reason)
    known = _checked(channel, recipient)
    values = {"new_channel": channel, "new_recipient": safe.name(channel, known), "new_reason": reason}
    values["new_sealed"] = sealed(safe, channel, known)
    return bool(transaction.run(_ADD[transaction.dialect], values))


def remove(transaction: Transaction, channel: str, recipient: str, safe: Content = CLEAR) -> bool:
    """Take somebody off the list; False if they were not on it."""
    values = {"old_channel": channel, "old_recipient": safe.name(channel, _checked(channel, recipient))}
    return bool(transaction.run(_REMOVE, values))


def channels_of(vias: Iterable[Via]) -> dict[str, list[Rule]]:
    """The channels that these accounts have, each with what their messages' `to` may be."""
    found: dict[str, list[Rule]] = {}
    for carrier in (carrier for via in vias for carrier in via.carriers if carrier.capabilities.channel):
        rules = [kind["to"] for kind in carrier.capabilities.kinds.values() if "to" in kind]
        found.setdefault(carrier.capabilities.channel, []).extend(rules)
    return found


def check_recipient(channel: str, recipient: object, rules: Collection[Rule] = ()) -> str:
    """The recipient as the list writes it; `InvalidMessage` unless it is what the channel's recipients look like.

    `rules` are those of a channel whose recipients have no form that everybody knows: one of them must be kept.
    """
    found = _checked(channel, recipient)
    if channel in FORMS_BY_CHANNEL:
        rules = (Rule(form=FORMS_BY_CHANNEL[channel]),)
    broken = [sentence for rule in rules if (sentence := broken_rule(found, rule)) is not None]
    if rules and len(broken) == len(rules):
        raise InvalidMessage("recipient", broken[0])
    return found


def check_channel(channel: object, known: Collection[str]) -> str:
    """The channel, if an account has it; `InvalidMessage` names those there are."""
    if not isinstance(channel, str) or channel not in known:
        raise InvalidMessage("channel", f"must be one of {', '.join(sorted(known))}")
    return channel


def _checked(channel: str, recipient: object) -> str:
    found = normalised(channel, recipient) if isinstance(recipient, str) else ""
    if not found or len(found) > LONGEST or "\x00" in found:
        raise InvalidMessage("recipient", f"must be a string of 1 to {LONGEST} characters")
    return found


def _asked(dialect: str) -> Any:
    """The pairs of the parameter, as a subquery."""
    given = bindparam("asked", type_=String())
    if dialect == "postgresql":
        each = func.jsonb_array_elements(cast(given, JSONB())).table_valued("value", name="each")
        pair: Any = cast(each.c.value, JSONB())
        return select(pair[0].astext, pair[1].astext)
    each = func.json_each(given).table_valued("value", name="each")
    return select(
        func.json_extract(each.c.value, "$[0]", type_=String()), func.json_extract(each.c.value, "$[1]", type_=String())
    )


def _find(dialect: str) -> Executable:
    key = tuple_(SUPPRESSION.c.channel, SUPPRESSION.c.recipient)
    return select(SUPPRESSION.c.channel, SUPPRESSION.c.recipient).where(key.in_(_asked(dialect)))


def _add(dialect: Any) -> Executable:
    values = {
        "channel": bindparam("new_channel", type_=String()),
        "recipient": bindparam("new_recipient", type_=String()),
        "reason": bindparam("new_reason", type_=String()),
        "sealed": bindparam("new_sealed", type_=String()),
        "source": "operator",
        "at": now(),
    }
    made: Executable = (
        dialect.insert(SUPPRESSION).values(values).on_conflict_do_nothing().returning(SUPPRESSION.c.channel)
    )
    return made


FIND: dict[str, Executable] = {dialect: _find(dialect) for dialect in ("postgresql", "sqlite")}
_ADD: dict[str, Executable] = {"postgresql": _add(postgresql), "sqlite": _add(sqlite)}
_REMOVE = (
    delete(SUPPRESSION)
    .where(
        and_(
            SUPPRESSION.c.channel == bindparam("old_channel", type_=String()),
            SUPPRESSION.c.recipient == bindparam("old_recipient", type_=String()),
        )
    )
    .returning(SUPPRESSION.c.channel)
)

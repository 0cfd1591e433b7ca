"""From a definition and its recipients to messages: rendered, addressed, checked, each with the line it will stand in.

Nothing here writes: `staging` stores what comes out of it, and `preview` only counts it.
"""

import hashlib
import hmac
import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import phonenumbers
from phonenumbers import timezone as phone_zones

from paceline.broadcast.definition import Definition, Preview
from paceline.broadcast.recipients import BadRecipients, Row
from paceline.broadcast.rendering import Rendering
from paceline.broadcast.schedule import check_zone, local_instant, zone_of
from paceline.bulk import CHUNK
from paceline.capabilities import check, parts
from paceline.content import Content
from paceline.directory import Via
from paceline.door import MESSAGE, Entry, payload_of
from paceline.errors import InvalidMessage
from paceline.ids import new_id
from paceline.messages import Message
from paceline.opened import Opened
from paceline.status import LEVELS
from paceline.suppression import find, named, normalised, pairs_of
from paceline.transactions import CoreTransaction

PHONES = ("sms", "whatsapp")  # the channels whose recipients are numbers

Reject = tuple[int, str, str]  # the line; invalid, duplicate or suppressed; the rule
Tell = Callable[[Preview], None]
Write = Callable[[Iterable[Reject]], None]

KINDS: Mapping[str, str] = {
    "suppressed": "to: has opted out of this channel",
    "duplicate": "to: stands in an earlier line too",
}


@dataclass(frozen=True, slots=True)
class Staged:
    """A recipient's message, checked: its row, and the parts it is billed as.

    `zone` and `day` (of the ramp-up, from 1) name the line of the broadcast's in which it stands.
    """

    line: int
    entry: Entry
    zone: str
    day: int
    parts: int


@dataclass(slots=True)
class Progress:
    """How far the reading has come: rows, a digest of all of them, and what became of them."""

    cursor: int = 0
    recipients: int = 0
    duplicates: int = 0
    suppressed: int = 0
    invalid: int = 0
    messages: int = 0
    parts: int = 0
    rows: Any = field(default_factory=hashlib.sha256, repr=False)

    @property
    def digest(self) -> str:
        """Of the rows read so far, hexadecimal."""
        return str(self.rows.hexdigest())

    def preview(self) -> Preview:
        """As the caller sees it."""
        return Preview(self.recipients, self.duplicates, self.suppressed, self.invalid, self.messages, self.parts)

    def read(self, row: Row) -> None:
        """Count a row in."""
        columns = row.columns
        said = "\x1f".join(columns) + "\x1e" + "\x1f".join(columns.values()) + "\x1d"
        self.rows.update(said.encode("utf-8", "surrogatepass"))
        self.cursor += 1
        self.recipients += 1


@dataclass(slots=True)
class Chunk:
    """What one transaction stores. `before` is the cursor in front of it."""

    before: int
    staged: list[Staged] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


class Expander:
    """Makes one broadcast's messages.

    `safe` is how the installation writes content; `broadcast_id` the one whose keys they bear; `began`, Unix seconds,
    when it was ordered: what lay in the future then is not refused now.
    """

    def __init__(self, definition: Definition, via: Via, safe: Content, broadcast_id: str, began: float) -> None:
        self._definition = definition
        self._via = via
        self.safe = safe
        self._id = broadcast_id
        self._began = began
        self._rendering = Rendering(definition.message, definition.defaults)
        self._channels = [carrier.capabilities.channel for carrier in via.carriers]
        self._channel = next(iter(self._channels), "")
        self._level = [str(level) for level in LEVELS].index(definition.priority)
        self._ends = definition.ramp_up.ends() if definition.ramp_up is not None else ()
        self._known_zones: dict[str, str] = {}
        self._extras_checked = False

    def chunks(self, rows: Iterable[Row], size: int, progress: Progress) -> Iterator[Chunk]:
        """The rows' messages, `size` rows at a time; `progress` has counted a chunk's rows when it is yielded.

        Raises `BadRecipients` where everybody is refused for the same reason: then the account is not for these.
        """
        iterator = iter(rows)
        while batch := list(itertools.islice(iterator, size)):
            chunk = Chunk(progress.cursor)
            for row in batch:
                progress.read(row)
                try:
                    chunk.staged.append(self.stage(row, progress.recipients - progress.invalid))
                except BadRecipients:
                    raise
                except InvalidMessage as error:
                    self._blame(error)
                    progress.invalid += 1
                    chunk.rejects.append((row.line, "invalid", f"{error.field}: {error.rule}"))
            if not chunk.before and not chunk.staged and len({reason for _, _, reason in chunk.rejects}) == 1:
                line, _, reason = chunk.rejects[0]
                raise BadRecipients("recipients", f"and all that follow are refused alike: {reason}", line)
            yield chunk

    def stage(self, row: Row, ordinal: int = 1) -> Staged:
        """One recipient's message, the so many-th. Raises `BadRecipients` for a missing column, `InvalidMessage` for
        anything else."""
        definition = self._definition
        message = self._addressed(self._rendering.render(row))
        billed = self._checked(message)
        asked = pairs_of(self._channels, message.to)
        id_ = new_id()
        entry = Entry(
            id=id_,
            via=self._via,
            priority=self._level,
            payload=self.safe.seal(
                payload_of(message.as_json(), definition.metadata, definition.options), MESSAGE, id_
            ),
            idempotency_key=self.key(asked[0][1] if asked else message.to),
            digest="",
            send_at=None,
            expires_at=definition.expires_at,
            ready=True,
            asked=named(self.safe, asked),
            broadcast=True,
        )
        return Staged(
            row.line, entry, self._zone(row, message) if definition.by_recipient else "", self._day(ordinal), billed
        )

    def sample(self, row: Row, to: str) -> Message:
        """The recipient's message, addressed to somebody else. Raises what `stage` does."""
        message = self._addressed(_readdressed(self._rendering.render(row), to))
        self._checked(message)
        return message

    def key(self, recipient: str) -> str:
        """What makes a recipient of this broadcast one: a keyed digest, since a key is no place for a number."""
        said = f"broadcast\0{self._id}\0{recipient}".encode("utf-8", "surrogatepass")
        return f"broadcast/{self._id}/{hmac.digest(self.safe.secret, said, 'sha256').hex()[:32]}"

    def _checked(self, message: Message) -> int:
        """Check it against every account that may carry it; the parts that it is billed as."""
        definition, most = self._definition, 1
        # Metadata and options are the same for all.
        extras = (None, None) if self._extras_checked else (definition.metadata, definition.options)
        for carrier in self._via.carriers:
            check(carrier.capabilities, carrier.account, message, *extras)
            most = max(most, parts(carrier.capabilities, message))
        self._extras_checked = True
        return most

    def _addressed(self, message: Message) -> Message:
        """Without the spaces and signs that people write; with a number that is written as at home written as abroad,
        where the definition names the home."""
        to = normalised(self._channel, message.to) if self._channel in PHONES else message.to.strip()
        region = self._definition.default_region
        if region is not None and self._channel in PHONES and not to.startswith("+"):
            to = _abroad(to, region)
        return message if to == message.to else _readdressed(message, to)

    def _day(self, ordinal: int) -> int:
        """The day of the ramp-up on which the so many-th message goes, from 1."""
        if not self._ends:
            return 1
        for day, end in enumerate(self._ends, 1):
            if ordinal <= end:
                return day
        raise InvalidMessage("ramp_up", f"takes more than {len(self._ends)} days for so many: raise first or growth")

    def _zone(self, row: Row, message: Message) -> str:
        column = self._definition.zone_column
        if column is not None and column not in row.columns:
            raise BadRecipients("recipients", f"has no {column}, which zone_column names", row.line)
        zone = _zone_of_number(message.to, self._began) if column is None else row.columns[column].strip()
        if zone not in self._known_zones:
            check_zone(zone, column or "timezone")
            self._known_zones[zone] = self._checked_start(zone, row.line)
        return zone

    def _checked_start(self, zone: str, line: int) -> str:
        """Raise if the time it is to go at does not exist there, or is over."""
        text = self._definition.local_send_at
        if text is not None:
            try:
                at = local_instant(datetime.fromisoformat(text), zone)
            except InvalidMessage as error:
                raise BadRecipients("recipients", f"is in {zone}, where send_at {error.rule}", line) from None
            if at <= self._began:
                raise BadRecipients("recipients", f"is in {zone}, where send_at is over: take a later time", line)
        return zone

    def _blame(self, error: InvalidMessage) -> None:
        """Raise what is the message's own fault and not a recipient's: every row would be refused alike."""
        name = error.field.partition(".")[0].partition("[")[0]
        columns = set(self._rendering.columns.values())
        if name not in columns | {"to"} and error.field != self._definition.zone_column:
            raise error


@dataclass(frozen=True, slots=True)
class Previewed:
    """What a broadcast would do: the counts, and how many messages go in each zone on each day of its ramp-up."""

    preview: Preview
    lines: Mapping[tuple[str, int], int]


def preview(opened: Opened, rows: Iterator[Row], expander: Expander, *, rejects: Write, tell: Tell) -> Previewed:
    """Read and check everything and store nothing. Raises `BadRecipients` and `InvalidMessage`."""
    progress, lines = Progress(), Counter[tuple[str, int]]()
    with closing(sqlite3.connect("")) as seen:  # a file of its own that vanishes: a million recipients fit
        seen.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        for chunk in expander.chunks(rows, CHUNK["postgresql"], progress):
            pairs = {pair for item in chunk.staged for pair in item.entry.asked}
            with opened.read() as connection:
                refused = find(CoreTransaction(connection), pairs)
            for item in chunk.staged:
                asked, key = item.entry.asked, item.entry.idempotency_key
                if asked and refused.issuperset(asked):
                    progress.suppressed += 1
                    chunk.rejects.append((item.line, "suppressed", KINDS["suppressed"]))
                elif not seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount:
                    progress.duplicates += 1
                    chunk.rejects.append((item.line, "duplicate", KINDS["duplicate"]))
                else:
                    progress.messages += 1
                    progress.parts += item.parts
                    lines[item.zone, item.day] += 1
            rejects(sorted(chunk.rejects))
            tell(progress.preview())
    return Previewed(progress.preview(), lines)


def _readdressed(message: Message, to: str) -> Message:
    values = {**message.as_json(), "to": to}
    del values["kind"]
    return type(message)(**values)


def _abroad(to: str, region: str) -> str:
    try:
        number = phonenumbers.parse(to, region)
    except phonenumbers.NumberParseException:
        number = None
    # By its length, as numbers with + are taken by their form: which ranges are in use, the provider knows best.
    if (
        number is None
        or phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE
    ):
        raise InvalidMessage("to", f"must be a phone number, of {region} or with + and the country's code")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _zone_of_number(to: str, at: float) -> str:
    """The zone in which a number is, if all that it may be in have the same time then."""
    try:
        zones = phone_zones.time_zones_for_number(phonenumbers.parse(to, None))
    except phonenumbers.NumberParseException:
        zones = ()
    known = [zone for zone in zones if zone != phone_zones.UNKNOWN_TIMEZONE]
    times = {datetime.fromtimestamp(at, zone_of(zone)).utcoffset() for zone in known}
    if len(times) != 1:
        raise InvalidMessage("to", "tells no single time zone: name a zone_column")
    return str(known[0])

"""Fetching a contact list's CSV from its URL, beside the event loop's other work, and reading it."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from sandbox.politicalcomms.bodies import STANDARD, MergeTags

TIMEOUT = aiohttp.ClientTimeout(total=30.0)
_DIGITS = re.compile(r"\D")


@dataclass
class Contacts:
    """What a CSV holds: each phone number once, with the values of its merge tags, and what was left out."""

    rows: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    total: int = 0
    duplicates: int = 0
    bad: int = 0
    opted_out: int = 0
    tags: tuple[str, ...] = ()


class Unusable(Exception):
    """No contacts can be had from it."""


async def fetch(url: str, most: int) -> str:
    """The file behind a URL, at most `most` bytes; raises `Unusable`."""
    try:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, session.get(url) as response:
            if response.status != 200:
                raise Unusable
            content = await response.content.read(most + 1)
            while len(content) <= most and (more := await response.content.read(most + 1 - len(content))):
                content += more
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        raise Unusable from None
    if len(content) > most:
        raise Unusable
    return content.decode("utf-8-sig", "replace")


def made_up(count: int) -> str:
    """A CSV of so many contacts."""
    lines = ["phone,first_name"]
    lines += [f"+1555{5_000_000 + number:07},Contact {number}" for number in range(count)]
    return "\n".join(lines)


def phone_of(value: str) -> str:
    """A number of the US or Canada as E.164; empty if it is none."""
    digits = _DIGITS.sub("", value)
    digits = digits if len(digits) == 11 else f"1{digits}"
    return f"+{digits}" if re.fullmatch(r"1[2-9]\d{9}", digits) else ""


def read_contacts(
    text: str, column: str, tags: MergeTags | None, opted_out: set[str], most: int, *, any_column: bool = False
) -> Contacts:
    """Reads a CSV; raises `Unusable` where the phone column is missing or there are too many rows."""
    reader = csv.DictReader(io.StringIO(text))
    header = list(reader.fieldnames or ())
    if column not in header:
        if not any_column or not header:
            raise Unusable
        column = header[0]
    columns = _columns(header, column, tags)
    found, seen = Contacts(tags=tuple(columns)), set[str]()
    for row in reader:
        found.total += 1
        if found.total > most:
            raise Unusable
        phone = phone_of(row.get(column) or "")
        if not phone:
            found.bad += 1
        elif phone in seen:
            found.duplicates += 1
        elif phone in opted_out:
            found.opted_out += 1
        else:
            seen.add(phone)
            found.rows.append((phone, {tag: row.get(source) or "" for tag, source in columns.items()}))
    return found


def _columns(header: list[str], column: str, tags: MergeTags | None) -> Mapping[str, str]:
    """Merge tag → column: those that were listed, or every other column under its header's name."""
    if tags is None:
        return {re.sub(r"\W+", "_", name.strip().lower()): name for name in header if name != column}
    listed = {tag: getattr(tags, tag) for tag in STANDARD if getattr(tags, tag) is not None}
    listed |= {custom.merge_tag: custom.csv_column for custom in tags.custom_fields}
    if any(source not in header for source in listed.values()):
        raise Unusable
    return listed

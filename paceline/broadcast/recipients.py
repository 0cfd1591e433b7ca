"""Recipients as they come: a CSV or JSON-lines file, or any iterable of mappings; streamed, with the line of each.

A file is read a line at a time, and no line may be longer than a megabyte, so that a million recipients need no more
memory than one. Every refusal names the line, and none of them quotes what stands there.
"""

import codecs
import csv
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

from paceline.errors import InvalidMessage

LONGEST_LINE = 1_000_000  # characters
JSON_LINES = (".jsonl", ".ndjson", ".json")
DELIMITERS = ",;\t|"

URLS = ("https://", "http://")

Source = str | PathLike[str] | Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """One recipient: where it stands (the file's line, or its place counted from 1) and its columns, as text."""

    line: int
    columns: Mapping[str, str] = field(repr=False)


class BadRecipients(InvalidMessage):
    """The recipients cannot be read; nothing was queued. `line` is where, 0 if it is the whole."""

    def __init__(self, field_name: str, rule: str, line: int = 0) -> None:
        super().__init__(field_name, f"line {line} {rule}" if line else rule)
        self.line = line

    def __reduce__(self) -> Any:
        return _revived, (self.field, self.rule, self.line)


def _revived(field_name: str, rule: str, line: int) -> BadRecipients:
    error = BadRecipients(field_name, rule)
    error.line = line
    return error


def read(source: Source) -> Iterator[Row]:
    """The recipients in order. Raises `BadRecipients`, which names the line and the rule."""
    if isinstance(source, str) and source.startswith(URLS):
        raise BadRecipients("recipients", "must be a file here: only a provider that imports them itself takes a URL")
    if isinstance(source, str | PathLike):
        return _file(Path(source))
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise BadRecipients("recipients", "must be a path, or an iterable of mappings of column to value")
    return _mappings(source)


def _file(path: Path) -> Iterator[Row]:
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise BadRecipients("recipients", "must be a file, which can be read again, and not a pipe or a device")
        # utf-8-sig drops a byte order mark; the newlines inside quoted fields are csv's to read.
        file = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise BadRecipients("recipients", f"cannot be opened ({type(error).__name__}): check the path") from None
    rows = _json_lines if path.suffix.lower() in JSON_LINES else _csv
    with file:
        yield from rows(_Lines(file))


class _Lines:
    """The lines of a text file, each of bounded length; counts them."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.number += 1
        try:
            line = self._file.readline(LONGEST_LINE + 1)
        except UnicodeDecodeError:
            # The file is read ahead, a block at a time: the line is this one or a later one.
            where = _line_not_utf8(self._file)
            raise BadRecipients("recipients", "is not UTF-8: save the file as UTF-8", where) from None
        if len(line) > LONGEST_LINE:
            raise BadRecipients("recipients", f"is longer than {LONGEST_LINE:,} characters", self.number)
        if "\x00" in line:
            raise BadRecipients("recipients", "holds the character NUL: this is no text file in UTF-8", self.number)
        if not line:
            raise StopIteration
        return line


def _line_not_utf8(file: TextIO) -> int:
    """The first line of a file whose bytes are no UTF-8; 0, the whole, if it cannot be read again."""
    decoder, ends = codecs.getincrementaldecoder("utf-8")(), Counter[bytes]()
    block = b"read"
    try:
        file.buffer.seek(0)
        while block:
            block = file.buffer.read(LONGEST_LINE)
            decoder.decode(block, final=not block)
            ends.update({end: block.count(end) for end in (b"\n", b"\r")})
    except UnicodeDecodeError as error:
        good = error.object[: error.start]
        return 1 + max(ends[end] + good.count(end) for end in (b"\n", b"\r"))
    except OSError:
        pass
    return 0


def _csv(lines: _Lines) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_LINE)
    first = next(lines, "")
    if not first.strip():
        raise BadRecipients("recipients", "holds nothing: its first line must name the columns")
    reader = csv.reader(itertools.chain([first], lines), delimiter=_delimiter(first), strict=True)
    header = _header(_next(reader, 1) or [], lines.number)
    number, found = lines.number + 1, False
    while (cells := _next(reader, number)) is not None:
        if cells:  # a blank line is nobody
            if len(cells) > len(header):
                raise BadRecipients("recipients", f"has {len(cells)} cells, the header names {len(header)}", number)
            found = True
            yield Row(number, dict(zip(header, cells, strict=False)))
        number = lines.number + 1
    if not found:
        raise BadRecipients("recipients", "holds no recipient below its header")


def _next(reader: Iterator[list[str]], number: int) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error:
        raise BadRecipients("recipients", "is broken CSV: look for a quote that is not closed", number) from None


def _delimiter(header: str) -> str:
    """The one of the usual delimiters that the header holds most of, outside of quotes."""
    bare = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=bare.count)


def _header(cells: Sequence[str], line: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    if not all(names):
        raise BadRecipients("recipients", "must give every column a name", line)
    if len(set(names)) < len(names):
        raise BadRecipients("recipients", "names a column twice", line)
    return names


def _json_lines(lines: _Lines) -> Iterator[Row]:
    found = False
    for text in lines:
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRecipients("recipients", "is not JSON: write one object a line", lines.number) from None
        found = True
        yield Row(lines.number, _columns(value, lines.number))
    if not found:
        raise BadRecipients("recipients", "holds no recipient")


def _mappings(source: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    number = 0
    for number, value in enumerate(source, 1):
        yield Row(number, _columns(value, number))
    if not number:
        raise BadRecipients("recipients", "holds no recipient")


def _columns(value: object, line: int) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise BadRecipients("recipients", "must be an object of columns and their values", line)
    return {str(name): _text(name, item, line) for name, item in value.items() if item is not None}


def _text(name: object, value: object, line: int) -> str:
    if isinstance(value, str):
        return value
    # What is no number is how a data frame writes that there is nothing: nobody is called "nan".
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRecipients("recipients", f"holds neither text nor a number in {name}: write it as text", line)
    return str(value)

"""One message for many recipients: `{column}` in any of its string fields stands for the recipient's own.

`{{` and `}}` are braces. What a template asks for is known before the first row is read.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from paceline.broadcast.recipients import BadRecipients, Row
from paceline.errors import InvalidMessage
from paceline.messages import KINDS, Message

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[^\s{}][^{}]*")

Fill = Callable[[Mapping[str, str]], Any]


class Rendering:
    """A message with `{columns}`. `columns` are those that it names; `defaults` serve where a row has none."""

    def __init__(self, message: Message, defaults: Mapping[str, str] | None = None) -> None:
        self._defaults = dict(defaults or {})
        self._names: dict[str, str] = {}  # by column: the field that names it first
        self._type = KINDS[message.kind]
        content = {name: value for name, value in message.as_json().items() if name != "kind"}
        self._varying: set[str] = set()  # the fields that name a column
        filled = {name: self._compile(name, value) for name, value in content.items()}
        self._same = {name: fill({}) for name, fill in filled.items() if name not in self._varying}
        self._filled = [(name, fill) for name, fill in filled.items() if name in self._varying]

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns that the message names, with the field that does."""
        return self._names

    def render(self, row: Row) -> Message:
        """The recipient's own message. Raises `BadRecipients` for a missing column, `InvalidMessage` for the rest."""
        given, columns = row.columns, {}
        for name, field in self._names.items():
            value = given.get(name) or self._defaults.get(name)
            if value is None:
                raise BadRecipients("recipients", f"has no {name}, which {field} needs", row.line)
            columns[name] = value
        return self._type(**self._same, **{name: fill(columns) for name, fill in self._filled})

    def _compile(self, field: str, value: Any) -> Fill:
        if isinstance(value, str):
            return self._text(field, value)
        if isinstance(value, Mapping):
            pairs = [(self._text(field, key), self._compile(field, item)) for key, item in value.items()]
            return lambda columns: {key(columns): item(columns) for key, item in pairs}
        if isinstance(value, list | tuple):
            items = [self._compile(field, item) for item in value]
            return lambda columns: [item(columns) for item in items]
        return lambda _columns: value

    def _text(self, field: str, text: str) -> Fill:
        pieces: list[tuple[bool, str]] = []  # whether it is a column, and its name; or the text itself
        end = 0
        for found in _PIECE.finditer(text):
            pieces.append((False, text[end : found.start()]))
            end = found.end()
            pieces.append(self._piece(field, found))
        pieces.append((False, text[end:]))
        kept = [piece for piece in pieces if piece != (False, "")]
        if not any(is_column for is_column, _ in kept):
            whole = "".join(piece for _, piece in kept)
            return lambda _columns: whole
        if len(kept) == 1:
            only = kept[0][1]
            return lambda columns: columns[only]
        return lambda columns: "".join([columns[piece] if is_column else piece for is_column, piece in kept])

    def _piece(self, field: str, found: re.Match[str]) -> tuple[bool, str]:
        token, name = found[0], (found[1] or "").strip()
        if token in ("{{", "}}"):
            return False, token[0]
        if not _NAME.fullmatch(name):
            raise InvalidMessage(field, "holds a brace that names no column: write {column}, or {{ and }} for braces")
        self._names.setdefault(name, field)
        self._varying.add(field)
        return True, name

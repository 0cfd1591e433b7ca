"""What a provider answered, for people to read: facts below each other, rows as tables, what is deeper indented."""

import json
from collections.abc import Mapping
from typing import Any

from paceline.producing import columns

INDENT = "  "


def lines(found: Any) -> list[str]:
    """The lines of plain data."""
    if isinstance(found, list):
        return _rows(found)
    return _facts(found) if isinstance(found, dict) else [_word(found)]


def _facts(found: Mapping[str, Any]) -> list[str]:
    """A line for each fact, then what has facts or rows of its own."""
    found = {name: found[name] for name in _telling([found], list(found))}
    simple = {name: value for name, value in found.items() if not _deep(value)}
    width = max(map(len, simple), default=0)
    said = [f"{name.ljust(width)}  {_word(value)}" for name, value in simple.items()]
    for name, value in found.items():
        if _deep(value):
            said += ["", f"{name}:", *(f"{INDENT}{line}".rstrip() for line in lines(value))]
    return said[1:] if said[:1] == [""] else said


def _rows(found: list[Any]) -> list[str]:
    if not found:
        return ["none"]
    if not all(isinstance(row, dict) for row in found):
        return [_word(row) for row in found]
    if any(_deep(value) for row in found for value in row.values()):
        blocks = [_facts(row) for row in found]
        return [line for block in blocks for line in ("", *block)][1:]
    titles = _telling(found, list(dict.fromkeys(name for row in found for name in row)))
    return columns(titles, [[_word(row.get(title)) for title in titles] for row in found])


def _telling(rows: list[Any], names: list[str]) -> list[str]:
    """The names that tell something: an id that stands there under an earlier name as well does not."""
    kept: list[str] = []
    for name in names:
        told = [row.get(name) for row in rows]
        again = any([row.get(each) for row in rows] == told for each in kept if _is_id(each))
        if not (_is_id(name) and again and any(told)):
            kept.append(name)
    return kept


def _is_id(name: str) -> bool:
    return name == "id" or name.endswith("_id")


def _deep(value: Any) -> bool:
    """Whether it has facts or rows of its own."""
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _word(value: Any) -> str:
    if value is None or value in ({}, []):
        return "-"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

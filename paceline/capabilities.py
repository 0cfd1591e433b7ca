"""What an account can carry, as data, and checking a message against it.

Workers publish an account's capabilities in the database, so that a producer which knows only the database's
address refuses the same messages as the worker would. They hold rules, never secrets.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from paceline.errors import InvalidMessage
from paceline.messages import Message, check_mapping, check_storable


@dataclass(frozen=True, slots=True)
class Rule:
    """What one field may hold. Lengths count Unicode code points; `hint` says in words what `pattern` allows.

    In a mapping the lengths hold for each key and each value, in a list for each item.
    """

    required: bool = False
    min_length: int | None = None
    max_length: int | None = None
    max_items: int | None = None
    pattern: str | None = None
    hint: str = ""
    one_of: tuple[str, ...] = ()
    max_number: float | None = None


ANY = Rule()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The kinds an account carries with a rule for each field it takes, its rules for metadata and options."""

    kinds: Mapping[str, Mapping[str, Rule]]
    metadata: Rule | None = None
    options: Mapping[str, Rule] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data for the database."""
        return {
            "kinds": {
                kind: {name: _rule_json(rule) for name, rule in rules.items()} for kind, rules in self.kinds.items()
            },
            "metadata": None if self.metadata is None else _rule_json(self.metadata),
            "options": {name: _rule_json(rule) for name, rule in self.options.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Capabilities":
        """What `as_json` wrote; members that a newer worker added are ignored."""
        return cls(
            kinds={kind: {name: _rule(item) for name, item in rules.items()} for kind, rules in data["kinds"].items()},
            metadata=_rule(data["metadata"]) if data.get("metadata") is not None else None,
            options={name: _rule(item) for name, item in data.get("options", {}).items()},
        )


def check(
    capabilities: Capabilities,
    account: str,
    message: Message,
    metadata: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Raise `InvalidMessage` for the first field that the account's provider would refuse."""
    rules = capabilities.kinds.get(message.kind)
    if rules is None:
        raise InvalidMessage(
            "message", f"account {account} carries {' and '.join(capabilities.kinds)}, not {message.kind}"
        )
    for item in fields(message):
        _check_field(item.name, getattr(message, item.name), rules.get(item.name), account)
    if metadata:
        _check_metadata(metadata, capabilities.metadata)
    for name, value in (options or {}).items():
        if name not in capabilities.options:
            allowed = f"it takes {', '.join(capabilities.options)}" if capabilities.options else "it takes none"
            raise InvalidMessage(f"options.{name}", f"is not an option of account {account}; {allowed}")
        check_storable(f"options.{name}", value)
        _check_field(f"options.{name}", value, capabilities.options[name], account)


def _check_metadata(metadata: Mapping[str, str], rule: Rule | None) -> None:
    check_mapping("metadata", metadata)
    if rule is not None:
        _check_value("metadata", metadata, rule)


def _check_field(name: str, value: object, rule: Rule | None, account: str) -> None:
    empty = value is None or value == {} or value == [] or value == ()
    if rule is None:
        if not empty:
            raise InvalidMessage(name, f"account {account} has no such field; leave it out")
    elif not empty:
        _check_value(name, value, rule)
    elif rule.required:
        raise InvalidMessage(name, "is required")


def _check_value(name: str, value: object, rule: Rule) -> None:
    if isinstance(value, Mapping):
        _check_count(name, len(value), rule)
        for text in (text for pair in value.items() for text in pair):
            _check_text(name, text, rule)
    elif isinstance(value, list | tuple):
        _check_count(name, len(value), rule)
        for item in value:
            _check_value(name, item, Rule(max_length=rule.max_length, pattern=rule.pattern, hint=rule.hint))
    elif rule.max_number is not None:
        _check_number(name, value, rule.max_number)
    else:
        _check_text(name, value, rule)


def _check_number(name: str, value: object, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidMessage(name, "must be a number")
    if not value <= most:  # also true of NaN
        raise InvalidMessage(name, f"must be at most {most:g}")


def _check_count(name: str, count: int, rule: Rule) -> None:
    if rule.max_items is not None and count > rule.max_items:
        raise InvalidMessage(name, f"may hold at most {rule.max_items} entries, this one holds {count}")


def _check_text(name: str, value: object, rule: Rule) -> None:
    if not isinstance(value, str):
        if rule.min_length or rule.max_length or rule.one_of or rule.pattern:
            raise InvalidMessage(name, "must be a string")
        return
    if rule.min_length is not None and len(value) < rule.min_length:
        raise InvalidMessage(name, f"must have at least {_characters(rule.min_length)}")
    if rule.max_length is not None and len(value) > rule.max_length:
        raise InvalidMessage(name, f"must have at most {_characters(rule.max_length)}, this one has {len(value)}")
    if rule.one_of and value not in rule.one_of:
        raise InvalidMessage(name, f"must be one of {', '.join(rule.one_of)}")
    if rule.pattern is not None and _compiled(rule.pattern).fullmatch(value) is None:
        raise InvalidMessage(name, f"must be {rule.hint}")


def _characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {item.name: getattr(rule, item.name) for item in fields(Rule) if getattr(rule, item.name) != item.default}


def _rule(data: Mapping[str, Any]) -> Rule:
    known = {item.name for item in fields(Rule)}
    values = {name: value for name, value in data.items() if name in known}
    if "one_of" in values:
        values["one_of"] = tuple(values["one_of"])
    return Rule(**values)

"""What an account can carry, as data, and checking a message against it.

Workers publish an account's capabilities in the database, so that a producer which knows only the database's
address refuses the same messages as the worker would. They hold rules, never secrets.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from paceline.errors import InvalidMessage
from paceline.forms import FORMS, data_uri, decoded, size
from paceline.messages import Email, Media, Message, check_mapping, check_storable
from paceline.segments import SEGMENTATIONS


@dataclass(frozen=True, slots=True)
class Rule:
    """What one field may hold. Lengths count Unicode code points; `hint` says in words what `pattern` allows.

    In a mapping the lengths hold for each key and each value, in a list for each item. `max_bytes` counts a text in
    UTF-8, a data URI decoded, and attachments decoded, together. `form` names what a pattern cannot say: see `FORMS`.
    A field with a `max_number` is a number: at least `min_number`, and a whole one where `whole` says so.
    `names` is what each name in a mapping must match, `names_hint` in words; `members` are the members it may have. A
    field with `max_json` is a JSON object of so many characters, or its text. An option goes with the message's field
    `needs` only, where its kind has that, and beside none of `unless`.
    """

    required: bool = False
    min_length: int | None = None
    max_length: int | None = None
    max_items: int | None = None
    pattern: str | None = None
    hint: str = ""
    one_of: tuple[str, ...] = ()
    max_number: float | None = None
    min_number: float | None = None
    whole: bool = False
    max_bytes: int | None = None
    form: str = ""
    names: str = ""
    names_hint: str = ""
    members: "Mapping[str, Rule] | None" = None
    max_json: int | None = None
    needs: str = ""
    unless: tuple[str, ...] = ()


_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")

ANY = Rule()
FLAG = ("true", "false")  # the words of a switch, which may be a boolean too


@dataclass(frozen=True, slots=True)
class Call:
    """An operation of an account's provider: a rule for each argument, and how long an answer serves, in seconds.

    `lane` is where its requests wait; a worker says so when it publishes its accounts.
    """

    arguments: Mapping[str, Rule] = field(default_factory=dict)
    fresh_for: float = 0.0
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The kinds an account carries with a rule for each field it takes, its rules for metadata and options.

    `channel` is what kind of address its recipients are; `segmentation` how a text is cut into parts that are billed
    one by one (empty: it is not), of which there may be `max_parts`; `calls` what the provider does besides sending,
    and `choices` what the account's options say that the arguments of these are checked by.
    """

    kinds: Mapping[str, Mapping[str, Rule]]
    metadata: Rule | None = None
    options: Mapping[str, Rule] = field(default_factory=dict)
    channel: str = ""
    segmentation: str = ""
    max_parts: int | None = None
    calls: Mapping[str, Call] = field(default_factory=dict)
    choices: Mapping[str, float | bool] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data for the database."""
        return {
            "kinds": {kind: _rules_json(rules) for kind, rules in self.kinds.items()},
            "metadata": None if self.metadata is None else _rule_json(self.metadata),
            "options": _rules_json(self.options),
            "channel": self.channel,
            "segmentation": self.segmentation,
            "max_parts": self.max_parts,
            "calls": {
                name: {"arguments": _rules_json(call.arguments), "fresh_for": call.fresh_for, "lane": call.lane}
                for name, call in self.calls.items()
            },
            "choices": dict(self.choices),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Capabilities":
        """What `as_json` wrote; members that a newer worker added are ignored."""
        return cls(
            kinds={kind: _rules(rules) for kind, rules in data["kinds"].items()},
            metadata=_rule(data["metadata"]) if data.get("metadata") is not None else None,
            options=_rules(data.get("options", {})),
            channel=data.get("channel", ""),
            segmentation=data.get("segmentation", ""),
            max_parts=data.get("max_parts"),
            calls={
                name: Call(_rules(call["arguments"]), call["fresh_for"], call.get("lane", ""))
                for name, call in data.get("calls", {}).items()
            },
            choices=data.get("choices", {}),
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
    if isinstance(message, Email) and rules.keys() & {"html", "text"} and not (message.html or message.text):
        raise InvalidMessage("html", "or text is required")
    if isinstance(message, Media) and (held := data_uri(message.url)) is not None and held[0] != message.media_type:
        raise InvalidMessage("media_type", "must be the one that the data URI names")
    _check_parts(capabilities, message)
    if metadata:
        _check_metadata(metadata, capabilities.metadata)
    for name, value in (options or {}).items():
        if name not in capabilities.options:
            allowed = f"it takes {', '.join(capabilities.options)}" if capabilities.options else "it takes none"
            raise InvalidMessage(f"options.{name}", f"is not an option of account {account}; {allowed}")
        check_storable(f"options.{name}", value)
        _check_field(f"options.{name}", value, capabilities.options[name], account)
        if value not in _NOTHING:
            _check_company(f"options.{name}", message, capabilities.options[name])


def check_call(
    capabilities: Capabilities, account: str, operation: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments that were given, None being none; raise `InvalidMessage` for the first that breaks a rule."""
    call = capabilities.calls.get(operation)
    if call is None:
        offered = f"it has {', '.join(sorted(capabilities.calls))}" if capabilities.calls else "it has none"
        raise InvalidMessage("operation", f"must be one that account {account} has; {offered}")
    given = {name: value for name, value in arguments.items() if value is not None}
    for name, value in given.items():
        if name not in call.arguments:
            taken = f"it takes {', '.join(call.arguments)}" if call.arguments else "it takes none"
            raise InvalidMessage(name, f"is not an argument of {operation}; {taken}")
        check_storable(name, value)
    for name, rule in call.arguments.items():
        _check_field(name, given.get(name), rule, account)
    return given


def broken_rule(value: object, rule: Rule) -> str | None:
    """What is wrong with a value by a rule, as the rest of a sentence; None if it keeps it."""
    try:
        _check_value("", value, rule)
    except InvalidMessage as refused:
        return refused.rule
    return None


def parts(capabilities: Capabilities, message: Message) -> int:
    """How many parts the provider bills for the message: 1 where it does not cut messages."""
    count = SEGMENTATIONS.get(capabilities.segmentation)
    text = getattr(message, "text", None)
    return count(text) if count is not None and isinstance(text, str) else 1


def _check_parts(capabilities: Capabilities, message: Message) -> None:
    most = capabilities.max_parts
    if most is not None and (count := parts(capabilities, message)) > most:
        raise InvalidMessage("text", f"must fit into {most} parts, this one needs {count}")


def _check_metadata(metadata: Mapping[str, str], rule: Rule | None) -> None:
    check_mapping("metadata", metadata)
    if rule is not None:
        _check_value("metadata", metadata, rule)


_NOTHING: Sequence[object] = (None, "", {}, [], ())


def _check_company(name: str, message: Message, rule: Rule) -> None:
    if rule.needs and getattr(message, rule.needs, True) in _NOTHING:
        raise InvalidMessage(name, f"goes with {rule.needs} only: give that too, or leave it out")
    for other in rule.unless:
        if getattr(message, other, None) not in _NOTHING:
            raise InvalidMessage(name, f"does not go with {other}: give one of the two")


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
    if rule.names and not isinstance(value, Mapping):
        raise InvalidMessage(name, "must map names to texts")
    if isinstance(value, str) and rule.max_items is not None:
        value = value.split(";")  # a list, as the APIs that take one write it
    if isinstance(value, bool) and rule.one_of == FLAG:
        return
    if rule.max_json is not None:
        _check_json(name, value, rule.max_json)
    elif rule.members is not None:
        _check_members(name, value, rule.members)
    elif isinstance(value, Mapping):
        _check_count(name, len(value), rule)
        _check_names(name, value, rule)
        for text in (text for pair in value.items() for text in pair):
            _check_text(name, text, rule)
    elif isinstance(value, list | tuple):
        _check_count(name, len(value), rule)
        for item in value:
            _check_value(name, item, replace(rule, max_items=None, max_bytes=None))
        if rule.max_bytes is not None:
            _check_attachments(name, value, rule.max_bytes)
    elif rule.max_number is not None:
        _check_number(name, value, rule, rule.max_number)
    else:
        _check_text(name, value, rule)


def _check_json(name: str, value: object, most: int) -> None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, Mapping):
        raise InvalidMessage(name, "must be a JSON object")
    check_storable(name, value)
    if (length := len(compact(value))) > most:
        raise InvalidMessage(name, f"must have at most {most} characters as JSON, this one has {length}")


def _check_members(name: str, value: object, members: Mapping[str, Rule]) -> None:
    if not isinstance(value, Mapping):
        raise InvalidMessage(name, f"must be a mapping with {' or '.join(members)}")
    for member in value:
        if member not in members:
            raise InvalidMessage(f"{name}.{member}", f"is not a member of it; it has {', '.join(members)}")
    for member, rule in members.items():
        if value.get(member) is not None:
            _check_value(f"{name}.{member}", value[member], rule)
        elif rule.required:
            raise InvalidMessage(f"{name}.{member}", "is required")


def _check_names(name: str, value: Mapping[Any, Any], rule: Rule) -> None:
    for key in value if rule.names else ():
        if _compiled(rule.names).fullmatch(key) is None:
            raise InvalidMessage(name, f"must have only names that are {rule.names_hint}")


def _check_number(name: str, value: object, rule: Rule, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidMessage(name, "must be a number")
    if rule.whole and not isinstance(value, int):
        raise InvalidMessage(name, "must be a whole number")
    if rule.min_number is not None and value < rule.min_number:
        raise InvalidMessage(name, f"must be at least {rule.min_number:g}")
    if not value <= most:  # also true of NaN
        raise InvalidMessage(name, f"must be at most {most:g}")


def _check_count(name: str, count: int, rule: Rule) -> None:
    if rule.max_items is not None and count > rule.max_items:
        raise InvalidMessage(name, f"may hold at most {rule.max_items} entries, this one holds {count}")


def _check_text(name: str, value: object, rule: Rule) -> None:
    if not isinstance(value, str):
        if rule.min_length or rule.max_length or rule.one_of or rule.pattern or rule.form or rule.max_bytes:
            raise InvalidMessage(name, "must be a string")
        return
    if rule.min_length is not None and len(value) < rule.min_length:
        raise InvalidMessage(name, f"must have at least {_characters(rule.min_length)}")
    if rule.max_length is not None and len(value) > rule.max_length:
        raise InvalidMessage(name, f"must have at most {_characters(rule.max_length)}, this one has {len(value)}")
    if rule.one_of and value not in rule.one_of:
        raise InvalidMessage(name, f"must be one of {', '.join(rule.one_of)}")
    if rule.max_bytes is not None and (bytes_ := size(value)) > rule.max_bytes:
        raise InvalidMessage(name, f"must have at most {rule.max_bytes:,} bytes, this one has {bytes_:,}")
    if rule.form and (broken := FORMS[rule.form](value)) is not None:
        raise InvalidMessage(name, broken)
    if rule.pattern is not None and _compiled(rule.pattern).fullmatch(value) is None:
        raise InvalidMessage(name, f"must be {rule.hint}")


def _check_attachments(name: str, items: Sequence[Any], most: int) -> None:
    total = 0
    for number, item in enumerate(items):
        for field_name in item.keys() - {"filename", "content", "media_type"}:
            known = "it has filename, content, media_type"
            raise InvalidMessage(f"{name}[{number}].{field_name}", f"is not a field of an attachment; {known}")
        for field_name in ("filename", "content"):
            if not item.get(field_name):
                raise InvalidMessage(f"{name}[{number}].{field_name}", "is required")
        if item.get("media_type") and _MEDIA_TYPE.fullmatch(item["media_type"]) is None:
            raise InvalidMessage(f"{name}[{number}].media_type", "must be a media type such as application/pdf")
        content = decoded(item["content"])
        if content is None:
            raise InvalidMessage(f"{name}[{number}].content", "must be base64")
        total += len(content)
    if total > most:
        raise InvalidMessage(name, f"must have at most {most:,} bytes together, these have {total:,}")


def compact(value: Mapping[str, Any]) -> str:
    """The mapping as JSON without a space more than it needs."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _rules_json(rules: Mapping[str, Rule]) -> dict[str, Any]:
    return {name: _rule_json(rule) for name, rule in rules.items()}


def _rules(data: Mapping[str, Any]) -> dict[str, Rule]:
    return {name: _rule(item) for name, item in data.items()}


def _rule_json(rule: Rule) -> dict[str, Any]:
    data = {item.name: getattr(rule, item.name) for item in fields(Rule) if getattr(rule, item.name) != item.default}
    return data if rule.members is None else {**data, "members": _rules_json(rule.members)}


def _rule(data: Mapping[str, Any]) -> Rule:
    known = {item.name for item in fields(Rule)}
    values = {name: value for name, value in data.items() if name in known}
    for name in {"one_of", "unless"} & values.keys():
        values[name] = tuple(values[name])
    if "members" in values:
        values["members"] = _rules(values["members"])
    return Rule(**values)

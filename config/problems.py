"""Every mistake of a configuration at once: one sentence each, which names the file, the key and what is allowed."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from paceline.connection import expand


class Section(BaseModel):
    """A table with known keys. What it was given is in none of its errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


Table = TypeVar("Table", bound=Section)

# What pydantic finds wrong by itself; every other rule says its own sentence.
RULES = {
    "missing": "is required",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "literal_error": "must be {expected}",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
}


class Problems:
    """The mistakes found so far. An environment variable that is not set counts, unless its key can do without."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: dict[tuple[str, str], None] = {}
        self._unset: dict[str, str] = {}

    def add(self, key: str, rule: str) -> None:
        """Note that the key breaks the rule: a sentence without its subject."""
        self._found[key, rule.rstrip(".")] = None

    def unset(self, key: str) -> bool:
        """Whether the key's value is incomplete because an environment variable is not set."""
        return any(_within(key, other) for other in self._unset)

    def forgive(self, key: str) -> None:
        """Forget that the key's environment variable is not set."""
        self._unset.pop(key, None)

    def of(self, key: str) -> bool:
        """Whether anything is wrong with the key or what stands below it."""
        return self.unset(key) or any(_within(key, other) for other, _ in self._found)

    def sentences(self) -> list[str]:
        """All that was found, in order."""
        return [f"{self._file}: {key}: {rule}" for key, rule in [*self._found, *self._unset.items()]]

    def expand(self, value: Any, environ: Mapping[str, str], key: str = "") -> Any:
        """The value with every `${NAME}` in it replaced; a key whose variable is not set is left out."""
        if isinstance(value, dict):
            items = {name: self.expand(item, environ, f"{key}.{name}" if key else name) for name, item in value.items()}
            return {name: item for name, item in items.items() if item is not None}
        if isinstance(value, list):
            items = {index: self.expand(item, environ, f"{key}[{index}]") for index, item in enumerate(value)}
            return [item for item in items.values() if item is not None]
        if not isinstance(value, str):
            return value
        try:
            return expand(value, environ)
        except ValueError as error:
            self._unset[key] = str(error)
            return None

    def unknown(self, key: str, name: str, known: Collection[str]) -> None:
        """Note that the table has no such key, with the one that was probably meant."""
        near = difflib.get_close_matches(name, known, 1)
        remedy = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}"
        self.add(f"{key}.{name}" if key else name, f"is not known here; {remedy}" if known else "is not known here")

    def read(self, model: type[Table], key: str, table: object, also: Iterable[str] = ()) -> Table:
        """The table as the model has it; what is wrong in it is noted and has its default. `also` are keys that belong
        to the table and are read elsewhere."""
        if not isinstance(table, dict):
            self.add(key, "must be a table")
            return model()
        try:
            return model.model_validate(table)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        for detail in details:
            self._note(model, key, detail, also)
        wrong = {detail["loc"][0] for detail in details}
        return model.model_validate({name: value for name, value in table.items() if name not in wrong})

    def _note(self, model: type[Section], key: str, detail: ErrorDetails, also: Iterable[str]) -> None:
        where = _path(key, detail["loc"])
        if detail["type"] == "extra_forbidden":
            *tables, name = detail["loc"]
            known = _model_at(model, tables).model_fields
            self.unknown(_path(key, tables), str(name), [*known, *(() if tables else also)])
        elif detail["type"] == "value_error":
            self.add(where, str(detail["ctx"]["error"]))
        elif not self.unset(where):
            rule = RULES.get(detail["type"], detail["msg"])
            self.add(where, rule.format(**detail.get("ctx", {})))


def _within(key: str, other: str) -> bool:
    return other == key or other.startswith((f"{key}.", f"{key}["))


def _path(key: str, location: Iterable[str | int]) -> str:
    for part in location:
        key = f"{key}[{part}]" if isinstance(part, int) else f"{key}.{part}" if key else part
    return key


def _model_at(model: type[BaseModel], tables: Iterable[str | int]) -> type[BaseModel]:
    for table in tables:
        inner = model.model_fields[str(table)].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return model

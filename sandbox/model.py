"""The base of every settings and fault model, and how its refusals become one sentence."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Model(BaseModel):
    """Frozen, and without fields that nobody declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SettingsError(ValueError):
    """Settings, a fault or an event that the sandbox does not take; the sentence says what to change."""


M = TypeVar("M", bound=BaseModel)


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, as `field: rule`, without the value."""
    problem = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in problem["loc"]) or "the body"
    return f"{field}: {problem['msg']}"


def parse(model: type[M], data: object, where: str) -> M:
    """Reads `data` as a `model`.

    Raises:
        SettingsError: naming the field within `where` and the rule it breaks.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SettingsError(f"{where}.{first_problem(error)}.") from None

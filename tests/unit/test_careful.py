"""A task whose queue is open to strangers: a call that Celery stumbles over is rejected, no other failure is hidden."""

from collections.abc import Callable
from typing import Any

import pytest
from celery.exceptions import InvalidTaskError
from celery.worker import strategy

from worker.careful import CarefulTask, careful

ASKED: tuple[Any, ...] = ("message", "body", "ack", "reject", [])


def handler(monkeypatch: pytest.MonkeyPatch, handle: Callable[..., None]) -> Callable[..., None]:
    monkeypatch.setattr(strategy, "default", lambda *_given, **_options: handle)
    return careful(CarefulTask(), None, None)


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError])
def test_what_celery_stumbles_over_is_no_call_and_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def stumbles(*_: object) -> None:
        raise error("+15550100 says hello")

    with pytest.raises(InvalidTaskError, match=rf"^its form is not a call's \({error.__name__}\)$") as rejected:
        handler(monkeypatch, stumbles)(*ASKED)

    assert rejected.value.__cause__ is None
    assert rejected.value.__suppress_context__


@pytest.mark.parametrize("error", [ConnectionResetError, InvalidTaskError, MemoryError])
def test_what_is_not_the_calls_fault_goes_on_its_way(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fails(*_: object) -> None:
        raise error("gone")

    with pytest.raises(error, match=r"^gone$"):
        handler(monkeypatch, fails)(*ASKED)


def test_a_call_in_form_is_handed_on_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[Any] = []

    handler(monkeypatch, lambda *given, **more: handed.append((given, more)))(*ASKED, extra=1)

    assert handed == [(ASKED, {"extra": 1})]


def test_the_task_names_its_strategy_as_celery_finds_it() -> None:
    """Celery imports it by this name when the worker starts."""
    module, _, name = CarefulTask.Strategy.partition(":")

    assert (module, name) == (careful.__module__, careful.__name__)

"""The demo's own broadcast: what it says of each step, and the three sentences that make the demo fail."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from paceline import Client
from worker.commands import demo_broadcast
from worker.commands.demo_broadcast import SOME, DemoBroadcast

ORDERED = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOOK = timedelta(seconds=100)
GUESTS = 40


@dataclass
class View:
    """A broadcast as the demo sees it; steered by the test."""

    status: str = "running"
    waiting: int = GUESTS
    foretold: datetime | None = ORDERED + TOOK
    finished_at: datetime | None = None
    steps: list[str] = field(default_factory=list)
    id: str = "b"
    via: str = "augnet-main"
    created_at: datetime = ORDERED
    send_at: datetime | None = None
    finish_at: datetime | None = None
    limited_by: str = "30/30s"

    @property
    def counts(self) -> dict[str, int]:
        return {"messages": GUESTS, "queued": self.waiting}

    def pause(self) -> None:
        self.steps.append("paused")
        self.status = "paused"

    def resume(self) -> None:
        self.steps.append("resumed")
        self.status = "running"

    def forecast(self) -> "View":
        return View(finish_at=self.foretold)

    def ends(self, after: timedelta) -> None:
        self.status, self.waiting, self.finished_at = "finished", 0, ORDERED + after


@dataclass
class Paper:
    """A client that knows this one broadcast."""

    view: View = field(default_factory=View)

    def broadcast(self, **_: Any) -> View:
        return self.view

    def get_broadcast(self, _id: str) -> View:
        return self.view


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def demo(view: View, said: list[str], monkeypatch: pytest.MonkeyPatch) -> DemoBroadcast:
    monkeypatch.setattr(demo_broadcast, "RESTS", 0.0)
    return DemoBroadcast(cast(Client, Paper(view)), said.append)


def paused_and_resumed(demo: DemoBroadcast, view: View) -> None:
    view.waiting = GUESTS - SOME
    demo.turn()
    demo.turn()


def test_it_is_paused_resumed_and_held_to_its_forecast(demo: DemoBroadcast, view: View, said: list[str]) -> None:
    demo.turn()
    assert view.steps == []  # nothing of it has left yet
    paused_and_resumed(demo, view)
    assert view.steps == ["paused", "resumed"]

    view.ends(TOOK * 1.09)
    demo.turn()

    assert demo.over
    assert demo.broken() == []
    steps = [line.split("  broadcast ")[1] for line in said]
    assert steps == [
        "scheduled: 40 messages through augnet-main, at once.",
        "forecast: the last leaves at 12:01:40Z, limited by 30/30s.",
        "paused: 10 have left, 30 wait.",
        "resumed, and forecast again: the last leaves at 12:01:40Z, limited by 30/30s.",
        "finished at 12:01:49Z, as forecast.",
    ]


def test_one_that_does_not_finish_is_said(demo: DemoBroadcast, view: View) -> None:
    paused_and_resumed(demo, view)
    assert not demo.over
    assert demo.broken() == ["The broadcast of augnet-main did not finish."]


def test_one_that_was_too_fast_to_be_paused_is_said(demo: DemoBroadcast, view: View) -> None:
    view.ends(TOOK)
    demo.turn()
    assert demo.broken() == ["The broadcast of augnet-main was over before it could be paused."]


@pytest.mark.parametrize("after", [TOOK * 1.12, TOOK * 0.9])
def test_one_that_ends_at_another_time_than_forecast_is_said(
    demo: DemoBroadcast, view: View, said: list[str], after: timedelta
) -> None:
    paused_and_resumed(demo, view)
    view.ends(after)
    demo.turn()
    ended = f"{ORDERED + after:%H:%M:%SZ}"
    assert demo.broken() == [f"The broadcast of augnet-main finished at {ended}, not as forecast."]
    assert said[-1].endswith(f"finished at {ended}.")


def test_one_whose_end_could_not_be_told_was_not_as_forecast(demo: DemoBroadcast, view: View, said: list[str]) -> None:
    view.foretold = None
    paused_and_resumed(demo, view)
    view.ends(TOOK)
    demo.turn()
    assert "the last leaves at an unknown time" in said[3]
    assert "not as forecast" in demo.broken()[0]

"""`paceline.enqueue`: what comes through the broker becomes a row, once, or is refused in a line without content."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from tenacity import wait_none

from paceline import Client
from paceline.errors import DatabaseNotReady
from tests.support.installation import ACCOUNT, Installation, recipient
from worker import intake

Build = Callable[..., Installation]
TEXT = {"kind": "text", "to": recipient(1), "text": "Your code is 4711."}


@pytest.fixture
def built(build: Build) -> Installation:
    return build()


def test_a_message_becomes_a_row(built: Installation) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    id_ = intake.store(
        built.client, TEXT, ACCOUNT, "order-1", priority="high", send_at=later.isoformat(), metadata={"order": "1"}
    )

    assert id_ is not None
    view = built.client.status(id_)
    assert (view.status, view.priority, view.idempotency_key, view.metadata) == (
        "queued",
        "high",
        "order-1",
        {"order": "1"},
    )
    assert view.send_at is not None
    assert abs((view.send_at - later).total_seconds()) < 0.01


def test_a_broker_that_delivers_twice_stores_once(built: Installation) -> None:
    assert intake.store(built.client, TEXT, ACCOUNT, "order-1") == intake.store(built.client, TEXT, ACCOUNT, "order-1")
    assert built.statuses() == {"queued": 1}


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"idempotency_key": ""}, "idempotency_key"),
    ({"idempotency_key": None}, "idempotency_key"),
    ({"idempotency_key": 7}, "idempotency_key"),
    ({"idempotency_key": "x" * 256}, "idempotency_key"),
    ({"message": "text"}, "message"),
    ({"message": None}, "message"),
    ({"message": []}, "message"),
    ({"message": {}}, "kind"),
    ({"message": {"kind": "fax", "to": recipient(1)}}, "kind"),
    ({"message": {"kind": ["text"]}}, "kind"),
    ({"message": {"kind": "text"}}, ""),
    ({"message": TEXT | {"text": "x" * 5000}}, "text"),
    ({"message": TEXT | {"colour": "red"}}, ""),
    ({"message": TEXT | {"to": "+4915112345678"}}, "to"),
    ({"message": TEXT | {"text": 4711}}, "text"),
    ({"via": "nobody"}, "via"),
    ({"via": None}, ""),
    ({"via": ["a"]}, ""),
    ({"priority": "urgent"}, "priority"),
    ({"send_at": "tomorrow"}, "send_at"),
    ({"send_at": "2030-01-01T00:00:00"}, "send_at"),
    ({"expires_at": 12}, "expires_at"),
    ({"expires_at": "2020-01-01T00:00:00+00:00"}, "expires_at"),
    ({"metadata": "x"}, "metadata"),
    ({"options": [1]}, "options"),
    ({"colour": "red"}, ""),
    ({"message": TEXT | {"auro_usr_sesame4711": "x"}}, "a field"),
    ({"options": {"auro_usr_sesame4711": "x"}}, "options"),
    ({"metadata": {"auro_usr_sesame4711": 7}}, "metadata"),
    ({"session": "mine"}, ""),
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("changes", "named"), REFUSALS, ids=lambda it: str(it)[:40])
def test_what_is_wrong_is_logged_with_its_field_and_stored_nowhere(
    built: Installation, changes: dict[str, Any], named: str
) -> None:
    given: dict[str, Any] = {"message": TEXT, "via": ACCOUNT, "idempotency_key": "order-1"} | changes

    with capture_logs() as logs:
        assert intake.store(built.client, **given) is None

    [line] = logs
    assert line["event"] == "refused"
    assert named in line["rule"]
    assert "4711" not in str(line)
    assert recipient(1) not in str(line)
    assert built.statuses() == {}


def test_a_key_used_for_another_message_is_refused(built: Installation) -> None:
    intake.store(built.client, TEXT, ACCOUNT, "order-1")

    with capture_logs() as logs:
        assert intake.store(built.client, TEXT | {"text": "another"}, ACCOUNT, "order-1") is None

    assert logs[0]["error"] == "IdempotencyConflict"
    assert built.statuses() == {"queued": 1}


class Away:
    """A client whose database comes back after so many calls."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def enqueue(self, *_: Any, **__: Any) -> Any:
        self.calls -= 1
        if self.calls > 0:
            raise DatabaseNotReady("The database is away.")
        return type("Receipt", (), {"id": "m1"})()


def test_a_message_in_hand_waits_for_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "wait_random_exponential", lambda **_: wait_none())

    assert intake.store(cast("Client", Away(4)), TEXT, ACCOUNT, "order-1") == "m1"


def test_a_database_that_stays_away_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PATIENCE", 0.05)
    monkeypatch.setattr(intake, "wait_random_exponential", lambda **_: wait_none())

    with capture_logs() as logs:
        assert intake.store(cast("Client", Away(10**9)), TEXT, ACCOUNT, "order-1") is None

    assert logs[0]["error"] == "DatabaseNotReady"

"""Retention: contents go, then rows, then keys; nothing that is open, and nobody waits for it."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from paceline import IdempotencyConflict, MessageNotFound, Text
from paceline.errors import PacelineError
from paceline.ids import new_id
from tests.integration.retention_support import left, purge
from tests.support.installation import ACCOUNT, Installation, recipient
from worker import operate

Build = Callable[..., Installation]

DAY = 86_400.0
SEND = f"{ACCOUNT}/send"


@pytest.fixture
def built(build: Build) -> Installation:
    return build()


def ended(built: Installation, days: float, status: str = "delivered", **columns: Any) -> str:
    """A message with an attempt and an event, that has stood there for so many days."""
    key = columns.pop("key", None)
    receipt = built.text(idempotency_key=key, metadata={"order": "17"})
    then = time.time() - days * DAY
    values = {"status": status, "updated_at": then, "created_at": then, "attempt": 1} | columns
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    built.run(f"UPDATE paceline_message SET {assignments} WHERE id = :id", id=receipt.id, **values)
    built.run("UPDATE paceline_idempotency_key SET created_at = :at WHERE message_id = :id", at=then, id=receipt.id)
    built.run(
        "INSERT INTO paceline_attempt (message_id, number, grant_id, account, at, outcome, code, duration_ms)"
        " VALUES (:id, 1, 'g', :account, :at, 'accepted', '', 1)",
        id=receipt.id, account=ACCOUNT, at=then,
    )  # fmt: skip
    happened(built, days, message_id=receipt.id, status=status)
    return receipt.id


def happened(built: Installation, days: float, **columns: Any) -> None:
    """An event of so many days ago, with the next position unless another is given."""
    [row] = built.rows("SELECT coalesce(max(position), 0) + 1 AS next FROM paceline_event")
    values = {
        "at": time.time() - days * DAY, "source": "webhook", "kind": "status", "account": ACCOUNT,
        "position": row["next"], "message_id": None, "status": None, "data": None,
    } | columns  # fmt: skip
    built.run(
        f"INSERT INTO paceline_event ({', '.join(values)}) VALUES ({', '.join(':' + name for name in values)})",
        **values,
    )


# Messages


def test_the_content_goes_first_and_the_message_still_says_where_it_stands(built: Installation) -> None:
    old, young = ended(built, 31), ended(built, 29)

    assert purge(built) == {"contents": 1}

    payloads = {row["id"]: row["payload"] for row in built.rows("SELECT id, payload FROM paceline_message")}
    assert recipient(0) not in payloads[old]
    assert recipient(0) in payloads[young]
    view = built.client.status(old)
    assert (view.status, view.metadata, len(view.attempts), len(view.events)) == ("delivered", {}, 1, 1)
    assert {view.id for view in built.client.messages(limit=5)} == {old, young}
    assert purge(built) == {}


def test_an_erased_message_is_not_sent_again(built: Installation) -> None:
    id_ = ended(built, 31, "failed")
    purge(built)

    with pytest.raises(PacelineError, match=r"The content of message .* was erased .*; enqueue it anew\.$"):
        operate.retry(built.engine, id_)

    assert built.statuses() == {"failed": 1}


def test_a_message_goes_with_its_attempts_and_events_and_leaves_its_key(built: Installation) -> None:
    """Given one that is old enough in every way, then its key alone remembers it: nothing is sent twice."""
    id_ = ended(built, 91, key="order-17")
    kept = ended(built, 89, key="order-18")

    assert purge(built) == {"contents": 2, "messages": 1}

    assert left(built) == {"message": 1, "attempt": 1, "event": 1, "idempotency_key": 2}
    assert built.client.status(kept).status == "delivered"
    with pytest.raises(MessageNotFound, match="purged"):
        built.client.status(id_)
    again = built.text(idempotency_key="order-17", metadata={"order": "17"})
    assert (again.id, again.replayed) == (id_, True)
    with pytest.raises(IdempotencyConflict):
        built.client.enqueue(Text(to=recipient(1), text="Another."), via=ACCOUNT, idempotency_key="order-17")


@pytest.mark.parametrize(
    ("status", "columns"),
    [
        ("queued", {}),
        ("queued", {"due_at": 9e9}),
        ("sending", {"lease_until": 9e9}),
        ("unknown", {"unresolved": True}),
        ("accepted", {"poll_at": 9e9}),
        ("sent", {"poll_at": 9e9}),
    ],
)
def test_what_is_not_final_stays_whole_for_ever(built: Installation, status: str, columns: dict[str, Any]) -> None:
    id_ = ended(built, 3650, status, key="k", **columns)

    assert purge(built) == {}

    assert left(built) == {"message": 1, "attempt": 1, "event": 1, "idempotency_key": 1}
    assert built.client.status(id_).metadata == {"order": "17"}


@pytest.mark.parametrize("status", ["accepted", "sent", "delivered", "read", "failed", "expired", "cancelled"])
def test_every_end_is_forgotten(built: Installation, status: str) -> None:
    """Also an accepted message of which no word came, once nobody asks about it any more."""
    ended(built, 200, status, key="k")

    assert purge(built) == {"contents": 1, "messages": 1, "idempotency_keys": 1}

    assert left(built) == {}


def test_a_key_is_not_forgotten_before_its_message(built: Installation) -> None:
    """Given a key older than any retention whose message waits, and one whose message is final since a day."""
    ended(built, 400, "unknown", key="open")
    late = ended(built, 400, key="late")
    built.run("UPDATE paceline_message SET updated_at = :at WHERE id = :id", at=time.time() - DAY, id=late)

    assert purge(built) == {"events": 1}  # the final one's; the history of the other stays with it

    assert left(built)["idempotency_key"] == 2


LONG_AGO, A_WHILE_AGO, YESTERDAY = 181, 91, 1  # days


def sent_to_many(built: Installation, days: float, status: str = "finished") -> str:
    """A broadcast of one message, delivered and over so many days ago, its counts taken."""
    view = built.client.broadcast("spring", Text(to="{id}", text="Hi"), [{"id": recipient(1)}], ACCOUNT)
    at = time.time() - days * DAY
    built.run("UPDATE paceline_message SET status = 'delivered', updated_at = :at", at=at)
    built.run(
        "UPDATE paceline_broadcast SET status = :status, finished_at = :at, counted_at = :at, counts = :counts",
        status=status, at=None if status == "running" else at, counts='{"delivered": 1}',
    )  # fmt: skip
    return view.id


@pytest.mark.parametrize(("status", "gone"), [("running", 0), ("finished", 1), ("cancelled", 1)])
def test_a_broadcast_keeps_its_messages_until_it_is_over(built: Installation, status: str, gone: int) -> None:
    sent_to_many(built, A_WHILE_AGO, status)

    assert purge(built) == {"contents": 1} | ({"messages": gone} if gone else {})

    assert len(built.rows("SELECT id FROM paceline_message")) == 1 - gone
    # its counts are kept, and its name still stands for it
    assert built.client.get_broadcast("spring").counts["delivered"] == 1


def test_a_broadcast_counts_reports_for_a_week_however_short_messages_are_kept(built: Installation) -> None:
    sent_to_many(built, YESTERDAY)
    assert purge(built, content=3600.0, messages=3600.0) == {"contents": 1}
    built.run("UPDATE paceline_broadcast SET finished_at = finished_at - :week", week=7 * DAY)
    assert purge(built, content=3600.0, messages=3600.0) == {"messages": 1}
    assert built.client.get_broadcast("spring").counts["delivered"] == 1


def test_a_broadcast_goes_with_its_lines_after_its_messages_and_as_late_as_a_key(built: Installation) -> None:
    # given one that ended long ago
    first = sent_to_many(built, LONG_AGO)
    built.run("UPDATE paceline_idempotency_key SET created_at = :at", at=time.time() - LONG_AGO * DAY)

    # while one of its messages may be asked about, it stays
    built.run("UPDATE paceline_message SET poll_at = 1")
    assert purge(built) == {}
    built.run("UPDATE paceline_message SET poll_at = NULL")

    # then everything of it goes, and other lines stay
    lines = built.rows("SELECT count(*) AS n FROM paceline_stream WHERE broadcast = ''")[0]["n"]
    assert purge(built) == {"contents": 1, "messages": 1, "broadcasts": 1, "idempotency_keys": 1}
    assert built.rows("SELECT id FROM paceline_broadcast") == []
    assert built.rows("SELECT count(*) AS n FROM paceline_stream")[0]["n"] == lines

    # and its name may be used again
    assert sent_to_many(built, YESTERDAY) != first
    assert purge(built) == {}


# Events and webhooks


def test_events_are_kept_until_they_have_a_place_and_were_published(built: Installation) -> None:
    for position in (1, 2, 3):
        happened(built, 91, position=position, kind="message_received", data="{}")
    happened(built, 91, position=None, kind="message_received")
    happened(built, 89, position=4, kind="message_received")
    built.run("INSERT INTO paceline_relay (id, assigned, published) VALUES (1, 3, 1)")

    assert purge(built, told=True) == {"contents": 1, "events": 1}
    assert [row["position"] for row in built.rows("SELECT position FROM paceline_event ORDER BY id")] == [2, 3, None, 4]

    built.run("UPDATE paceline_relay SET published = NULL")  # the task was named a moment ago
    assert purge(built, told=True) == {}
    assert purge(built) == {"contents": 2, "events": 2}
    assert [row["position"] for row in built.rows("SELECT position FROM paceline_event ORDER BY id")] == [None, 4]


def test_a_message_that_goes_leaves_the_events_that_nobody_was_told_of(built: Installation) -> None:
    ended(built, 91)
    built.run("INSERT INTO paceline_relay (id, assigned, published) VALUES (1, 1, 0)")

    purge(built, told=True)
    assert left(built) == {"event": 1}

    built.run("UPDATE paceline_relay SET published = 1")
    assert purge(built, told=True) == {"events": 1}


def test_a_message_that_goes_leaves_the_events_that_have_no_place_yet(built: Installation) -> None:
    ended(built, 91)
    built.run("UPDATE paceline_event SET position = NULL")

    purge(built)

    assert left(built) == {"event": 1}


def test_what_people_wrote_goes_with_the_contents(built: Installation) -> None:
    happened(built, 31, kind="message_received", data='{"text": "hello"}')
    happened(built, 29, kind="message_received", data='{"text": "hello"}')

    assert purge(built) == {"contents": 1}

    assert [dict(event.data) for event in built.client.events()] == [{}, {"text": "hello"}]


def test_webhooks_are_kept_while_their_message_is_looked_for(built: Installation) -> None:
    for number, (days, match_at) in enumerate([(31, None), (31, 9e9), (29, None)]):
        built.run(
            "INSERT INTO paceline_webhook (fingerprint, dedup_key, account, kind, received_at, match_at)"
            " VALUES ('f', :key, :account, 'status', :at, :match_at)",
            key=str(number), account=ACCOUNT, at=time.time() - days * DAY, match_at=match_at,
        )  # fmt: skip

    assert purge(built) == {"webhooks": 1}

    assert [row["dedup_key"] for row in built.rows("SELECT dedup_key FROM paceline_webhook ORDER BY id")] == ["1", "2"]


# Jobs and the ledger


def job(built: Installation, days: float, status: str = "done", key: str | None = None) -> str:
    then, id_ = time.time() - days * DAY, new_id()
    values = {
        "id": id_, "account": ACCOUNT, "lane": SEND, "operation": "o", "arguments": '{"to": "x"}', "memory": "{}",
        "digest": "d", "idempotency_key": key, "status": status, "step": "", "result": "[1]", "created_at": then,
        "updated_at": then, "due_at": then, "attempt": 1, "failures": 0, "unresolved": False,
    }  # fmt: skip
    built.run(
        f"INSERT INTO paceline_job ({', '.join(values)}) VALUES ({', '.join(':' + name for name in values)})", **values
    )
    return id_


def test_a_job_that_has_ended_goes_and_its_key_keeps_an_empty_one(built: Installation) -> None:
    job(built, 31)
    job(built, 31, "failed", key="k")
    job(built, 181, "cancelled", key="l")
    stays = {job(built, 29), *(job(built, 999, status) for status in ("queued", "sending", "unknown"))}

    assert purge(built) == {"contents": 3, "jobs": 2}

    rows = built.rows("SELECT * FROM paceline_job")
    assert {row["id"] for row in rows if row["result"] == "[1]"} == stays
    [empty] = [row for row in rows if row["id"] not in stays]
    assert (empty["idempotency_key"], empty["arguments"], empty["result"], empty["digest"]) == ("k", "{}", None, "d")


def spent(built: Installation, hours: float, key: str = ACCOUNT) -> None:
    then = time.time() - hours * 3600
    built.run(
        "INSERT INTO paceline_grant (id, key, lane, high, rest, created_at, lease_until, granted_high, granted_rest,"
        " granted_at, closed, last_at) VALUES (:id, :key, :lane, 0, 1, :at, :lease, 0, 1, :at, 1, :at)",
        id=new_id(), key=key, lane=f"{key}/send", at=then, lease=then + 50,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "window"), [(["100/minute"], 1 / 60), (["100/minute", "5000/day"], 26), (["9000/100h"], 100)]
)
def test_the_ledger_outlasts_the_longest_window_of_any_key(build: Build, limits: list[str], window: float) -> None:
    """Given grants of an hour's retention, then those within the longest limit, a lease and a margin stay."""
    built = build(limits={"send": limits})
    spent(built, window + 0.9)
    spent(built, window + 1.2)
    spent(built, window + 1.2, key="gone")

    assert purge(built, grants=3600.0) == {"grants": 2}

    assert left(built) == {"grant": 1}


def test_a_short_retention_keeps_messages_as_long_as_the_ledger(build: Build) -> None:
    built = build(limits={"send": ["9000/100h"]})
    ended(built, 4)

    assert purge(built, messages=3600.0) == {"contents": 1}

    assert left(built)["attempt"] == 1

"""What time does to broadcasts: local times, hours, recurrences, ramp-ups, deadlines, whoever dies meanwhile."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from paceline import Text
from paceline.broadcast import runs
from tests.support.installation import ACCOUNT, Installation, recipient, until
from worker.broadcasts.tick import Broadcasts

Build = Callable[..., Installation]

HI = Text(to="{id}", text="Hi")


def rows(count: int, **columns: str) -> list[dict[str, str]]:
    return [{"id": recipient(number), **columns} for number in range(count)]


def lines(built: Installation) -> dict[str, bool]:
    """Whether each line of the broadcasts is held, by its zone and day."""
    found = built.rows("SELECT zone, day, held FROM paceline_stream WHERE broadcast <> '' ORDER BY id")
    return {f"{row['zone']}/{row['day']}": bool(row["held"]) for row in found}


def at_hour(first: int, after: int) -> str:
    """Sending hours from the beginning of that hour to that of another, both counted from now, in UTC."""
    now = datetime.now(UTC)
    return f"{now + timedelta(hours=first):%H}:00-{now + timedelta(hours=after):%H}:00"


def settled(built: Installation, status: str, sql: str = "1 = 1") -> None:
    built.run(f"UPDATE paceline_message SET status = :status, due_at = NULL WHERE {sql}", status=status)


def test_it_waits_for_its_time_and_goes_then(build: Build) -> None:
    built = build()
    soon = datetime.now(UTC) + timedelta(hours=1)
    view = built.client.broadcast("b", HI, rows(3), ACCOUNT, send_at=soon)
    steering = Broadcasts(built.engine)
    assert steering.steer() == 1
    assert (view.refresh().status, lines(built)) == ("scheduled", {"/1": True})

    definition = json.loads(built.rows("SELECT definition FROM paceline_broadcast")[0]["definition"])
    built.run("UPDATE paceline_broadcast SET definition = :d", d=json.dumps({**definition, "send_at": 1.0}))
    woken: list[str] = []
    Broadcasts(built.engine, woken.append).steer()
    assert (view.refresh().status, lines(built), woken) == ("running", {"/1": False}, [ACCOUNT])


def test_each_zone_is_let_go_at_its_own_nine_oclock(build: Build) -> None:
    # given two zones, in one of which the time comes three hours before the other
    built = build()
    people = rows(2, tz="America/New_York") + [{"id": recipient(9), "tz": "America/Los_Angeles"}]
    wall = (datetime.now(UTC) + timedelta(days=1)).replace(tzinfo=None)
    built.client.broadcast("b", HI, people, ACCOUNT, send_at=wall, timezone="recipient", zone_column="tz")
    steering = Broadcasts(built.engine)
    steering.steer()
    assert lines(built) == {"America/New_York/1": True, "America/Los_Angeles/1": True}

    # when it is that time in New York
    definition = json.loads(built.rows("SELECT definition FROM paceline_broadcast")[0]["definition"])
    now_in_new_york = datetime.now(UTC).astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)
    definition["local_send_at"] = (now_in_new_york - timedelta(minutes=1)).isoformat()
    built.run("UPDATE paceline_broadcast SET definition = :d", d=json.dumps(definition))
    Broadcasts(built.engine).steer()

    # then New York's go, and Los Angeles' wait
    assert lines(built) == {"America/New_York/1": False, "America/Los_Angeles/1": True}


def test_outside_of_its_hours_its_lines_are_held_and_what_is_left_goes_on_the_next_day(build: Build) -> None:
    built = build()
    view = built.client.broadcast("b", HI, rows(3), ACCOUNT, sending_hours=at_hour(-1, 2), timezone="UTC")
    Broadcasts(built.engine).steer()
    assert (view.refresh().status, lines(built)) == ("running", {"/1": False})

    definition = json.loads(built.rows("SELECT definition FROM paceline_broadcast")[0]["definition"])
    built.run(
        "UPDATE paceline_broadcast SET definition = :d", d=json.dumps({**definition, "sending_hours": at_hour(5, 6)})
    )
    Broadcasts(built.engine).steer()
    assert (view.refresh().status, lines(built)) == ("running", {"/1": True})
    finish = view.forecast().finish_at
    assert finish is not None
    assert 3.9 < (finish - datetime.now(UTC)).total_seconds() / 3600 <= 5.1
    assert view.forecast().limited_by == "sending hours"


def test_after_its_deadline_the_rest_expires_and_it_ends_saying_so(build: Build) -> None:
    built = build()
    ends = datetime.now(UTC) + timedelta(hours=2)
    view = built.client.broadcast(
        "b", HI, rows(3), ACCOUNT, expires_at=ends, sending_hours=at_hour(4, 5), timezone="UTC"
    )
    assert view.forecast().late
    built.run("UPDATE paceline_message SET expires_at = 1")
    service = built.service()
    service.sweep()
    service.broadcasts.steer()
    view = view.refresh()
    assert (view.status, view.counts["expired"], view.reason) == ("finished", 3, "3 expired")


def test_one_of_whose_recipients_nobody_is_left_is_finished(build: Build) -> None:
    built = build()
    built.client.suppress("aurogy", recipient(0))
    soon = datetime.now(UTC) + timedelta(hours=1)
    view = built.client.broadcast("b", HI, rows(1), ACCOUNT, send_at=soon)
    Broadcasts(built.engine).steer()
    assert (view.refresh().status, view.counts["suppressed"]) == ("finished", 1)


def recurring(built: Installation, count: int = 3) -> Any:
    return built.client.broadcast("news", HI, rows(count), ACCOUNT, cron="0 9 * * *", timezone="Europe/London")


def its_runs(built: Installation) -> list[Any]:
    return [view for view in built.client.broadcasts() if view.name != "news"]


def test_a_run_is_made_once_however_many_beats_there_are(build: Build) -> None:
    # given a recurrence that is due, and eight beats that see it at once
    built = build()
    view = recurring(built)
    assert (view.status, view.next_run_at is not None) == ("scheduled", True)
    built.run("UPDATE paceline_broadcast SET next_run_at = 1700000000")
    steering = [Broadcasts(built.engine) for _ in range(8)]
    threads = [threading.Thread(target=each.steer) for each in steering]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # then there is one run, named after its local time with its offset, with the same recipients
    assert [each.name for each in its_runs(built)] == ["news@2023-11-14T22:13+0000"]
    Broadcasts(built.engine).work()
    run = its_runs(built)[0]
    assert (run.status, run.counts["queued"], run.counts["recipients"]) == ("running", 3, 3)
    # and the next one is in the future; what was missed is not made up for
    following = view.refresh().next_run_at
    assert following > datetime.now(UTC)
    Broadcasts(built.engine).steer()
    assert len(its_runs(built)) == 1


def test_a_run_that_a_worker_died_over_is_copied_without_a_gap_or_a_double(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a run of 1,000 messages, copied a hundred at a time by workers that die before or after each commit
    built = build()
    recurring(built, 1_000)
    built.client.suppress("aurogy", recipient(17))
    built.run("UPDATE paceline_broadcast SET next_run_at = 1700000000")
    Broadcasts(built.engine).steer()
    monkeypatch.setattr(runs, "CHUNK", {"postgresql": 100, "sqlite": 100})
    copies = 0
    whole = runs.copy_chunk

    def dying(transaction: Any, run: Any) -> Any:
        nonlocal copies
        copies += 1
        found = whole(transaction, run)
        if copies % 2:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr("worker.broadcasts.work.copy_chunk", dying)
    for _ in range(40):
        try:
            Broadcasts(built.engine).work()
            break
        except KeyboardInterrupt:
            continue

    run = its_runs(built)[0]
    assert (run.counts["messages"], run.counts["suppressed"], run.status) == (999, 1, "running")
    found = built.rows(
        "SELECT m.payload FROM paceline_message m JOIN paceline_stream s ON s.id = m.stream_id WHERE s.broadcast = :id",
        id=run.id,
    )
    assert len({row["payload"] for row in found}) == len(found) == 999


def test_a_name_that_somebody_took_does_not_stop_a_run(build: Build) -> None:
    built = build()
    recurring(built)
    built.client.broadcast("news@2023-11-14T22:13+0000", HI, rows(1), ACCOUNT, paused=True)
    built.run("UPDATE paceline_broadcast SET next_run_at = 1700000000 WHERE next_run_at IS NOT NULL")
    Broadcasts(built.engine).steer()
    assert len(its_runs(built)) == 2


def test_each_run_that_was_missed_while_no_worker_ran_is_made_once(build: Build) -> None:
    # given a recurrence of each minute, and workers that were away for three minutes
    built = build()
    view = built.client.broadcast("news", HI, rows(1), ACCOUNT, cron="* * * * *", timezone="Europe/London")
    first = time.time() // 60 * 60 - 180
    built.run("UPDATE paceline_broadcast SET next_run_at = :at", at=first)

    # when they are back
    for _ in range(6):
        Broadcasts(built.engine).steer()

    # then there is a run for each of those minutes, and the next one is in the future
    made = sorted(row["run_at"] for row in built.rows("SELECT run_at FROM paceline_broadcast WHERE parent IS NOT NULL"))
    assert made == [first + 60 * number for number in range(len(made))]
    assert len(made) >= 4
    following = view.refresh().next_run_at
    assert following is not None
    assert following.timestamp() == made[-1] + 60


@pytest.mark.parametrize(
    "payload", ["not json", "[" * 100_000, "[]", r'{"kind": "text", "to": "\ud800", "text": "Hi"}', '{"text": 7}']
)
def test_a_damaged_message_of_a_recurrence_keeps_no_other_from_its_run(build: Build, payload: str) -> None:
    # given a recurrence of three messages, one of them damaged, and somebody who opted out
    built = build()
    recurring(built)
    built.client.suppress("aurogy", recipient(17))
    [first, *_] = built.rows("SELECT id FROM paceline_message ORDER BY id")
    built.run("UPDATE paceline_message SET payload = :payload WHERE id = :id", payload=payload, id=first["id"])
    built.run("UPDATE paceline_broadcast SET next_run_at = 1700000000")

    # when its run is made and carried out
    Broadcasts(built.engine).steer()
    Broadcasts(built.engine).work()
    service = built.service()
    until(
        lambda: (
            (service.tick(), service.pump.run_slice(0.2))
            and built.statuses().get("accepted") == 2
            and built.statuses().get("failed")
        )
    )

    # then the damaged one has failed alone, and says why
    [damaged] = built.client.messages(status="failed")
    assert "no request can be made of it" in str(damaged.reason)


@pytest.mark.parametrize("definition", ["not json", "[" * 100_000, "[]", "{}", '{"message": {"kind": "text"}}'])
def test_a_damaged_broadcast_keeps_no_other_from_its_work_and_can_be_cancelled(build: Build, definition: str) -> None:
    # given two recurrences with a run each, and the first of them damaged
    built = build()
    recurring(built)
    built.client.broadcast("offers", HI, rows(1), ACCOUNT, cron="0 9 * * *", timezone="Europe/London")
    built.run("UPDATE paceline_broadcast SET next_run_at = 1700000000")
    Broadcasts(built.engine).steer()
    damaged, sound = sorted((view for view in built.client.broadcasts() if "@" in view.name), key=lambda view: view.id)
    built.run("UPDATE paceline_broadcast SET definition = :text WHERE id = :id", text=definition, id=damaged.id)

    # when they are carried out
    Broadcasts(built.engine).work()
    Broadcasts(built.engine).steer()

    # then the other one goes, and people see both and can end the one that is stuck
    statuses = {row["id"]: row["status"] for row in built.rows("SELECT id, status FROM paceline_broadcast")}
    assert (statuses[damaged.id], statuses[sound.id]) == ("expanding", "running")
    views = {view.id: view for view in built.client.broadcasts()}
    assert views[damaged.id].metadata == {"content": "(unreadable)"}
    assert views[damaged.id].cancel().status == "cancelled"


def test_a_paused_recurrence_makes_no_run_and_a_cancelled_one_never_again(build: Build) -> None:
    built = build()
    view = recurring(built).pause()
    built.run("UPDATE paceline_broadcast SET next_run_at = 1700000000")
    Broadcasts(built.engine).steer()
    assert its_runs(built) == []
    view.cancel()
    built.run("UPDATE paceline_broadcast SET next_run_at = 1700000000")
    Broadcasts(built.engine).steer()
    Broadcasts(built.engine).work()
    assert its_runs(built) == []
    assert built.statuses() == {"cancelled": 3}


def test_a_ramp_up_lets_so_many_go_each_day_and_a_pause_saves_nothing_up(build: Build) -> None:
    # given 10 on the first day and twice as many each day after, for 60
    built = build()
    view = built.client.broadcast("b", HI, rows(60), ACCOUNT, ramp_up={"first": 10})
    steering = Broadcasts(built.engine)
    steering.steer()
    assert lines(built) == {"/1": False, "/2": True, "/3": True}
    days = built.rows(
        "SELECT s.day, count(*) AS number FROM paceline_message m JOIN paceline_stream s ON s.id = m.stream_id "
        "GROUP BY s.day"
    )
    assert {row["day"]: row["number"] for row in days} == {1: 10, 2: 20, 3: 30}
    finish = view.forecast().finish_at
    assert finish is not None
    assert 1.99 < (finish - datetime.now(UTC)).total_seconds() / 86_400 < 2.01
    assert view.forecast().limited_by == "the ramp-up"

    # when the first day is over but not all of it has left, then the second does not begin
    built.run("UPDATE paceline_stream SET released_at = released_at - 90000 WHERE released_at IS NOT NULL")
    steering.steer()
    assert lines(built)["/2"] is True

    # when it has, the second begins, and the third not before a day after it, however long ago the first was
    settled(built, "accepted", "stream_id IN (SELECT id FROM paceline_stream WHERE day = 1 AND broadcast <> '')")
    steering.steer()
    assert lines(built) == {"/1": False, "/2": False, "/3": True}
    settled(built, "accepted", "stream_id IN (SELECT id FROM paceline_stream WHERE day = 2)")
    steering.steer()
    assert lines(built)["/3"] is True

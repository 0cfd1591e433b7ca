"""Staging: whoever dies in the middle is taken up where they stood, and whatever is refused leaves nothing behind."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paceline import BadRecipients, IdempotencyConflict, InvalidMessage, Text
from paceline.broadcast import staging
from tests.acceptance.commands_support import ROOT, clean_environment
from tests.support.installation import ACCOUNT, Installation, recipient, until
from worker.broadcasts.work import BroadcastWork
from worker.lanes.backlog import waiting_lanes

Build = Callable[..., Installation]

HELLO = Text(to="{id}", text="Hi {first_name}.")
# It says when a chunk, a small one, has been committed, and waits to be told to go on.
PRODUCER = """
import sys
from paceline import Client, Text
from paceline.broadcast.expansion import Expander
from paceline.bulk import CHUNK
CHUNK["postgresql"] = 500
whole = Expander.chunks
def chunks(*arguments):
    for chunk in whole(*arguments):
        yield chunk
        print("stored", flush=True)
        sys.stdin.readline()
Expander.chunks = chunks
view = Client(sys.argv[1], environ={}).broadcast(
    "sale", Text(to="{id}", text="Hi {first_name}."), sys.argv[2], "aurogy-main", paused=True, rejects=sys.argv[3])
print(view.counts["messages"])
"""


def people(path: Path, count: int, *more: str) -> Path:
    lines = [f"{recipient(number)},Name {number}" for number in range(count)]
    path.write_text("id,first_name\n" + "\n".join([*lines, *more]) + "\n", encoding="utf-8")
    return path


def nothing_is_left(built: Installation) -> None:
    for table in ("message", "idempotency_key", "broadcast"):
        assert built.rows(f"SELECT * FROM paceline_{table}") == []
    assert built.rows("SELECT * FROM paceline_stream WHERE broadcast <> ''") == []


def recipients_of(built: Installation) -> list[str]:
    return [json.loads(row["payload"])["to"] for row in built.rows("SELECT payload FROM paceline_message")]


def test_a_producer_that_is_killed_again_and_again_writes_to_everybody_once(build: Build, tmp_path: Path) -> None:
    # given 6,000 recipients with some twice, and a producer that dies at a random moment, three times
    built, chance = build(), random.Random(7)
    twice = [f"{recipient(number)},Again" for number in range(0, 6_000, 100)]
    file = people(tmp_path / "people.csv", 6_000, *twice)
    command = [sys.executable, "-c", PRODUCER, str(built.settings_file), str(file), str(tmp_path / "rejects.csv")]
    stopped = []
    for _ in range(3):
        with subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "stored\n"
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(chance.choice([0.0, 0.01, 0.05]))  # somewhere in the next chunk
            process.send_signal(signal.SIGKILL)
        until(lambda: alone(built))
        stopped.append(len(recipients_of(built)))

    # when it is called once more
    view = built.client.broadcast("sale", HELLO, file, ACCOUNT, paused=True, rejects=tmp_path / "rejects.csv")

    # then nobody is missing, nobody is there twice, and the counts are right
    found = recipients_of(built)
    assert sorted(found) == sorted(recipient(number) for number in range(6_000))
    counted = {name: view.counts[name] for name in ("recipients", "duplicates", "invalid", "suppressed", "messages")}
    assert counted == {"recipients": 6_060, "duplicates": 60, "invalid": 0, "suppressed": 0, "messages": 6_000}
    assert 0 < stopped[0] < stopped[1] < stopped[2] < 6_000


def alone(built: Installation) -> bool:
    """Whether a server has ended what a client asked for that is there no more: it may commit it still."""
    if built.engine.dialect.name == "sqlite":
        return True
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> "
    return built.rows(f"{others} pg_backend_pid()") == []


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, whole: Any = staging._Store.chunk) -> None:
    """Let the next staging die after so many chunks."""
    chunks = iter(range(after))

    def chunk(self: Any, one: Any) -> None:
        if next(chunks, None) is None:
            raise KeyboardInterrupt
        whole(self, one)

    monkeypatch.setattr(staging._Store, "chunk", chunk)
    monkeypatch.setattr(staging, "CHUNK", {"postgresql": 100, "sqlite": 100})


def half_staged(built: Installation, file: Path, **more: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            built.client.broadcast("sale", HELLO, file, ACCOUNT, **more)


def test_what_is_half_staged_is_seen_by_no_claim_and_says_so(build: Build, tmp_path: Path) -> None:
    built = build()
    half_staged(built, people(tmp_path / "p.csv", 500))
    service = built.service()
    service.tick()
    service.pump.run_slice(0.3)
    assert built.statuses() == {"queued": 200}
    with built.engine.connect() as connection:
        assert waiting_lanes(connection, built.topology).lanes == []
    view = built.client.get_broadcast("sale")
    assert view.status == "scheduled"
    assert view.reason == "its recipients are being read, 200 so far; if that was interrupted, start it again"


def test_it_is_taken_up_though_its_time_has_come_meanwhile(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given one that was to go in a minute, whose producer died
    built, file = build(), people(tmp_path / "p.csv", 300)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    times: dict[str, Any] = {"send_at": soon, "expires_at": soon + timedelta(hours=1)}
    half_staged(built, file, **times)

    # when the same call is made again two minutes later, then it goes
    directories = built.client._open().directories
    monkeypatch.setattr(directories, "database_now", lambda _: soon.timestamp() + 60)
    view = built.client.broadcast("sale", HELLO, file, ACCOUNT, **times)
    assert view.counts["messages"] == 300

    # while another of that time is refused, as is said
    with pytest.raises(InvalidMessage, match="send_at: must lie in the future"):
        built.client.broadcast("another", HELLO, file, ACCOUNT, **times)


@pytest.mark.parametrize("change", ["another row before", "another definition", "fewer rows"])
def test_another_file_or_definition_does_not_take_it_up(build: Build, tmp_path: Path, change: str) -> None:
    built, file = build(), people(tmp_path / "p.csv", 500)
    half_staged(built, file)
    message = Text(to="{id}", text="Bye {first_name}.") if change == "another definition" else HELLO
    if change == "another row before":
        file.write_text(file.read_text().replace("Name 7\n", "Name 8\n"))
    if change == "fewer rows":
        people(file, 150)
    with pytest.raises(IdempotencyConflict):
        built.client.broadcast("sale", message, file, ACCOUNT)
    assert built.statuses() == {"queued": 200}


def test_a_broadcast_that_is_complete_is_returned_for_the_same_recipients_only(build: Build, tmp_path: Path) -> None:
    built, file = build(), people(tmp_path / "p.csv", 50)
    first = built.client.broadcast("sale", HELLO, file, ACCOUNT)
    assert built.client.broadcast("sale", HELLO, file, ACCOUNT).id == first.id
    people(file, 51)
    with pytest.raises(IdempotencyConflict, match="recipients: are not those of the broadcast 'sale'"):
        built.client.broadcast("sale", HELLO, file, ACCOUNT)
    file.unlink()  # it was read long ago
    assert built.client.broadcast("sale", HELLO, file, ACCOUNT).id == first.id
    assert built.statuses() == {"queued": 50}


def test_two_that_stage_the_same_at_once_count_nothing_twice(build: Build, tmp_path: Path) -> None:
    # given a second producer that stores the first chunk while the first one is about to
    built, file = build(), people(tmp_path / "p.csv", 300)
    whole, others = staging._Store.chunk, iter([1])

    def late(self: Any, one: Any) -> None:
        if next(others, None):
            with pytest.MonkeyPatch.context() as inner:
                interrupted(inner, 1, whole)
                with pytest.raises(KeyboardInterrupt):
                    built.client.broadcast("sale", HELLO, file, ACCOUNT, paused=True)
        whole(self, one)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "CHUNK", {"postgresql": 100, "sqlite": 100})
        patch.setattr(staging._Store, "chunk", late)
        with pytest.raises(IdempotencyConflict, match="is being staged elsewhere"):
            built.client.broadcast("sale", HELLO, file, ACCOUNT, paused=True)

    # then the faster one's counts stand, and whoever goes on has them all
    assert built.client.get_broadcast("sale").counts["messages"] == 100
    view = built.client.broadcast("sale", HELLO, file, ACCOUNT, paused=True)
    assert (view.counts["messages"], view.counts["duplicates"]) == (300, 0)
    assert len(set(recipients_of(built))) == len(recipients_of(built)) == 300


def test_a_commit_whose_answer_was_lost_counts_once(build: Build, tmp_path: Path) -> None:
    built, file = build(), people(tmp_path / "p.csv", 300, f"{recipient(5)},Again")
    opened = built.client._open()
    write, lost = opened.write, iter([True])

    def twice(work: Any) -> Any:
        if "chunk" in getattr(work, "__qualname__", "") and next(lost, False):
            write(work)  # kept, and nobody heard
        return write(work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened, "write", twice)
        view = built.client.broadcast("sale", HELLO, file, ACCOUNT, paused=True)
    assert (view.counts["messages"], view.counts["duplicates"], view.counts["recipients"]) == (300, 1, 301)


def test_a_file_that_breaks_after_chunks_were_staged_leaves_nothing(build: Build, tmp_path: Path) -> None:
    built = build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "CHUNK", {"postgresql": 100, "sqlite": 100})
        with pytest.raises(BadRecipients, match="line 352 has 3 cells"):
            built.client.broadcast("sale", HELLO, people(tmp_path / "p.csv", 350, "a,b,c"), ACCOUNT)
    nothing_is_left(built)


def test_an_iterable_that_raises_in_the_middle_leaves_nothing_and_its_own_exception(build: Build) -> None:
    # given a query that breaks off after chunks were staged
    built = build()

    def query(breaks: bool) -> Iterator[dict[str, str]]:
        for number in range(250):
            yield {"id": recipient(number), "first_name": f"{breaks}"}
        if breaks:
            raise TimeoutError("the query took too long")

    # when it is broadcast, then the caller hears it, and may come with other rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "CHUNK", {"postgresql": 100, "sqlite": 100})
        with pytest.raises(TimeoutError, match="the query took too long"):
            built.client.broadcast("sale", HELLO, query(True), ACCOUNT)
    nothing_is_left(built)
    assert built.client.broadcast("sale", HELLO, query(False), ACCOUNT, paused=True).counts["messages"] == 250


def test_a_removal_that_was_interrupted_is_finished_by_the_next_call_or_by_a_worker(
    build: Build, tmp_path: Path
) -> None:
    # given a file that breaks, and a producer that dies while it removes what it had staged
    built = build()
    broken = people(tmp_path / "p.csv", 350, "a,b,c")
    for how in ("the next call", "a worker"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(staging, "CHUNK", {"postgresql": 100, "sqlite": 100})
            removes, died = staging.discard_some, iter([True])

            def discard(transaction: Any, id_: str, removes: Any = removes, died: Iterator[bool] = died) -> bool:
                more: bool = removes(transaction, id_)
                if next(died, False):
                    return more
                raise KeyboardInterrupt

            patch.setattr(staging, "discard_some", discard)
            with pytest.raises(KeyboardInterrupt):
                built.client.broadcast("sale", HELLO, broken, ACCOUNT)
        assert 0 < len(recipients_of(built)) < 350

        # then the corrected file is staged whole, and where nobody calls again a worker clears up
        if how == "the next call":
            view = built.client.broadcast("sale", HELLO, people(tmp_path / "good.csv", 350), ACCOUNT, paused=True)
            assert view.counts["messages"] == len(recipients_of(built)) == 350
            staging.abandon(built.client._open(), view.id)
            built.run("UPDATE paceline_broadcast SET status = 'discarding'")
        built.run("UPDATE paceline_broadcast SET updated_at = updated_at - 100")
        BroadcastWork(built.engine, lambda _via: None).round()
        nothing_is_left(built)


@pytest.mark.parametrize(
    ("message", "rows", "more", "sentence"),
    [
        (HELLO, [{"id": "+15550100", "first_name": "A"}] * 2, {}, r"line 1 and all that follow are refused alike"),
        (Text(to="{id}", text=""), [{"id": recipient(1)}], {}, r"text: "),
        (Text(to="{id}", text="Hi", sender="Me"), [{"id": recipient(1)}], {}, r"sender: account .* has no such field"),
        (HELLO, [{"id": recipient(1), "first_name": "A"}], {"options": {"no": 1}}, r"options.no: is not an option"),
        (HELLO, [{"id": recipient(1), "first_name": "A"}], {"rejects": "/no/such/place"}, r"rejects: cannot be"),
        (
            HELLO, [{"id": recipient(1), "first_name": "A", "tz": "Mars/Base"}],
            {"timezone": "recipient", "zone_column": "tz"}, r"line 1 and all that follow are refused alike: tz",
        ),
        (
            HELLO, [{"id": recipient(1), "first_name": "A", "tz": ""}],
            {"timezone": "recipient", "zone_column": "tz", "send_at": datetime(2099, 3, 29, 9)},  # noqa: DTZ001
            r"line 1 and all that follow are refused alike: tz: must be an IANA name",
        ),
        (
            HELLO, [{"id": recipient(1), "first_name": "A"}],
            {"timezone": "recipient", "zone_column": "tz"}, r"line 1 has no tz, which zone_column names",
        ),
        (
            HELLO, [{"id": recipient(1), "first_name": "A", "tz": "Europe/London"}],
            {"timezone": "recipient", "zone_column": "tz", "send_at": datetime(2099, 3, 29, 1, 30)},  # noqa: DTZ001
            r"recipients: line 1 is in Europe/London, where send_at does not exist",
        ),
    ],
)  # fmt: skip
def test_what_would_be_refused_alike_for_everybody_is_said_once_and_nothing_queued(
    build: Build, message: Text, rows: list[dict[str, str]], more: dict[str, Any], sentence: str
) -> None:
    built = build()
    with pytest.raises(InvalidMessage, match=sentence):
        built.client.broadcast("sale", message, rows, ACCOUNT, **more)
    nothing_is_left(built)


def test_a_time_that_is_over_in_somebodys_zone_names_the_line(build: Build) -> None:
    built = build()
    an_hour_ago_in_tokyo = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=8)
    rows = [{"id": recipient(number), "tz": zone} for number, zone in enumerate(("America/New_York", "Asia/Tokyo"))]
    with pytest.raises(BadRecipients, match="line 2 is in Asia/Tokyo, where send_at is over: take a later time"):
        built.client.broadcast(
            "sale", Text(to="{id}", text="Hi"), rows, ACCOUNT, send_at=an_hour_ago_in_tokyo, timezone="recipient",
            zone_column="tz",
        )  # fmt: skip
    nothing_is_left(built)


def test_a_preview_counts_what_staging_would_and_stores_nothing(build: Build, tmp_path: Path) -> None:
    built = build()
    built.client.suppress("aurogy", recipient(3))
    file = people(tmp_path / "p.csv", 20, f"{recipient(1)},Again", "not an id,Bob")
    found, _ = built.client.preview("sale", HELLO, file, ACCOUNT, rejects=tmp_path / "r.csv")
    nothing_is_left(built)
    view = built.client.broadcast("sale", HELLO, file, ACCOUNT, paused=True, rejects=tmp_path / "again.csv")
    assert {name: view.counts[name] for name in found.as_json() if name != "warnings"} == {
        "recipients": 22, "duplicates": 1, "suppressed": 1, "invalid": 1, "messages": 19, "parts": 19,
    }  # fmt: skip
    assert found.as_json() == {
        **{name: view.counts[name] for name in found.as_json() if name != "warnings"},
        "warnings": [],
    }
    assert (tmp_path / "r.csv").read_text() == (tmp_path / "again.csv").read_text()
    assert "5,suppressed,to: has opted out of this channel" in (tmp_path / "r.csv").read_text()


def test_numbers_written_as_at_home_are_one_with_the_same_abroad(build: Build) -> None:
    account = (
        'provider = "augnet"\nproject_id = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"\napi_key = "k"\nsender = "Shop"\n'
        'base_url = "http://127.0.0.1:9"'
    )
    built = build(accounts=f"[accounts.sms]\n{account}\n")
    numbers = (
        "07700 900123",
        "+44 7700 900123",
        "+447700900123",
        "(020) 7946-0018",
        "12",
        "+1 415 555 2671",
        "7946 0018",
    )
    rows = [{"to": to} for to in numbers]
    found, _ = built.client.preview("sale", Text(to="{to}", text="Hi"), rows, "sms", default_region="GB")
    assert (found.messages, found.duplicates, found.invalid) == (3, 2, 2)


def test_one_that_comes_late_stands_beside_those_that_wait_and_does_not_catch_up(build: Build) -> None:
    # given one that waits and had 500 already, and lines on which nothing waits
    built, hello = build(), Text(to="{id}", text="Hi")
    theirs = built.client.broadcast("theirs", hello, [{"id": recipient(1)}], ACCOUNT)
    built.run("UPDATE paceline_stream SET passed = 500 WHERE broadcast = :id", id=theirs.id)

    mine = built.client.broadcast("mine", hello, [{"id": recipient(2)}], ACCOUNT)

    assert built.rows("SELECT passed FROM paceline_stream WHERE broadcast = :id", id=mine.id) == [{"passed": 500.0}]

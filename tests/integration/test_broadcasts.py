"""Broadcasts from a file of recipients to the sandbox: staged, let go, paused, resumed, cancelled, finished."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paceline import Text
from paceline.broadcast.recipients import BadRecipients
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, recipient, turn, until
from worker.service import Service

Build = Callable[..., Installation]


def people(path: Path, count: int, *, start: int = 0) -> Path:
    lines = [f"{recipient(number)},Name {number}" for number in range(start, start + count)]
    path.write_text("id,first_name\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


HELLO = Text(to="{id}", text="Hi {first_name}, 20 % off.")


def run(service: Service) -> bool:
    service.broadcasts.steer()
    turn(service)
    service.broadcasts.work()
    return True


def test_everybody_in_the_file_is_written_to_once(build: Build, sandbox: SandboxServer, tmp_path: Path) -> None:
    built = build(poll={"schedule": [600]})
    file = people(tmp_path / "people.csv", 30)
    with file.open("a", encoding="utf-8") as more:
        more.write(f"{recipient(3)},Again\nno-such-address!,Nobody\n{recipient(77)},Out\n")
    built.client.suppress("aurogy", recipient(77))
    rejects = tmp_path / "rejects.csv"

    view = built.client.broadcast("sale", HELLO, file, ACCOUNT, rejects=rejects)

    assert view.status == "running"
    asked = {
        name: view.counts[name] for name in ("recipients", "duplicates", "suppressed", "invalid", "messages", "queued")
    }
    assert asked == {"recipients": 33, "duplicates": 1, "suppressed": 1, "invalid": 1, "messages": 30, "queued": 30}
    assert [line.split(",")[:2] for line in rejects.read_text().splitlines()[1:]] == [
        ["32", "duplicate"], ["33", "invalid"], ["34", "suppressed"],
    ]  # fmt: skip
    service = built.service()
    until(lambda: run(service) and view.refresh().status == "finished")
    assert view.refresh().counts["accepted"] == 30
    bodies = sandbox.ledger("aurogy")
    assert len(bodies) == 30


def test_a_missing_column_names_the_line_and_queues_nothing(build: Build, tmp_path: Path) -> None:
    built = build()
    file = people(tmp_path / "people.csv", 20)
    with file.open("a", encoding="utf-8") as more:
        more.write(f"{recipient(99)}\n")

    with pytest.raises(BadRecipients, match="line 22 has no first_name"):
        built.client.broadcast("sale", HELLO, file, ACCOUNT)

    assert built.client.broadcasts() == []
    assert built.statuses() == {}
    assert built.rows("SELECT * FROM paceline_idempotency_key") == []


def test_pause_resume_and_cancel(build: Build, tmp_path: Path) -> None:
    built = build(poll={"schedule": [600]})
    view = built.client.broadcast("sale", HELLO, people(tmp_path / "p.csv", 40), ACCOUNT, paused=True)
    service = built.service()
    run(service)
    assert built.statuses() == {"queued": 40}
    assert view.refresh().status == "paused"

    view.resume()
    until(lambda: run(service) and built.statuses().get("accepted", 0) > 0)
    view.cancel()
    until(lambda: run(service) and built.statuses().get("queued", 0) + built.statuses().get("sending", 0) == 0)
    run(service)
    now: Any = view.refresh()
    assert now.status == "cancelled"
    assert now.counts["accepted"] + now.counts["cancelled"] == 40


def test_the_same_again_is_the_same(build: Build, tmp_path: Path) -> None:
    built = build()
    file = people(tmp_path / "p.csv", 5)
    first = built.client.broadcast("sale", HELLO, file, ACCOUNT)
    again = built.client.broadcast("sale", HELLO, file, ACCOUNT)
    assert again.id == first.id
    assert built.statuses() == {"queued": 5}


def test_a_forecast_is_what_the_limit_allows(build: Build, tmp_path: Path) -> None:
    built = build(limits={"send": ["60/minute"]})
    found, forecast = built.client.preview("sale", HELLO, people(tmp_path / "p.csv", 150), ACCOUNT)
    assert (found.messages, found.parts) == (150, 150)
    assert forecast.finish_at is not None
    view = built.client.broadcast("sale", HELLO, tmp_path / "p.csv", ACCOUNT)
    began, finish, ended = time.time(), view.forecast().finish_at, time.time()
    assert finish is not None
    assert finish.timestamp() - began > 119
    assert finish.timestamp() - ended < 125
    assert view.forecast().limited_by == "60/minute"

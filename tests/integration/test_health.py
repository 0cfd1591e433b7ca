"""`python -m worker.health`: progress is what is asked for, and each part answers for itself alone."""

import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from paceline import wire
from tests.support.installation import Installation
from worker import health

HERE = "testing"
NODES = ["paceline-1@here", "paceline-2@here"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.1)


def let_ticks_wait(valkey: Redis, number: int) -> None:
    for _ in range(number):
        valkey.lpush(wire.system_queue(HERE), "a tick")


def test_a_tick_that_runs_is_progress_of_beat_and_worker(valkey: Redis) -> None:
    valkey.set(wire.tick_key(HERE), "1")
    let_ticks_wait(valkey, 3)

    health.check_beat(valkey, HERE)
    health.check_ticks_are_taken(valkey, HERE)


def test_that_no_tick_is_called_is_the_beats_fault(valkey: Redis) -> None:
    with pytest.raises(health.Unwell, match="beat has called no tick"):
        health.check_beat(valkey, HERE)

    health.check_ticks_are_taken(valkey, HERE)


def test_that_ticks_wait_is_the_workers_fault(valkey: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a beat that goes on calling
    let_ticks_wait(valkey, 3)
    monkeypatch.setattr(health, "_tick_seen", lambda *_: let_ticks_wait(valkey, 1))

    health.check_beat(valkey, HERE)
    with pytest.raises(health.Unwell, match="workers have run no tick"):
        health.check_ticks_are_taken(valkey, HERE)


def test_ticks_that_waited_before_say_nothing_for_the_beat(valkey: Redis) -> None:
    let_ticks_wait(valkey, 3)

    with pytest.raises(health.Unwell, match="beat"):
        health.check_beat(valkey, HERE)


def workers(**ages: list[float | None]) -> Any:
    """Celery, with tasks of these ages in the hands of the nodes that answer."""
    now = time.time()
    active = {
        f"paceline-{node[1:]}@here": [{"time_start": None if age is None else now - age} for age in tasks]
        for node, tasks in ages.items()
    }
    inspect = SimpleNamespace(active=lambda: active or None)
    return SimpleNamespace(control=SimpleNamespace(inspect=lambda **_: inspect))


def test_nodes_that_answer_and_get_done_with_their_tasks_are_well() -> None:
    health.check_nodes(workers(n1=[5.0, None], n2=[]), NODES, longest=60)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "paceline-1@here, paceline-2@here: no answer"),
        ({"n1": []}, "paceline-2@here: no answer"),
        ({"n1": [], "n2": [1.0, 90.0]}, "paceline-2@here: has had a task in hand for 9[0-9] s"),
    ],
    ids=["none answers", "one is silent", "one hangs"],
)
def test_a_node_that_is_silent_or_hangs_is_not(found: dict[str, list[float | None]], said: str) -> None:
    with pytest.raises(health.Unwell, match=said):
        health.check_nodes(workers(**found), NODES, longest=60)


@pytest.mark.parametrize("arguments", [(), ("broker",), ("worker", "beat")])
def test_it_is_asked_for_one_part(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(arguments) == health.WRONG_USE
    assert "takes one of worker, beat" in capsys.readouterr().err


def test_what_keeps_it_from_looking_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACELINE_CONFIG", "/nowhere.toml")

    assert health.main(["beat"]) == health.UNWELL
    assert "/nowhere.toml" in capsys.readouterr().err


def test_a_broker_that_is_away_is_a_sentence_too(
    build: Callable[..., Installation],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    built = build()
    monkeypatch.setenv("PACELINE_CONFIG", str(built.settings_file))
    monkeypatch.setenv("PACELINE_DATABASE_URL", database_url)
    with socket.socket() as taken:  # bound and never listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PACELINE_BROKER_URL", f"redis://127.0.0.1:{taken.getsockname()[1]}/0")
        for part in ("worker", "beat"):
            assert health.main([part]) == health.UNWELL
            assert "The broker does not answer" in capsys.readouterr().err

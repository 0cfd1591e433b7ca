"""Celery's configuration: names that Celery knows, queues in order, and nothing that two installations share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.defaults import SETTING_KEYS
from celery.beat import Service
from kombu.transport.redis import Channel

from config.celery import celery_settings, forget_environment
from config.settings import load
from paceline import wire
from tests.support.servers import start_valkey


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return celery_settings(load(environ={}), "one")


def application(conf: dict[str, Any]) -> Celery:
    made = Celery("test", set_as_current=False)
    made.conf.update(conf)
    return made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    with start_valkey(tmp_path) as url:
        yield url


def test_celery_and_kombu_know_every_name(conf: dict[str, Any]) -> None:
    assert set(conf) <= SETTING_KEYS
    assert set(conf["broker_transport_options"]) <= set(Channel.from_transport_options)


def test_the_broker_owns_nothing(conf: dict[str, Any]) -> None:
    assert conf["task_acks_late"] is False
    assert conf["task_ignore_result"] is True
    assert application(conf).backend.as_uri() == "disabled://"
    assert (conf["worker_prefetch_multiplier"], conf["worker_disable_prefetch"]) == (1, True)
    assert conf["worker_cancel_long_running_tasks_on_connection_loss"] is False
    assert (conf["accept_content"], conf["task_serializer"]) == (["json"], "json")
    assert (conf["worker_pool"], conf["worker_concurrency"]) == ("threads", 64)


def test_a_silent_broker_is_noticed(conf: dict[str, Any]) -> None:
    options = conf["broker_transport_options"]

    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (5.0, 5.0)
    assert options["health_check_interval"] == 25


def test_every_task_goes_to_a_queue_that_workers_read_most_urgent_first(conf: dict[str, Any]) -> None:
    app = application(conf)
    queues = list(app.amqp.queues.consume_from)

    assert queues == list(wire.queues("one"))
    assert conf["broker_transport_options"]["queue_order_strategy"] == "priority"
    tasks = (wire.PUMP, wire.TICK, wire.SWEEP, wire.PURGE)
    routed = {task: app.amqp.router.route({}, task)["queue"].name for task in tasks}
    assert routed == {
        wire.PUMP: "paceline.one.pump",
        wire.TICK: "paceline.one.system",
        wire.SWEEP: "paceline.one.system",
        wire.PURGE: "paceline.one.system",
    }
    assert app.amqp.router.route({}, wire.ENQUEUE)["queue"].name == "paceline.enqueue"
    assert app.amqp.router.route({}, "another")["queue"].name == "paceline.one.pump"


def test_two_installations_on_one_broker_share_only_the_queue_of_messages(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(environ={"PACELINE_BROKER_URL": broker})
    one, two = (application(celery_settings(settings, name)) for name in ("one", "two"))

    assert set(one.amqp.queues) & set(two.amqp.queues) == {wire.ENQUEUE_QUEUE}
    shared = {"task_default_queue", "event_exchange", "event_queue_prefix", "control_exchange"}
    assert all(one.conf[name] != two.conf[name] for name in shared)
    names = ("unacked_key", "unacked_index_key", "unacked_mutex_key")
    assert all(one.conf.broker_transport_options[name] != two.conf.broker_transport_options[name] for name in names)


def test_any_celery_client_reaches_the_queue_of_messages(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = application(celery_settings(load(environ={"PACELINE_BROKER_URL": broker}), "one"))
    theirs = Celery("theirs", broker=ours.conf.broker_url, set_as_current=False)

    theirs.send_task(wire.ENQUEUE, kwargs={"kind": "text"}, queue="paceline.enqueue", priority=3)

    with ours.connection_for_read() as connection:
        queue = ours.amqp.queues[wire.ENQUEUE_QUEUE](connection.default_channel)
        queue.declare()
        message = queue.get(no_ack=True)
    assert message.headers["task"] == "paceline.enqueue"


def test_the_beat_keeps_its_schedule_in_memory(conf: dict[str, Any], tmp_path: Path) -> None:
    app = application(conf)

    scheduler = Service(app, schedule_filename=None, scheduler_cls=app.conf.beat_scheduler).get_scheduler()

    entries = {entry.task: entry.schedule for entry in scheduler.schedule.values()}
    nightly = entries.pop(wire.PURGE)
    assert (nightly.hour, nightly.minute, len(nightly.day_of_week)) == ({3}, {17}, 7)  # UTC
    seconds = {task: schedule.seconds for task, schedule in entries.items()}
    assert seconds == {wire.TICK: 1.0, wire.SWEEP: 5.0, wire.BROADCAST: 3.0}
    assert all("expires" not in entry.options for entry in scheduler.schedule.values())
    assert list(tmp_path.iterdir()) == []


def test_an_applications_environment_does_not_lead_our_workers_away(
    conf: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://application")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://application")
    assert application(conf).conf.broker_url == "redis://application"  # as Celery has it

    forget_environment(os.environ)

    assert application(conf).conf.broker_url == conf["broker_url"]
    assert application(conf).conf.result_backend == "disabled://"

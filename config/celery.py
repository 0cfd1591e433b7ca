"""Celery, as Paceline uses it: it calls slices of the pump, and may forget every call it was asked to make.

Checked against Celery and kombu 5.7. Nothing here depends on a broker that keeps what it was given.
"""

from collections.abc import MutableMapping
from typing import Any

from celery.schedules import crontab
from kombu.entity import Exchange, Queue

from config.settings import Settings
from paceline import wire
from paceline.connection import celery_transport_options, celery_url

THREADS = 64  # of each process; slices use a quarter of them, so that the pool is never full
TICK_EVERY = 1.0  # seconds
SWEEP_EVERY = 5.0  # seconds
BROADCAST_EVERY = 3.0  # seconds
PURGE_AT = {"hour": 3, "minute": 17}  # UTC: few people are awake to send, and no quota begins anew

# Celery prefers these to its configuration. They are an application's, and would lead our workers to its broker.
ENVIRONMENT = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")


def celery_settings(settings: Settings, installation: str) -> dict[str, Any]:
    """Celery's configuration. `installation` is in the names of all that its broker might share with others."""
    return {
        "broker_url": celery_url(settings.connection),
        "broker_transport_options": _transport_options(settings, installation),
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # for ever: a supervisor would only do the same
        "enable_utc": True,
        "timezone": "UTC",
        **_tasks(installation),
        **_worker(),
        **_monitoring(installation),
        **_beat(),
    }


def forget_environment(environ: MutableMapping[str, str]) -> None:
    """Remove the variables by which Celery would overrule `celery_settings`; to be called before the app is made."""
    for name in ENVIRONMENT:
        environ.pop(name, None)


def _transport_options(settings: Settings, installation: str) -> dict[str, Any]:
    return {
        **celery_transport_options(settings.connection),
        "retry_on_timeout": True,
        "queue_order_strategy": "priority",  # in the order of `wire.queues`
        "unacked_key": f"paceline.{installation}.unacked",
        "unacked_index_key": f"paceline.{installation}.unacked_index",
        "unacked_mutex_key": f"paceline.{installation}.unacked_mutex",
    }


def _tasks(installation: str) -> dict[str, Any]:
    system = wire.system_queue(installation)
    return {
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in wire.queues(installation)],
        "task_default_queue": wire.pump_queue(installation),
        "task_routes": {
            wire.PUMP: {"queue": wire.pump_queue(installation)},  # a wake-up for `high` names its queue itself
            wire.TICK: {"queue": system},
            wire.SWEEP: {"queue": system},
            wire.BROADCAST: {"queue": system},
            wire.PURGE: {"queue": system},
            wire.ENQUEUE: {"queue": wire.ENQUEUE_QUEUE},
        },
        "task_serializer": "json",
        "accept_content": ["json"],
        "event_serializer": "json",
        "result_backend": "disabled://",
        "task_ignore_result": True,
        "task_acks_late": False,  # late acks lose and double messages when a worker is killed; rows do neither
    }


def _worker() -> dict[str, Any]:
    return {
        "worker_pool": "threads",
        "worker_concurrency": THREADS,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,  # with anything unacknowledged a worker exits when its broker goes away
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # a slice finishes what is on the wire
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def _monitoring(installation: str) -> dict[str, Any]:
    return {
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "event_exchange": f"paceline.{installation}.events",
        "event_queue_prefix": f"paceline.{installation}.events",
        "control_exchange": f"paceline.{installation}.control",
    }


def _beat() -> dict[str, Any]:
    return {
        # In memory: what is due every second needs no file to remember when it last was, nor two beats to share one.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_schedule": {
            "tick": {"task": wire.TICK, "schedule": TICK_EVERY},
            "sweep": {"task": wire.SWEEP, "schedule": SWEEP_EVERY},
            "broadcast": {"task": wire.BROADCAST, "schedule": BROADCAST_EVERY},
            "purge": {"task": wire.PURGE, "schedule": crontab(**PURGE_AT)},
        },
    }

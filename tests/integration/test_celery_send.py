"""`paceline.celery.send` through a real broker: the message is in the body, and nowhere that Flower or a log looks."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, chain, signature
from redis import Redis

from paceline import InvalidMessage, Text, messages, wire
from paceline.celery import send
from paceline.connection import celery_url, resolve
from tests.integration.producers import HELLO

LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def app(valkey: Redis, valkey_url: str) -> Iterator[Celery]:
    """Somebody's Celery application, with settings of its own."""
    made = Celery("shop", broker=celery_url(resolve(broker_url=valkey_url, environ={})))
    made.conf.update(task_default_queue="shop", task_send_sent_event=True, task_serializer="pickle")
    made.set_default()
    yield made
    made.close()


def published(valkey: Redis) -> tuple[dict[str, Any], list[Any]]:
    """The headers and the body of the one message on the queue."""
    (raw,) = valkey.lrange(wire.ENQUEUE_QUEUE, 0, -1)
    envelope = json.loads(raw)
    return envelope["headers"], json.loads(base64.b64decode(envelope["body"]))


def test_delay_publishes_every_field_as_json(app: Celery, valkey: Redis) -> None:
    send.delay(
        HELLO,
        via="sms",
        idempotency_key="order-4821",
        priority="high",
        send_at=LATER,
        expires_at=LATER + timedelta(hours=1),
        metadata={"order": "4821"},
        options={"label": "ship"},
    )

    headers, (args, kwargs, _) = published(valkey)
    assert (headers["task"], headers["ignore_result"], args) == (wire.ENQUEUE, True, [])
    assert messages.from_json(kwargs.pop("message")) == HELLO
    assert datetime.fromisoformat(kwargs.pop("send_at")) == LATER
    assert datetime.fromisoformat(kwargs.pop("expires_at")) == LATER + timedelta(hours=1)
    assert kwargs == {
        "via": "sms",
        "idempotency_key": "order-4821",
        "priority": "high",
        "metadata": {"order": "4821"},
        "options": {"label": "ship"},
    }


@pytest.mark.parametrize("way", ["delay", "s", "apply_async", "chain"])
def test_no_header_tells_what_is_sent(app: Celery, valkey: Redis, way: str) -> None:
    fields: dict[str, Any] = {"via": "sms", "idempotency_key": "order-4821"}
    if way == "delay":
        send.delay(HELLO, **fields)
    elif way == "s":
        send.s(HELLO, **fields).apply_async()
    elif way == "apply_async":
        send.apply_async({"message": HELLO, **fields}, queue="elsewhere", argsrepr="told", kwargsrepr="told")
    else:
        chain(send.s(HELLO, **fields), signature("shop.done", immutable=True)).apply_async()

    headers, _ = published(valkey)
    told = json.dumps(headers)
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("…", "…")
    for secret in (HELLO.to, HELLO.text, "4821"):
        assert secret not in told


def test_no_repr_tells_it_either(app: Celery) -> None:
    told = repr(send.s(HELLO, via="sms", idempotency_key="order-4821")) + repr(send) + str(send)

    assert HELLO.to not in told
    assert HELLO.text not in told


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"message": "hello"}, "message"),
        ({"via": ""}, "via"),
        ({"idempotency_key": None}, "idempotency_key"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"priority": "urgent"}, "priority"),
        ({"send_at": datetime(2030, 1, 1)}, "send_at"),  # noqa: DTZ001  # that is the mistake
        ({"metadata": {"a": 1}}, "metadata"),
        ({"options": {"a": object()}}, "options.a"),
    ],
)
def test_what_is_wrong_by_its_type_is_refused_before_it_is_published(
    app: Celery, valkey: Redis, changes: dict[str, Any], field: str
) -> None:
    call: dict[str, Any] = {"message": Text(to="+1", text="x"), "via": "sms", "idempotency_key": "k", **changes}

    with pytest.raises(InvalidMessage) as refusal:
        send.delay(call.pop("message"), **call)

    assert refusal.value.field == field
    assert valkey.llen(wire.ENQUEUE_QUEUE) == 0

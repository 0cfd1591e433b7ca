"""What a log line holds, and what it never does."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from config.logging import FORBIDDEN, QUIET, REFUSED, configure, refuse_secrets
from paceline.messages import Text

NUMBER = "+447700900123"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, quiet = list(root.handlers), root.level, {name: logging.getLogger(name).level for name in QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_pipe_gets_json() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    structlog.get_logger().info("attempt", lane="aurogy-main/send", outcome="accepted", duration_ms=50.2)

    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "attempt",
        "level": "info",
        "lane": "aurogy-main/send",
        "outcome": "accepted",
        "duration_ms": 50.2,
    }


def test_a_terminal_gets_what_people_read() -> None:
    stream = Terminal()
    configure(stream=stream)

    structlog.get_logger().info("attempt", lane="aurogy-main/send")

    assert "attempt" in stream.getvalue()
    assert "aurogy-main/send" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        lines(stream)


@pytest.mark.parametrize(("stream", "as_json"), [(io.StringIO(), False), (Terminal(), True)])
def test_the_form_can_be_asked_for(stream: io.StringIO, as_json: bool) -> None:
    configure(as_json, stream=stream)

    structlog.get_logger().info("attempt", lane="aurogy-main/send")

    assert stream.getvalue().startswith("{") is as_json
    assert "\x1b" not in stream.getvalue()  # no colours where nobody asked for a terminal


def test_libraries_speak_in_the_same_form() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    logging.getLogger("kombu.connection").warning("connection to %s lost", "broker")

    (line,) = lines(stream)
    assert (line["logger"], line["level"], line["event"]) == (
        "kombu.connection",
        "warning",
        "connection to broker lost",
    )


def test_the_level_holds_for_both_and_the_last_call_prevails() -> None:
    first, second = io.StringIO(), io.StringIO()
    ours = structlog.get_logger()
    configure(level="debug", stream=first)
    ours.debug("shown")
    logging.getLogger("library").debug("shown")
    configure(level="warning", stream=second)
    ours.info("hidden")
    logging.getLogger("library").info("hidden")
    ours.warning("shown")

    assert [line["event"] for line in lines(first)] == ["shown", "shown"]
    assert [line["event"] for line in lines(second)] == ["shown"]


def test_celery_does_not_tell_of_every_call_but_of_failures() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    logging.getLogger("celery.worker.strategy").info("Task paceline.tick received")
    logging.getLogger("celery.app.trace").error("Task paceline.tick failed")

    assert [line["event"] for line in lines(stream)] == ["Task paceline.tick failed"]


@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_forbidden_is_written_whatever_it_is_called(as_json: bool) -> None:
    stream = io.StringIO()
    configure(as_json, stream=stream)

    given = dict.fromkeys(FORBIDDEN, "hunter2")
    structlog.get_logger().info("attempt", **given, id="kept")
    structlog.get_logger().info("attempt", TO="hunter2", deep=[{"Api-Key": "hunter2"}, ({"x": {"body": b"hunter2"}},)])
    with structlog.contextvars.bound_contextvars(authorization="hunter2"):
        structlog.get_logger().info("attempt")
        logging.getLogger("library").info("attempt")

    assert "hunter2" not in stream.getvalue()
    assert "kept" in stream.getvalue()
    assert stream.getvalue().count(REFUSED) == len(FORBIDDEN) + 5


def test_the_known_secrets_are_forbidden() -> None:
    for key in ("to", "text", "body", "html", "subject", "api_key", "authorization", "Webhook-Secret", "basic_auth"):
        assert refuse_secrets(None, "info", {key: "x"}) == {key: REFUSED}


def break_the_wire(number: str) -> None:
    raise RuntimeError(f"the wire broke after {len(number)} characters")


@pytest.mark.parametrize("as_json", [True, False])
def test_neither_what_libraries_attach_nor_what_a_frame_holds_is_written(as_json: bool) -> None:
    stream = io.StringIO()
    configure(as_json, stream=stream)

    try:
        break_the_wire(NUMBER)
    except RuntimeError:
        structlog.get_logger().exception("failed", message_id="01")
        logging.getLogger("celery.app.trace").exception("failed", extra={"data": {"args": [NUMBER]}})
    structlog.get_logger().info("odd", value=Text(to=NUMBER, text=NUMBER))

    assert stream.getvalue().count("RuntimeError: the wire broke after 13 characters") == 2
    assert NUMBER not in stream.getvalue()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        configure(level="loud")


BODY = "[[], {'message': {'to': '+447700900123'}}, {}] (49b)"
REFUSALS = [
    (
        f"Received unregistered task of type 'x'.\nIgnored.\n\nThe full contents of the message body was:\n{BODY}\n",
        "Received unregistered task of type 'x'.",
    ),
    (
        f"Received invalid task message: it is none\n\nThe full contents of the message body was:\n{BODY}\n",
        "Received invalid task message: it is none",
    ),
    (f"Can't decode message body: ValueError() [headers:{BODY}]\n\nbody: {BODY}\n", "Can't decode message body"),
]


@pytest.mark.parametrize(("said", "written"), REFUSALS)
def test_a_call_that_celery_cannot_read_is_not_written_out(said: str, written: str) -> None:
    stream = io.StringIO()
    configure(level="debug", stream=stream)

    try:
        int(NUMBER + " is none")
    except ValueError:
        logging.getLogger("celery.worker.consumer.consumer").exception(said)
    logging.getLogger("celery.pool").debug("TaskPool: Apply %s (args:%s kwargs:%s)", "trace", BODY, BODY)

    (line,) = lines(stream)
    assert line["event"] == written
    assert NUMBER not in stream.getvalue()


def test_of_what_else_celery_says_every_line_is_written() -> None:
    stream = io.StringIO()
    configure(stream=stream)

    logging.getLogger("celery.worker.consumer.consumer").error("Cannot connect\nTrying again in 2 seconds")
    logging.getLogger("shop").error("The message body\nis odd")

    assert [line["event"] for line in lines(stream)] == [
        "Cannot connect\nTrying again in 2 seconds",
        "The message body\nis odd",
    ]

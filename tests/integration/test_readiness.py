"""A provider that cannot send for now: it is asked until it can, no message is risked, and none pays for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers import aurogy
from providers.base import Accepted, Account, Outcome, Provider, Response, Throttled, Unavailable
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, until
from tests.support.tokens import KEEPING
from worker.operate import close, lanes_named, open_
from worker.service import Service

Build = Callable[..., Installation]
LANE, PROBED = f"{ACCOUNT}/send", f"{ACCOUNT}/profile"


@dataclass
class Phone:
    """A provider of a paired telephone: what it answers to the probe, and how often it was asked."""

    ready: bool = False
    probe: Outcome | None = None
    retry_after: float | None = None
    asked: list[float] = field(default_factory=list)

    def provider(self) -> Provider:
        return replace(aurogy.PROVIDER, parse_response=self.response, parse_probe=self.answer)

    def response(self, account: Account, response: Response) -> Outcome:
        if response.status == 409:
            return Unavailable(self.retry_after, "session_not_ready", probe_first=True)
        return aurogy.PROVIDER.parse_response(account, response)

    def answer(self, _account: Account, _response: Response) -> Outcome:
        self.asked.append(time.monotonic())
        return self.probe or (Accepted() if self.ready else Unavailable(None, "disconnected", probe_first=True))


@pytest.fixture
def phone() -> Phone:
    return Phone()


@pytest.fixture
def built(build: Build, phone: Phone) -> Installation:
    return build(providers={"aurogy": phone.provider()}, retry={"schedule": [0.1]}, accounts=KEEPING)


def lane(built: Installation, name: str = LANE) -> dict[str, Any]:
    [row] = built.rows("SELECT * FROM paceline_lane WHERE name = :name", name=name)
    return dict(row)


def put_off(built: Installation, since: float, seconds: float) -> bool:
    """Whether the next question is due so long after something that happened between `since` and now."""
    return bool(since + seconds - 0.1 <= lane(built)["ask_at"] <= time.time() + seconds + 0.1)


def refused(built: Installation, sandbox: SandboxServer, service: Service) -> None:
    """Bring the lane to where its provider has said that it is not ready."""
    sandbox.fault("aurogy", "status", status=409, path="/v1/messages/text", count=1)
    built.text()
    until(lambda: (service.tick(), service.pump.run_slice(1)) and lane(built)["unready"])


def due(built: Installation) -> None:
    """Let the next question be due."""
    built.run("UPDATE paceline_lane SET ask_at = 1 WHERE ask_at IS NOT NULL")


def test_what_is_not_ready_is_asked_until_it_is(built: Installation, sandbox: SandboxServer, phone: Phone) -> None:
    """Given a refusal because of readiness, when slices go on, then nothing leaves; when the provider, asked on its own
    lane and ever more rarely, says that it can send, then all of it leaves, and nothing was counted against it."""
    service = built.service()
    since = time.time()
    refused(built, sandbox, service)
    for number in range(1, 4):
        built.text(number)

    assert lane(built)["unready"] == "session_not_ready; its provider is asked until it can send again"
    assert put_off(built, since, 10)
    built.run("UPDATE paceline_lane SET ask_at = ask_at + 60")
    assert service.sweep()["ready"] == 0
    assert phone.asked == []
    for asked, wait in ((1, 20), (2, 40)):
        due(built)
        since = time.time()
        assert service.sweep()["ready"] == 0
        assert (len(phone.asked), lane(built)["asked"]) == (asked, asked)
        assert put_off(built, since, wait)
    service.tick()
    service.pump.run_slice(1)
    assert built.statuses() == {"queued": 4}

    phone.ready = True
    due(built)
    assert service.sweep()["ready"] == 1
    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 4})

    assert (lane(built)["unready"], lane(built)["ask_at"], lane(built)["asked"]) == (None, None, 0)
    assert built.rows("SELECT sum(failures) AS failures FROM paceline_message") == [{"failures": 0}]
    ledger = built.rows("SELECT high, rest, granted_rest, closed FROM paceline_grant WHERE lane = :lane", lane=PROBED)
    assert ledger == [{"high": 0, "rest": 1, "granted_rest": 1, "closed": 1}] * 3


def test_it_outlives_the_worker_and_what_redis_knew(built: Installation, sandbox: SandboxServer, phone: Phone) -> None:
    refused(built, sandbox, built.service())
    built.redis.flushall()

    service = built.service()
    service.tick()
    service.pump.run_slice(1)
    assert built.statuses() == {"queued": 1}
    due(built)
    phone.ready = True
    service.sweep()

    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 1})


def test_an_operator_opens_it_too(built: Installation, sandbox: SandboxServer, phone: Phone) -> None:
    service = built.service()
    refused(built, sandbox, service)

    open_(built.engine, lanes_named(built.topology, LANE), whole_key=False)

    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 1})
    assert phone.asked == []


def test_readiness_does_not_open_what_an_operator_closed(
    built: Installation, sandbox: SandboxServer, phone: Phone
) -> None:
    service = built.service()
    refused(built, sandbox, service)
    close(built.engine, lanes_named(built.topology, LANE), whole_key=False)
    phone.ready = True
    due(built)

    assert service.sweep()["ready"] == 1
    service.tick()
    service.pump.run_slice(1)

    assert built.statuses() == {"queued": 1}


def test_nor_does_it_break_a_promise(built: Installation, sandbox: SandboxServer, phone: Phone) -> None:
    """Given a refusal that names a time as well, when the provider is ready before it, then the time is kept, by those
    too who have heard of it from the database alone."""
    phone.retry_after = 3.0
    refused(built, sandbox, built.service())
    built.redis.flushall()
    service = built.service()
    phone.ready = True
    due(built)
    assert service.sweep()["ready"] == 1

    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 1})

    first, second = (entry for entry in sandbox.ledger("aurogy") if entry.recipient)
    assert second.monotonic - first.monotonic > 3


def test_what_expires_meanwhile_expires(built: Installation, sandbox: SandboxServer) -> None:
    service = built.service()
    refused(built, sandbox, service)
    late = built.text(1, expires_at=datetime.now(UTC) + timedelta(hours=1))
    built.run("UPDATE paceline_message SET expires_at = 1 WHERE id = :id", id=late.id)

    until(lambda: (service.sweep(), built.client.status(late.id).status == "expired")[1])

    assert built.statuses() == {"queued": 1, "expired": 1}


def test_a_provider_that_is_ready_and_refuses_again_is_asked_more_rarely_still(
    built: Installation, sandbox: SandboxServer, phone: Phone
) -> None:
    """Given a cached "ready", when the next send is refused again, then the questions go on where they were."""
    service = built.service()
    refused(built, sandbox, service)
    due(built)
    service.sweep()
    phone.ready = True
    due(built)
    service.sweep()
    sandbox.fault("aurogy", "status", status=409, path="/v1/messages/text", count=1)
    since = time.time()

    until(lambda: (service.tick(), service.pump.run_slice(1)) and lane(built)["unready"])

    assert lane(built)["asked"] == 2
    assert put_off(built, since, 40)


def test_of_a_closed_key_nothing_is_asked(built: Installation, sandbox: SandboxServer, phone: Phone) -> None:
    service = built.service()
    refused(built, sandbox, service)
    close(built.engine, lanes_named(built.topology, ACCOUNT), whole_key=True)
    due(built)

    service.sweep()

    assert phone.asked == []
    assert lane(built)["asked"] == 0


@pytest.mark.parametrize(
    "answer", [Unavailable(probe_first=True), Throttled(None), Unavailable(None, "down")], ids=repr
)
def test_a_probe_that_is_refused_opens_nothing_and_closes_no_question(
    built: Installation, sandbox: SandboxServer, phone: Phone, answer: Outcome
) -> None:
    service = built.service()
    refused(built, sandbox, service)
    phone.probe = answer
    due(built)
    assert service.sweep()["ready"] == 0

    assert lane(built, PROBED)["unready"] is None
    assert lane(built)["unready"] is not None


def test_a_message_says_what_it_waits_for(built: Installation, sandbox: SandboxServer) -> None:
    service = built.service()
    refused(built, sandbox, service)
    [row] = built.rows("SELECT id FROM paceline_message")

    assert "session_not_ready" in str(built.client.status(row["id"]).waiting_for)

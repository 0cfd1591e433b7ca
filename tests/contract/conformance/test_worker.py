"""Every provider through the real worker and real HTTP: its kinds arrive, and each kind of trouble ends as declared."""

import time
from collections.abc import Callable

import pytest

from providers.registry import PROVIDERS
from tests.contract.conformance.cases import EXHIBITS
from tests.contract.conformance.house import House

Build = Callable[..., House]
every_provider = pytest.mark.parametrize("name", EXHIBITS)
MESSAGES = [(name, kind) for name, exhibit in EXHIBITS.items() for kind in exhibit.messages]
FIVE_MB = 5_000_000


def steady(house: House, seconds: float = 0.2) -> None:
    """Let the worker look for more to do for a moment, and see that it makes no further request."""
    before = len(house.arrived())
    end = time.monotonic() + seconds
    house.run_until(lambda: time.monotonic() > end)
    assert len(house.arrived()) == before


def held(house: House) -> float:
    """How long the account's lane is closed, in seconds."""
    [closed] = house.built.rows("SELECT closed_until FROM paceline_lane WHERE closed_reason IS NOT NULL")
    return float(closed["closed_until"]) - time.time()


@pytest.mark.parametrize(("name", "kind"), MESSAGES)
def test_each_kind_is_taken_by_its_sandbox(house: Build, name: str, kind: str) -> None:
    """Given a message of a kind that it carries, when the worker runs, then its sandbox takes it, once."""
    built = house(name)
    id_ = built.enqueue(kind, metadata=None)

    built.run_until(lambda: built.view(id_).status in ("accepted", "sent"))

    assert built.taken() == 1
    assert len(built.arrived()) == 1
    [attempt] = built.view(id_).attempts
    assert attempt.outcome == "accepted"
    assert built.view(id_).provider_message_id == built.arrived()[0].message_id


@every_provider
@pytest.mark.parametrize("form", ["seconds", "http-date"])
@pytest.mark.parametrize("outcome", ["throttled", "unavailable"])
def test_what_comes_with_a_date_waits_for_it_and_costs_nothing(
    house: Build, name: str, outcome: str, form: str
) -> None:
    """Given its 429, or a gateway's 503, with Retry-After, then nothing goes to the lane before that, and no retry is
    spent."""
    built = house(name)
    status, _, body = EXHIBITS[name].throttled({}) if outcome == "throttled" else (503, {}, b"<html>down</html>")
    fault = {"status": status, "retry_after": 600, "retry_after_form": form, "body": body.decode(), "count": 1}
    built.sandbox.fault(built.family, "status", **fault)
    id_ = built.enqueue()

    built.run_until(lambda: [attempt.outcome for attempt in built.view(id_).attempts] == [outcome])
    seconds = held(built)

    assert 540 < seconds < 605
    assert built.view(id_).status == "queued"
    assert built.built.rows("SELECT failures FROM paceline_message") == [{"failures": 0}]
    steady(built)


@every_provider
def test_throttled_without_a_date_is_tried_again_and_arrives(house: Build, name: str) -> None:
    built = house(name)
    status, _, body = EXHIBITS[name].throttled({})
    built.sandbox.fault(built.family, "status", status=status, body=body.decode(), count=1)
    id_ = built.enqueue()

    built.run_until(lambda: built.view(id_).status in ("accepted", "sent"))

    assert [attempt.outcome for attempt in built.view(id_).attempts] == ["throttled", "accepted"]
    assert built.taken() == 1


@every_provider
def test_unavailable_is_tried_again_and_arrives(house: Build, name: str) -> None:
    """Given a gateway's 503, then the lane backs off, and the message arrives once it is over."""
    built = house(name)
    built.sandbox.fault(built.family, "html", status=503, count=1)
    id_ = built.enqueue()

    built.run_until(lambda: built.view(id_).status in ("accepted", "sent"))

    assert [attempt.outcome for attempt in built.view(id_).attempts] == ["unavailable", "accepted"]
    assert built.taken() == 1


TROUBLE = {
    "5xx": {"kind": "html", "status": 500, "accept": True},
    "accepted then closed": {"kind": "close", "accept": True},
    "accepted then reset": {"kind": "close", "accept": True, "reset": False},
    "half an answer": {"kind": "half", "accept": True},
    "broken body": {"kind": "broken_json", "accept": True},
    "a page under 200": {"kind": "html", "status": 200, "accept": True},
    "an empty body under 500": {"kind": "status", "status": 500, "body": "", "accept": True},
}


@every_provider
@pytest.mark.parametrize("trouble", TROUBLE)
def test_an_answer_that_was_lost_never_makes_two_messages(house: Build, name: str, trouble: str) -> None:
    """Given a message that was taken and whose answer is lost, then it is unknown, and sent again only where the
    provider recognises that; either way it is there once."""
    built = house(name, retry={"schedule": [0.1, 0.1, 0.1]})
    kind = dict(TROUBLE[trouble])
    built.sandbox.fault(built.family, str(kind.pop("kind")), count=1, **kind)
    id_ = built.enqueue()

    if PROVIDERS[name].deduplicates_for:
        built.run_until(lambda: built.view(id_).status in ("accepted", "sent"))
        assert [attempt.outcome for attempt in built.view(id_).attempts] == ["unknown", "accepted"]
    else:
        built.run_until(lambda: built.view(id_).status == "unknown")
        assert [attempt.outcome for attempt in built.view(id_).attempts] == ["unknown"]
    steady(built)

    assert built.taken() == 1
    assert built.sandbox.summary(built.family)["duplicates"]["surplus"] == 0


@every_provider
def test_an_answer_under_a_wrong_content_type_is_read(house: Build, name: str) -> None:
    built = house(name)
    built.sandbox.fault(built.family, "content_type", content_type="text/html", count=1)
    id_ = built.enqueue()

    built.run_until(lambda: built.view(id_).provider_message_id)

    assert built.view(id_).status in ("accepted", "sent")


@every_provider
def test_an_oversized_answer_is_not_read_to_its_end(house: Build, name: str) -> None:
    """Given a right answer that was swollen to megabytes, then the message is accepted or unknown, and there once."""
    built = house(name)
    built.sandbox.fault(built.family, "oversized", size=FIVE_MB, count=1)
    id_ = built.enqueue()

    built.run_until(lambda: built.view(id_).status in ("accepted", "sent", "unknown"))
    steady(built)

    assert built.taken() == 1


@every_provider
def test_a_bad_key_stops_at_its_first_refusal(house: Build, name: str) -> None:
    """Given two messages and a key that the provider does not take, then it is asked once, and both wait."""
    built = house(name)
    built.sandbox.fault(built.family, "status", status=401)
    for _ in range(2):
        built.enqueue()

    built.run_until(lambda: built.arrived())
    seen = len(built.arrived())
    end = time.monotonic() + 0.3
    built.run_until(lambda: time.monotonic() > end)

    assert len(built.arrived()) == seen <= 2
    assert built.built.statuses() == {"queued": 2}

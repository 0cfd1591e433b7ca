"""The sandbox's aulm, without a network: the worked signature, what answers mean, quotas and lockouts by the clock."""

from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from sandbox.aulm.bodies import Refused
from sandbox.aulm.events import judge, signature, status_event, webhook_headers
from sandbox.aulm.keys import CoolDown, presented_key
from sandbox.aulm.message import Message
from sandbox.aulm.quota import DAY, WEEK, Slots, midnight
from sandbox.aulm.settings import Lockout, Quota
from sandbox.webhooks import Reply, Verdict

SECRET = "aulm_whsec_b7e2d90c5f"
BODY = (
    b'{"event":"message_status","delivery_id":"3d6c9a52-1f7e-4b0a-8c34-5e9f2a7b1c60",'
    b'"session_id":"9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94","message_id":"3EB0C767D26A1D8F2B4E","status":"delivered",'
    b'"to":"+966512345678","occurred_at":"2026-05-28T10:15:43.000Z"}'
)
NOW = datetime(2026, 5, 28, 10, 15, 43, tzinfo=UTC).timestamp()
LATER = Verdict("retried", 30.0)


def test_the_worked_example_is_signed_as_printed() -> None:
    assert len(BODY) == 250
    assert signature(BODY, SECRET) == "sha256=7a6dc380242b968d1018e28f38e581417ebf690030c791d119b176b84e849f1e"


def test_a_status_event_is_written_byte_for_byte_like_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.aulm.events.uuid.uuid4", lambda: "3d6c9a52-1f7e-4b0a-8c34-5e9f2a7b1c60")
    session, message = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94", "3EB0C767D26A1D8F2B4E"
    event = status_event(Message("live:0", session, message, "+966512345678", 0, NOW), "delivered", NOW)

    assert event.body == BODY
    headers = webhook_headers(event, SECRET, 3)
    assert headers["x-aulm-delivery-id"] == "3d6c9a52-1f7e-4b0a-8c34-5e9f2a7b1c60"
    assert (headers["x-aulm-event"], headers["x-aulm-attempt"]) == ("message_status", "3")


@pytest.mark.parametrize(
    ("reply", "ladder", "verdict"),
    [
        (Reply(200), Verdict("acknowledged"), Verdict("acknowledged")),
        (Reply(400), LATER, Verdict("dropped")),
        (Reply(401, "60"), LATER, Verdict("dropped")),
        (Reply(428), LATER, Verdict("dropped")),
        (Reply(430), LATER, Verdict("dropped")),
        (Reply(500), LATER, LATER),
        (Reply(503, "60"), LATER, LATER),  # documented for 429 alone
        (Reply(302), LATER, LATER),
        (Reply("TimeoutError"), LATER, LATER),
        (Reply("ClientConnectorError"), Verdict("dropped"), Verdict("dropped")),
        (Reply(429), LATER, LATER),
        (Reply(429, "soon"), LATER, LATER),
        (Reply(429, "0"), LATER, Verdict("retried", 0.0)),
        (Reply(429, "90"), LATER, Verdict("retried", 90.0)),
        (Reply(429, "3601"), LATER, Verdict("retried", 3600.0)),
        (Reply(429, "9" * 400), LATER, Verdict("retried", 3600.0)),
        (Reply(429, formatdate(NOW + 90, usegmt=True)), LATER, Verdict("retried", 90.0)),
        (Reply(429, formatdate(NOW - 90, usegmt=True)), LATER, Verdict("retried", 0.0)),
        (Reply(429, formatdate(NOW + 90_000, usegmt=True)), LATER, Verdict("retried", 3600.0)),
        (Reply(429, "90"), Verdict("dropped"), Verdict("dropped")),  # the ladder has no rung left
    ],
    ids=str,
)
def test_an_answer_means_what_the_reference_says(reply: Reply, ladder: Verdict, verdict: Verdict) -> None:
    assert judge(reply, ladder, NOW) == verdict


def test_the_day_ends_at_midnight_in_utc() -> None:
    end = datetime(2026, 5, 29, tzinfo=UTC).timestamp()

    assert midnight(NOW) == midnight(end - DAY) == end
    assert midnight(end) == end + DAY


def test_slots_are_taken_given_back_and_counted_by_account() -> None:
    slots, quota = Slots(), Quota(daily=1, trial=1)

    assert slots.take("main", False, quota, NOW)
    assert not slots.take("main", False, quota, NOW)
    assert slots.take("other", False, quota, NOW)
    slots.refund("main", False, NOW)
    assert slots.reading("main", False, quota, NOW).remaining == 1
    slots.refund("main", False, NOW)
    assert slots.reading("main", False, quota, NOW).remaining == 1
    assert slots.reading("main", False, quota, NOW).headers()["x-ratelimit-reset"] == "2026-05-29T00:00:00.000Z"
    assert slots.reading("main", False, quota, NOW).wait(NOW + 0.5) == int(midnight(NOW) - NOW)


def test_a_trials_week_begins_with_its_first_message_and_ends_for_good() -> None:
    slots, quota = Slots(), Quota(trial=3)
    slots.take("main", True, quota, NOW)

    assert slots.reading("main", True, quota, NOW + DAY).reset == NOW + WEEK
    assert slots.take("main", True, quota, NOW + WEEK - 1)
    assert not slots.take("main", True, quota, NOW + WEEK)
    over = slots.reading("main", True, quota, NOW + WEEK)
    assert (over.remaining, over.wait(NOW + WEEK + 5)) == (0, 1)


def test_an_address_cools_down_once_and_then_starts_afresh() -> None:
    cool_down, rule = CoolDown(), Lockout(failures=2, window=300, seconds=60)
    cool_down.fail(rule, NOW)
    assert cool_down.wait(NOW) == 0
    cool_down.fail(rule, NOW + 299)
    assert (cool_down.wait(NOW + 299), cool_down.wait(NOW + 358.5), cool_down.wait(NOW + 359)) == (60, 1, 0)
    cool_down.fail(rule, NOW + 400)
    assert cool_down.wait(NOW + 400) == 0


@pytest.mark.parametrize("authorization", ["Bearer key", "bearer key"])
def test_the_scheme_has_no_case(authorization: str) -> None:
    assert presented_key(authorization) == "key"
    with pytest.raises(Refused):
        presented_key("Token key")

"""The sentence that says why a message has not left, or is not final."""

from typing import Any

import pytest

from paceline.status import Status
from paceline.waiting import COUNTED, Shut, Situation, sentence

NOW = 1_772_366_400.0  # 2026-03-01T12:00:00Z
QUEUED = {"status": Status.QUEUED, "lanes": ("main/send", "backup/send")}
MAIN = Shut("main/send", "rate limited", NOW + 60)
BACKUP = Shut("backup/send", "closed by an operator", None)

CASES: dict[str, tuple[dict[str, Any], str | None]] = {
    "scheduled": (
        {**QUEUED, "due_at": NOW + 60, "send_at": NOW + 60},
        "It is scheduled for 2026-03-01T12:01:00.000Z.",
    ),
    "waiting for a retry": (
        {**QUEUED, "due_at": NOW + 60, "attempts": 2},
        "Attempt 2 did not get through; the next one is due at 2026-03-01T12:01:00.000Z.",
    ),
    "due by now": (
        {**QUEUED, "due_at": NOW - 1, "ahead": 0},
        "It is the next of its line on lane main/send or backup/send.",
    ),
    "paused": ({**QUEUED, "paused": True}, "Its broadcast is paused."),
    "not counted": (QUEUED, "It waits for its turn on lane main/send or backup/send."),
    "behind some": (
        {**QUEUED, "ahead": COUNTED},
        "It waits for its turn on lane main/send or backup/send, behind 1,000 of its line.",
    ),
    "behind many": (
        {**QUEUED, "ahead": COUNTED + 1},
        "It waits for its turn on lane main/send or backup/send, behind more than 1,000 of its line.",
    ),
    "of an account that is gone": (
        {**QUEUED, "lanes": (), "ahead": 0},
        "It waits for an account that the configuration no longer has.",
    ),
    "one of two lanes closed": (
        {**QUEUED, "shut": (MAIN,)},
        "It waits for its turn on lane main/send or backup/send.",
    ),
    "every lane closed": (
        {**QUEUED, "shut": (MAIN, BACKUP)},
        (
            "Lane main/send is closed until 2026-03-01T12:01:00.000Z: rate limited. "
            "Lane backup/send is closed until an operator opens it: closed by an operator."
        ),
    ),
    "on the wire": (
        {"status": Status.SENDING, "lease_until": NOW},
        "Its request is on the wire, until 2026-03-01T12:00:00.000Z at the latest.",
    ),
    "accepted": ({"status": Status.ACCEPTED}, "Its provider has not reported yet that it was delivered."),
    "accepted, and polled": (
        {"status": Status.SENT, "poll_at": NOW},
        "Its provider has not reported yet that it was delivered; the next look is due at 2026-03-01T12:00:00.000Z.",
    ),
    "given up": ({"status": Status.ACCEPTED, "reason": "no_report"}, None),
    "unknown": (
        {"status": Status.UNKNOWN},
        (
            "Its request left and no answer that settles it came: a webhook, a poll or `paceline resolve` does; it is "
            "not sent again on its own."
        ),
    ),
    **{status.value: ({"status": status}, None) for status in Status if status.final},
}


@pytest.mark.parametrize(("situation", "expected"), CASES.values(), ids=CASES.keys())
def test_the_sentence(situation: dict[str, Any], expected: str | None) -> None:
    assert sentence(Situation(now=NOW, **situation)) == expected

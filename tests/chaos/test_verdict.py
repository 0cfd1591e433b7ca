"""The judge of the sieges: of a world in which all is well it says nothing, and every wrong it names."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sandbox.ledger import Entry
from tests.chaos.verdict import GRACE, RECOGNISES, REPEATS, judge
from tests.chaos.world import SANDBOX, WINDOW, World, message
from worker.sweep import LEASE_OVER

SMS = "sms"  # its provider recognises nothing, and it wants no repeats
LIMIT = 3


@dataclass
class Tale:
    """What a siege left behind: rows, attempts and what the providers noted. It stands where the judge asks a World."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)  # by idempotency key
    attempts: list[dict[str, Any]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    deaths: list[float] = field(default_factory=list)
    dealt: list[tuple[float, str]] = field(default_factory=list)
    resets: int = 0
    enqueued: int = 2
    limit: int = LIMIT

    @property
    def built(self) -> "Tale":
        return self

    @property
    def sandbox(self) -> "Tale":
        return self

    def rows(self, sql: str, **_: object) -> list[dict[str, Any]]:
        """What the judge's queries find."""
        if "FROM paceline_message" in sql:
            return list(self.messages.values())
        if "FROM paceline_event" in sql:
            return []
        unknown = "outcome = 'unknown'" in sql
        return [row for row in self.attempts if (row["outcome"] == "unknown" if unknown else row["duration_ms"] > 0)]

    def ledger(self, provider: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.provider == provider]

    def arrives(self, account: str, number: int, at: float, *, answer: int = 200, fault: str = "", **more: Any) -> None:
        """A request for the message of that number, `at` seconds from the beginning."""
        known: dict[str, Any] = dict.fromkeys(Entry._fields, "")
        known |= {"seq": len(self.entries) + 1, "at": at, "monotonic": at, "lag": 0.01, "group": "send"}
        known |= {"provider": SANDBOX[account], "recipient": message(account, number).to}
        known |= {"status": answer, "accepted": answer == 200, "fault": fault}
        self.entries.append(Entry(**(known | more)))

    def stands(self, account: str, status: str, reason: str = "") -> None:
        """The account's first message has come to this."""
        self.messages[f"{account}-0"] |= {"status": status, "reason": reason}

    def tried(self, account: str, outcome: str, code: str = "", duration_ms: float = 5.0) -> None:
        """One more attempt of the account's first message."""
        made = {"message_id": f"{account}-0", "outcome": outcome, "code": code, "at": 0.0, "duration_ms": duration_ms}
        self.attempts.append(made)


def peace() -> Tale:
    """Two messages to each account, each asked for once and delivered."""
    tale = Tale()
    for account in SANDBOX:
        for number in range(tale.enqueued):
            key = f"{account}-{number}"
            tale.messages[key] = {"id": key, "key": key, "status": "delivered", "reason": "", "process": None}
            tale.arrives(account, number, 10.0 * number)
    return tale


def wrong(tale: Tale) -> list[str]:
    """What the judge says of it."""
    return judge(cast(World, tale)).wrong(LIMIT)


# What is wrong


def lost(tale: Tale) -> None:
    del tale.messages["sms-0"]


def lost_while_another_is_stored_twice(tale: Tale) -> None:
    lost(tale)
    tale.messages["again"] = tale.messages["sms-1"] | {"id": "again"}


def unfinished(tale: Tale) -> None:
    tale.stands(SMS, "accepted")


def doubled(tale: Tale) -> None:
    tale.arrives(RECOGNISES, 0, 20.0)


def doubled_beyond_what_was_wanted(tale: Tale) -> None:
    tale.tried(REPEATS, "unknown")
    tale.arrives(REPEATS, 0, 20.0)
    tale.arrives(REPEATS, 0, 30.0)


def repeated(tale: Tale) -> None:
    tale.arrives(SMS, 0, -20.0, answer=500, fault="status")


def repeated_after_a_refusal_that_accepted(tale: Tale) -> None:
    tale.arrives(SMS, 0, -20.0, answer=503, fault="status", accepted=True)


def repeated_too_often(tale: Tale) -> None:
    tale.tried(REPEATS, "unknown")
    for at in (-30.0, -20.0):
        tale.arrives(REPEATS, 0, at, answer=500, fault="status")


def throttled(tale: Tale) -> None:
    tale.arrives(SMS, 0, -20.0, answer=429)


def throttled_polls(tale: Tale) -> None:
    tale.arrives(SMS, 0, 20.0, answer=429, group="status", recipient="")


def early(tale: Tale) -> None:
    tale.arrives(SMS, 0, -GRACE - 0.1, answer=429, fault="status")


def said_to_be_delivered(tale: Tale) -> None:
    tale.entries = [entry for entry in tale.entries if entry.recipient != message(SMS, 0).to]


def said_to_have_failed(tale: Tale) -> None:
    tale.stands(SMS, "failed")


def said_to_have_expired(tale: Tale) -> None:
    tale.stands(SMS, "expired")


def unknown(tale: Tale) -> None:
    tale.stands(SMS, "unknown", "the connection broke")


def unknown_without_a_death(tale: Tale) -> None:
    tale.stands(SMS, "unknown", LEASE_OVER)


def unknown_of_what_never_left(tale: Tale) -> None:
    said_to_be_delivered(tale)
    unknown(tale)


def a_window_too_full(tale: Tale) -> None:
    for part in range(1, LIMIT + 1):
        tale.arrives(SMS, 0, -part * WINDOW / (LIMIT + 1), answer=503, fault="status")


def nobody_knows_when(tale: Tale) -> None:
    tale.entries[0] = tale.entries[0]._replace(lag=None)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lost, ["lost: 1"]),
        (lost_while_another_is_stored_twice, ["lost: 1", "surplus: 1"]),
        (unfinished, ["unfinished: 1"]),
        (doubled, ["doubled: 1"]),
        (doubled_beyond_what_was_wanted, ["doubled: 1", "repeated: 1"]),
        (repeated, ["repeated: 1"]),
        (repeated_after_a_refusal_that_accepted, ["doubled: 1", "repeated: 1"]),
        (repeated_too_often, ["repeated: 1"]),
        (throttled, ["throttled: 1"]),
        (throttled_polls, ["throttled: 1"]),
        (early, ["early: 1"]),
        (said_to_be_delivered, ["lies: 1"]),
        (said_to_have_failed, ["lies: 1"]),
        (said_to_have_expired, ["lies: 1"]),
        (unknown, ["unexplained: 1"]),
        (unknown_without_a_death, ["unexplained: 1"]),
        (unknown_of_what_never_left, ["unexplained: 1"]),
        (a_window_too_full, ["busiest sms: 4 of 3"]),
        (nobody_knows_when, ["judge late, run void: this system does not say when requests arrived"]),
    ],
)
def test_every_wrong_is_named(plant: Callable[[Tale], None], said: list[str]) -> None:
    """Given a world in which one thing is wrong, then that is what the judge says, and nothing else."""
    tale = peace()
    plant(tale)
    assert wrong(tale) == said


# What is not


def a_wanted_repeat(tale: Tale) -> None:
    tale.tried(REPEATS, "unknown")
    tale.arrives(REPEATS, 0, 20.0)


def a_repeat_that_is_recognised(tale: Tale) -> None:
    tale.arrives(RECOGNISES, 0, 20.0, accepted=False)


def a_refusal_and_another_try(tale: Tale) -> None:
    tale.arrives(SMS, 0, -20.0, answer=503, fault="status")


def a_refusal_on_request(tale: Tale) -> None:
    tale.arrives(SMS, 0, -20.0, answer=429, fault="status")


def an_arrival_that_had_left_before(tale: Tale) -> None:
    tale.arrives(SMS, 0, -GRACE + 0.1, answer=429, fault="status")


def a_refusal_that_died_with_its_reader(tale: Tale) -> None:
    early(tale)
    tale.deaths.append(-GRACE)


def an_unknown_whose_process_died(tale: Tale) -> None:
    unknown_without_a_death(tale)
    tale.held.add("sms-0")


def an_unknown_by_the_providers_fault(tale: Tale) -> None:
    said_to_be_delivered(tale)
    tale.arrives(SMS, 0, 0.0, answer=500, fault="close", accepted=True)
    unknown(tale)


def an_unknown_whose_head_alone_arrived(tale: Tale) -> None:
    unknown_of_what_never_left(tale)
    tale.arrives(SMS, 0, 0.0, answer=503, fault="drop", recipient="")


def an_unknown_on_a_connection_that_was_reset(tale: Tale) -> None:
    unknown_of_what_never_left(tale)
    tale.resets = 1


def an_unknown_that_took_too_long(tale: Tale) -> None:
    tale.tried(SMS, "unknown", code="timeout")
    unknown(tale)


@pytest.mark.parametrize(
    "happen",
    [
        lambda _: None,
        a_wanted_repeat,
        a_repeat_that_is_recognised,
        a_refusal_and_another_try,
        a_refusal_on_request,
        an_arrival_that_had_left_before,
        a_refusal_that_died_with_its_reader,
        an_unknown_whose_process_died,
        an_unknown_by_the_providers_fault,
        an_unknown_whose_head_alone_arrived,
        an_unknown_on_a_connection_that_was_reset,
        an_unknown_that_took_too_long,
    ],
)
def test_what_is_as_it_should_be_is_not_blamed(happen: Callable[[Tale], None]) -> None:
    """Given a world in which all is well, or what went wrong is explained, then the judge finds nothing."""
    tale = peace()
    happen(tale)
    assert wrong(tale) == []


def test_the_requests_of_a_window_that_was_too_full_are_listed() -> None:
    """Given a window that held too many, then each of its requests is printed."""
    tale = peace()
    a_window_too_full(tale)
    assert [line.split(":")[0].strip() for line in judge(cast(World, tale)).overfull] == [
        f"{SANDBOX[SMS]} {message(SMS, 0).to}"
    ] * (LIMIT + 1)


def test_what_nothing_explains_is_told_with_all_that_is_known_of_it() -> None:
    """Given an unknown that nobody died for, then its attempts and the blows are printed."""
    tale = peace()
    unknown_without_a_death(tale)
    tale.tried(SMS, "unknown", code="reset")
    tale.dealt.append((3.0, "flush"))
    told = "\n".join(judge(cast(World, tale)).puzzles)
    assert all(word in told for word in ("sms-0", "flush", "code reset"))

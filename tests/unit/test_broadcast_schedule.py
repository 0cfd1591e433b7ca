"""When a broadcast goes: local times on both sides of a change of clocks, recurrences, sending hours."""

# ruff: noqa: DTZ001  # times on a wall have no zone

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from paceline import InvalidMessage, Text
from paceline.broadcast.definition import Definition, Ramp, define
from paceline.broadcast.schedule import Hours, check_cron, check_zone, instant_in, local_instant, next_run

LONDON, NEW_YORK, HAVANA = "Europe/London", "America/New_York", "America/Havana"
HI = Text(to="{phone}", text="Hi")
NOW = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]  # a date's parts


def test_nine_oclock_is_nine_oclock_on_both_sides_of_a_change() -> None:
    # London's clocks go forward on 29 March 2026, and back on 25 October
    assert local_instant(datetime(2026, 3, 28, 9), LONDON) == utc(2026, 3, 28, 9)
    assert local_instant(datetime(2026, 3, 29, 9), LONDON) == utc(2026, 3, 29, 8)
    assert local_instant(datetime(2026, 10, 24, 9), LONDON) == utc(2026, 10, 24, 8)
    assert local_instant(datetime(2026, 10, 25, 9), LONDON) == utc(2026, 10, 25, 9)


def test_an_hour_that_the_clocks_skip_is_refused_and_of_one_that_comes_twice_the_first_is_meant() -> None:
    with pytest.raises(InvalidMessage, match="send_at: does not exist in Europe/London: the clocks skip it"):
        local_instant(datetime(2026, 3, 29, 1, 30), LONDON)
    assert local_instant(datetime(2026, 10, 25, 1, 30), LONDON) == utc(2026, 10, 25, 0, 30)
    # where nobody can be asked, a skipped time is the instant of the change
    assert instant_in(datetime(2026, 3, 29, 1, 30), LONDON) == utc(2026, 3, 29, 1)
    assert instant_in(datetime(2026, 3, 8, 0, 30), HAVANA) == utc(2026, 3, 8, 5)


def test_hours_are_local_and_carry_over() -> None:
    hours = Hours.parse("09:00-20:00")
    evening = utc(2026, 3, 28, 21)
    assert hours.open_from(evening, LONDON) == utc(2026, 3, 29, 8)  # the clocks went forward that night
    assert hours.closes_after(utc(2026, 3, 29, 8), LONDON) == utc(2026, 3, 29, 19)
    noon = utc(2026, 3, 28, 12)
    assert hours.open_from(noon, LONDON) == noon
    assert hours.open_from(utc(2026, 3, 28, 20), LONDON) == utc(2026, 3, 29, 8)  # the end is not in it


def test_hours_that_begin_in_a_gap_begin_when_it_ends() -> None:
    assert Hours.parse("01:30-20:00").open_from(utc(2026, 3, 29, 0), LONDON) == utc(2026, 3, 29, 1)


def test_hours_over_midnight_and_until_midnight() -> None:
    night = Hours.parse("20:00-02:00")
    assert night.open_from(utc(2026, 1, 5, 6), NEW_YORK) == utc(2026, 1, 5, 6)  # one o'clock there
    assert night.open_from(utc(2026, 1, 5, 12), NEW_YORK) == utc(2026, 1, 6, 1)
    assert night.closes_after(utc(2026, 1, 6, 1), NEW_YORK) == utc(2026, 1, 6, 7)
    assert Hours.parse("18:00-24:00").closes_after(utc(2026, 1, 5, 19), "UTC") == utc(2026, 1, 6)


@pytest.mark.parametrize(
    "text", ["9-20", "09:00", "09:00-09:00", "25:00-26:00", "09:00-24:30", "09:00 - 20:00", 9, None]
)
def test_hours_that_are_none(text: object) -> None:
    with pytest.raises(InvalidMessage, match="sending_hours: must be two different times of day"):
        Hours.parse(text)  # type: ignore[arg-type]  # on purpose


def test_a_recurrence_keeps_to_the_wall_on_both_sides_of_a_change() -> None:
    at, runs = utc(2026, 3, 27, 12), []
    for _ in range(3):
        at = next_run("0 9 * * *", LONDON, at)
        runs.append(at)
    assert runs == [utc(2026, 3, 28, 9), utc(2026, 3, 29, 8), utc(2026, 3, 30, 8)]
    # a time that a day skips still comes once, and one that it has twice comes once
    assert next_run("30 1 * * *", LONDON, utc(2026, 3, 28, 12)) <= utc(2026, 3, 29, 2)
    first = next_run("30 1 * * *", LONDON, utc(2026, 10, 24, 12))
    assert next_run("30 1 * * *", LONDON, first) == utc(2026, 10, 26, 1, 30)


@pytest.mark.parametrize("cron", ["", "* * * *", "61 * * * *", "0 0 30 2 *", "@daily", 5, "* * * * * *"])
def test_a_crontab_that_is_none_or_never_comes(cron: object) -> None:
    with pytest.raises(InvalidMessage, match="cron: must be a crontab of five fields"):
        check_cron(cron)


@pytest.mark.parametrize("zone", ["", "London", "../etc/passwd", "Europe", None, "\x00"])
def test_a_zone_that_is_none(zone: object) -> None:
    with pytest.raises(InvalidMessage, match="timezone: must be an IANA name"):
        check_zone(zone)


AWARE = datetime(2026, 3, 10, 9, tzinfo=UTC)
LOCAL = datetime(2026, 3, 10, 9)

REFUSED = [
    ({"send_at": datetime(2026, 2, 1, tzinfo=UTC)}, "send_at: must lie in the future; leave it out to send at once"),
    (
        {"send_at": datetime(2026, 2, 1), "timezone": LONDON},
        "send_at: must lie in the future; leave it out to send at once",
    ),
    ({"send_at": datetime(2026, 2, 1), "timezone": "recipient"}, "send_at: must lie in the future"),
    ({"send_at": LOCAL}, "send_at: must have a time zone of its own, or a timezone beside it"),
    ({"send_at": datetime(2026, 3, 29, 1, 30), "timezone": LONDON}, "send_at: does not exist in Europe/London"),
    ({"send_at": datetime(2026, 3, 29, 1, 30, tzinfo=ZoneInfo(LONDON))}, "send_at: does not exist in Europe/London"),
    ({"send_at": "tomorrow"}, "send_at: must be a datetime"),
    ({"expires_at": datetime(2026, 2, 1, tzinfo=UTC)}, "expires_at: must lie in the future, and after send_at"),
    ({"expires_at": LOCAL}, "expires_at: must have an offset, such as +01:00 or Z, unless timezone names a zone"),
    ({"expires_at": LOCAL, "timezone": "recipient"}, "expires_at: must have an offset"),
    ({"expires_at": datetime(2026, 3, 29, 1, 30), "timezone": LONDON}, "expires_at: does not exist in Europe/London"),
    (
        {"expires_at": datetime(2026, 3, 29, 1, 30, tzinfo=ZoneInfo(LONDON))},
        "expires_at: does not exist in Europe/London",
    ),
    ({"expires_at": datetime(2026, 2, 1), "timezone": LONDON}, "expires_at: must lie in the future"),
    ({"expires_at": "tomorrow"}, "expires_at: must be a datetime with a time zone"),
    ({"send_at": AWARE, "expires_at": AWARE}, "expires_at: must lie in the future, and after send_at"),
    ({"cron": "0 9 * * *"}, "timezone: is required beside cron"),
    ({"cron": "0 9 * * *", "timezone": "recipient"}, "timezone: is required beside cron"),
    ({"cron": "0 9 * * *", "timezone": LONDON, "send_at": AWARE}, "cron: stands instead of send_at"),
    ({"cron": "0 9 * * *", "timezone": LONDON, "ramp_up": {"first": 5}}, "ramp_up: cannot go with cron"),
    ({"sending_hours": "09:00-20:00"}, "sending_hours: needs a timezone"),
    ({"zone_column": "tz"}, 'zone_column: needs timezone="recipient"'),
    ({"weight": 0}, "weight: must be a number from 0.01 to 100"),
    ({"weight": True}, "weight: must be a number from 0.01 to 100"),
    ({"ramp_up": {"first": 0}}, "ramp_up: must be {first"),
    ({"ramp_up": {"frist": 5}}, "ramp_up: must be {first"),
    ({"default_region": "gb"}, "default_region: must be a country's two letters"),
    ({"priority": "urgent"}, "priority: must be one of high, normal, bulk"),
    ({"name": ""}, "name: must be 1 to 200 printable characters"),
    ({"name": "a\nb"}, "name: must be 1 to 200 printable characters"),
    ({"message": "Hi"}, "message: must be a Text, Media, Template or Email"),
    ({"defaults": {"a": 1}}, "defaults: must map strings to strings"),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(changes: dict[str, object], sentence: str) -> None:
    given = {"name": "sale", "message": HI, "via": "sms", "now": NOW, **changes}
    with pytest.raises(InvalidMessage) as refused:
        define(**given)  # type: ignore[arg-type]  # on purpose
    assert str(refused.value).startswith(sentence)


def test_a_deadline_without_an_offset_is_meant_in_the_zone() -> None:
    summer = datetime(2026, 7, 1, 18)
    assert define("sale", HI, "sms", expires_at=summer, timezone=LONDON, now=NOW).expires_at == utc(2026, 7, 1, 17)
    aware = summer.replace(tzinfo=UTC)
    assert define("sale", HI, "sms", expires_at=aware, timezone=LONDON, now=NOW).expires_at == utc(2026, 7, 1, 18)


def test_a_definition_survives_the_table_and_its_digest_tells_it_from_another() -> None:
    one = define(
        "sale", HI, "sms", send_at=AWARE, expires_at=AWARE + timedelta(days=1), options={"sendTags": ["a"]}, weight=2,
        metadata={"a": "b"}, defaults={"c": "d"}, ramp_up={"first": 50}, now=NOW,
    )  # fmt: skip
    again = Definition.from_json(one.as_json())
    assert again == one
    assert again.digest == one.digest
    assert again.digest != define("sale", HI, "sms", now=NOW).digest


def test_a_ramp_up_grows_by_its_factor() -> None:
    assert Ramp(50, 2).ends()[:4] == (50, 150, 350, 750)
    assert Ramp(50, 2).ends()[-1] >= 1_000_000_000
    assert len(Ramp(1, 1).ends()) == 366

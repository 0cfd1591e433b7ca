"""What a forecast says beside what happens: over days against the limiter's own script with time in the test's hands,
and live against the sandbox."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from redis import Redis

from paceline import Text
from paceline.broadcast.definition import Definition
from paceline.broadcast.forecast import Forecast
from paceline.broadcast.simulation import Bound, Queue, simulate
from paceline.broadcast.times import outside, windows
from paceline.limit import Limit, guard_for
from tests.integration.limits_setting import Setting
from tests.integration.limits_world import lane_of
from tests.support.installation import ACCOUNT, Installation, recipient
from worker.limits.values import reserved
from worker.watch.lanes import lane_views

Build = Callable[..., Installation]

ROOT = Path(__file__).resolve().parent.parent.parent

BATCH = 32  # a claim's
WITHIN = 0.05  # of the time it takes: the promise


@dataclass
class Run:
    """A broadcast in simulated time, of whose limits so many tokens were spent just before."""

    limits: tuple[str, ...]
    count: int
    hours: str | None = None
    zone: str = "UTC"
    reserve: float = 0.0
    spent: int = 0


RUNS = {
    "a minute's window": Run(("100/minute",), 12_000),
    "a second's window": Run(("10/second",), 20_000),
    "three limits": Run(("10/second", "200/minute", "5000/hour"), 20_000),
    "a day's quota": Run(("100/minute", "5000/day"), 18_000),
    "a quota of another zone": Run(("100/minute", "4000/day@Australia/Sydney"), 15_000),
    "sending hours": Run(("60/minute",), 70_000, hours="09:00-17:00", zone="Europe/London"),
    "hours over midnight": Run(("30/minute",), 20_000, hours="20:00-02:00", zone="America/New_York"),
    "hours, and a quota": Run(("100/minute", "3000/day"), 8_000, hours="09:00-20:00"),
    "a reserve": Run(("100/minute", "5000/day"), 9_000, reserve=0.2),
    "spent before": Run(("100/minute", "5000/day"), 6_000, spent=4_000),
}


def happens(run: Run, valkey: Redis) -> tuple[float, float]:
    """When it begins, and when its last message leaves by the limiter's own script."""
    setting = Setting(valkey, lane_of(*run.limits, reserve=run.reserve))
    world, left = setting.world, run.count
    for _ in range(run.spent // 100):
        while not (grant := setting.take(0, 0, 100)).rest:
            world.now += max(grant.wait_rest, 1e-3)
    start = world.now
    definition = Definition("d", Text(to="x", text="y"), "v", timezone=run.zone, sending_hours=run.hours)
    while left:
        if outside(definition, "", world.now):
            assert definition.hours is not None
            world.now = definition.hours.open_from(world.now, run.zone)
            continue
        grant = setting.take(0, 0, min(BATCH, left))
        left -= grant.rest
        world.now += max(grant.wait_rest, 1e-6) if left else 0.0
    return start, world.now


def foretold(run: Run, start: float) -> float:
    bounds = []
    for text in run.limits:
        limit = Limit.parse(text)
        reserve = reserved(limit.count, run.reserve)
        spent = ((0.0, run.spent if limit.window is None else min(limit.count, run.spent)),) if run.spent else ()
        bounds.append(Bound(limit, guard_for(limit), reserve, spent))
    definition = Definition("d", Text(to="x", text="y"), "v", timezone=run.zone, sending_hours=run.hours)
    queue = Queue("mine", run.count, 2, 1.0, windows(definition, "", start, start))
    finish = simulate(start, bounds, [queue], rate=500.0)["mine"].finish_at
    assert finish is not None
    return finish


@pytest.mark.parametrize("name", RUNS)
def test_over_days_a_forecast_is_within_five_percent(name: str, valkey: Redis) -> None:
    """Given limits, quotas, hours and a reserve, when the real script grants until the last has left, then the forecast
    was right."""
    run = RUNS[name]
    start, end = happens(run, valkey)
    finish = foretold(run, start)
    assert finish == pytest.approx(end, abs=WITHIN * (end - start)), (end - start, finish - start)


def test_what_it_waits_for_its_own_start_limits_nobody(build: Build, tmp_path: Path) -> None:
    # given broadcasts of 90 on a lane of 20 in 5 seconds, that are to begin in an hour
    built, file = build(limits={"send": ["20/5s"]}), people(tmp_path / "p.csv", 90)
    hour = datetime.now(UTC) + timedelta(hours=1)

    # then the lane is what takes the time behind that, and where that takes none nothing is
    view = built.client.broadcast("b", Text(to="{id}", text="Hi"), file, ACCOUNT, send_at=hour)
    assert view.forecast().limited_by == "20/5s"
    few = people(tmp_path / "few.csv", 10)
    assert (
        built.client.preview("few", Text(to="{id}", text="Hi"), few, ACCOUNT, send_at=hour - timedelta(minutes=30))[
            1
        ].limited_by
        == ""
    )


def takes(forecast: Callable[[], Forecast], at_least: float, at_most: float) -> Forecast:
    """Check how long it takes by what is foretold, in seconds from some moment while it was asked for."""
    began, found, ended = time.time(), forecast(), time.time()
    assert found.finish_at is not None
    assert found.finish_at.timestamp() - began > at_least
    assert found.finish_at.timestamp() - ended < at_most
    return found


def people(path: Path, count: int, start: int = 0) -> Path:
    path.write_text("id\n" + "\n".join(recipient(start + number) for number in range(count)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def provider() -> Iterator[str]:
    """The sandbox as a process of its own, so that what it reads late does not look like what left late; its URL."""
    command = [sys.executable, "-m", "sandbox", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def arrivals(provider: str) -> dict[str, float]:
    """When each recipient's message arrived, Unix seconds; each once."""
    answer = httpx.get(f"{provider}/_control/aurogy/ledger").raise_for_status()
    sent = [entry for entry in answer.json()["entries"] if entry["method"] == "POST"]
    assert {entry["status"] for entry in sent} <= {200}
    assert len({entry["recipient"] for entry in sent}) == len(sent)
    return {entry["recipient"]: entry["at"] for entry in sent}


def test_live_a_forecast_is_within_ten_percent(build: Build, provider: str, tmp_path: Path) -> None:
    # given a lane of 10 in 2 seconds, on which another broadcast has had two windows for itself
    built = build(base_url=f"{provider}/aurogy/v1", limits={"send": ["10/2s"]})
    service = built.service()
    text, end = Text(to="{id}", text="Hi"), time.monotonic() + 100

    def work(condition: Callable[[], object]) -> None:
        while not condition():
            assert time.monotonic() < end
            service.tick()
            service.pump.run_slice(0.25)

    built.client.broadcast("theirs", text, people(tmp_path / "t.csv", 400), ACCOUNT)
    work(lambda: len(arrivals(provider)) >= 20)

    # when one of six windows' shares joins it
    mine = people(tmp_path / "m.csv", 30, start=1000)
    view = built.client.broadcast("mine", text, mine, ACCOUNT)
    began, found, asked = time.time(), view.forecast(), time.time()
    assert found.finish_at is not None
    work(lambda: not view.refresh().counts["queued"] + view.refresh().counts["sending"])

    # then that was when the lane could let its last message go, being behind as many of the others as it was: a window
    # more or less would be a fifth of the time
    arrived = arrivals(provider)
    last = max(at for to, at in arrived.items() if to >= recipient(1000))
    before = [at for at in arrived.values() if at <= asked]
    ahead = sum(asked < at <= last for at in arrived.values())
    earliest, latest = (leaves(before, ahead, since) for since in (began, asked))
    finish, margin = found.finish_at.timestamp(), 0.1 * (earliest - began)
    assert earliest - margin < finish < latest + margin
    assert last > finish - margin
    assert earliest - began > 9
    assert found.limited_by == "10/2s"


def leaves(arrived: list[float], ahead: int, since: float) -> float:
    """When the last of so many can leave at the earliest, ten in two seconds and the guard, by what has arrived."""
    times, span = sorted(arrived), 2.0 + guard_for(Limit.parse("10/2s"))
    for _ in range(ahead):
        times.append(max(since, times[-10] + span))
    return times[-1]


def test_what_is_on_its_way_has_its_tokens_already(build: Build, tmp_path: Path) -> None:
    # given 60 on a lane of 20 a minute, of which a claim has just taken 20
    built = build(limits={"send": ["20/60s"]})
    view = built.client.broadcast("b", Text(to="{id}", text="Hi"), people(tmp_path / "p.csv", 60), ACCOUNT)
    taken = "(SELECT id FROM paceline_message ORDER BY position LIMIT 20)"
    built.run(f"UPDATE paceline_message SET status = 'sending' WHERE id IN {taken}")
    built.run(
        "INSERT INTO paceline_grant (id, key, lane, high, rest, created_at, lease_until, closed) "
        "SELECT 'g', key, name, 0, 20, :now, :now + 60, 0 FROM paceline_lane WHERE name = :lane",
        now=time.time(), lane=f"{ACCOUNT}/send",
    )  # fmt: skip

    # then two more windows are needed, not three
    assert takes(view.forecast, 110, 130)


def test_a_deadline_that_will_be_missed_is_said_before_and_what_would_help(build: Build, tmp_path: Path) -> None:
    built = build(limits={"send": ["60/minute"]})
    file = people(tmp_path / "p.csv", 600)
    ends = datetime.now(UTC) + timedelta(minutes=5)

    _, late = built.client.preview("b", Text(to="{id}", text="Hi"), file, ACCOUNT, expires_at=ends)
    _, early = built.client.preview(
        "b", Text(to="{id}", text="Hi"), file, ACCOUNT, expires_at=ends + timedelta(hours=1)
    )

    assert (late.late, late.limited_by) == (True, "60/minute")
    assert late.advice is not None
    assert "60/minute" in late.advice
    assert (early.late, early.advice) == (False, None)


def test_what_is_ahead_and_what_is_reserved_takes_its_time(build: Build, tmp_path: Path) -> None:
    # given 60 a minute of which a fifth is reserved, and 96 messages of greater importance
    built = build(limits={"send": ["60/minute"]}, reserve="20%")
    for number in range(96):
        built.text(1000 + number)

    # then 140 of ours take two minutes longer than alone: 236 at 48 a minute, of which nothing is left to the last four
    file = people(tmp_path / "p.csv", 140)
    found = takes(lambda: built.client.preview("b", Text(to="{id}", text="Hi"), file, ACCOUNT)[1], 239, 246)
    assert found.limited_by == "60/minute"


def test_a_closed_lane_has_no_end_until_it_is_opened(build: Build, tmp_path: Path) -> None:
    built = build(limits={"send": ["60/minute"]})
    file = people(tmp_path / "p.csv", 30)
    built.run("UPDATE paceline_lane SET closed_reason = 'closed by an operator'")
    _, shut = built.client.preview("b", Text(to="{id}", text="Hi"), file, ACCOUNT)
    assert (shut.finish_at, shut.limited_by, shut.advice) == (None, "closed: closed by an operator", "open the lane")

    opens = time.time() + 1000
    built.run("UPDATE paceline_lane SET closed_until = :at", at=opens)
    _, later = built.client.preview("b", Text(to="{id}", text="Hi"), file, ACCOUNT)
    assert later.finish_at is not None
    assert later.finish_at.timestamp() == pytest.approx(opens, abs=30)
    assert later.limited_by == "the lane is closed"


def test_enqueue_warns_of_what_will_expire_unsent_and_lanes_tell_when_they_are_done(build: Build) -> None:
    # given a lane of 60 a minute with 180 messages on it
    built = build(limits={"send": ["60/minute"]})
    for number in range(180):
        built.text(number)
    soon = datetime.now(UTC) + timedelta(seconds=90)

    # then one that must leave within 90 seconds is told so, unless it goes before the others
    late = built.text(500, expires_at=soon)
    assert late.warning is not None
    assert late.warning.startswith("expires_at: will probably pass before it can leave")
    assert built.text(501, expires_at=soon, priority="high").warning is None
    assert built.text(502, expires_at=soon + timedelta(minutes=10)).warning is None
    assert built.text(503).warning is None


def test_lanes_tell_when_their_backlog_will_have_left(build: Build) -> None:
    built = build(limits={"send": ["60/minute"]})
    service = built.service()
    before = {view.lane: view.forecast for view in lane_views(built.engine, service.limiter, built.topology)}
    assert before[f"{ACCOUNT}/send"] is None

    for number in range(150):
        built.text(number)
    began = time.time()
    after = {view.lane: view for view in lane_views(built.engine, service.limiter, built.topology)}
    done, ended = after[f"{ACCOUNT}/send"].forecast, time.time()
    assert done is not None
    assert done - began > 119
    assert done - ended < 123
    assert after[f"{ACCOUNT}/send"].as_json()["forecast"].endswith("Z")

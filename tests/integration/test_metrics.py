"""GET /metrics: what a scrape shows, what it costs, and what it says while the database or the broker is away."""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from sqlalchemy import event

from sandbox.background import SandboxServer
from tests.integration.test_claims import fill, line
from tests.support.installation import ACCOUNT, KEY, Installation, recipient, until
from tests.support.receiver import SECRET, report
from tests.support.receiver import receiving as receiving_webhooks
from tests.support.tokens import KEEPING
from worker.retry import Closure, Reach
from worker.watch import metrics as metrics_module
from worker.watch.counters import Counts, SharedTally, Tally
from worker.watch.metrics import HELP, Metrics
from worker.watch.telemetry import Telemetry

Build = Callable[..., Installation]
Scraped = Mapping[tuple[str, frozenset[str]], float]
SEND = f"{ACCOUNT}/send"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that pauses is not a broker that is away."""
    monkeypatch.setattr(metrics_module, "BROKER_PATIENCE", 60.0)
    monkeypatch.setattr(metrics_module, "DATABASE_PATIENCE", 60.0)


@pytest.fixture
def built(build: Build) -> Installation:
    return build(webhook_secret=SECRET, accounts=KEEPING)


@pytest.fixture
def scraper(built: Installation) -> Iterator[Metrics]:
    made = metrics_of(built, dict)
    yield made
    made.close()


def metrics_of(built: Installation, own: Callable[[], Counts]) -> Metrics:
    # a client of its own: closing metrics closes it
    path = built.redis.connection_pool.connection_kwargs["path"]
    redis = Redis(unix_socket_path=path)
    return Metrics(built.engine, redis, built.name, built.topology, own)


def scrape(scraper: Metrics) -> Scraped:
    """Every sample by its name and its labels' values."""
    text = asyncio.run(scraper.text()).decode()
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Scraped, name: str, *labels: str) -> float:
    return found[name, frozenset(labels)]


def test_what_waits_and_what_is_left_is_shown_by_lane(built: Installation, scraper: Metrics) -> None:
    # given two messages, and a key whose limits nobody has asked for yet
    built.text(1)
    built.text(2)

    found = scrape(scraper)
    assert of(found, "paceline_part_up", "database") == of(found, "paceline_part_up", "broker") == 1
    assert of(found, "paceline_lane_backlog", SEND) == 2
    assert 0 <= of(found, "paceline_lane_oldest_seconds", SEND) < 30
    assert of(found, "paceline_lane_open", SEND) == 1
    assert of(found, "paceline_lane_unknown", SEND) == 0
    assert not [name for name, _ in found if name == "paceline_lane_tokens"]

    # when they were sent, then the tokens are known, and nothing waits
    send_all(built)
    found = scrape(scraper)
    assert of(found, "paceline_lane_tokens", SEND, "100/minute") == 98
    assert of(found, "paceline_lane_tokens_reserved", SEND, "100/minute") == 0
    assert of(found, "paceline_lane_backlog", SEND) == 0
    assert of(found, "paceline_lane_oldest_seconds", SEND) == 0


def send_all(built: Installation) -> None:
    service = built.service()
    until(lambda: (service.tick(), service.pump.run_slice(1), "queued" not in built.statuses())[-1])


def test_requests_are_counted_by_outcome_and_timed(
    built: Installation, scraper: Metrics, sandbox: SandboxServer
) -> None:
    # given a request that is accepted and one whose answer never comes
    built.text(1)
    send_all(built)
    sandbox.fault("aurogy", "close", count=1, accept=True)
    built.text(2)
    send_all(built)

    found = scrape(scraper)
    assert of(found, "paceline_requests_total", SEND, ACCOUNT, "accepted") == 1
    assert of(found, "paceline_requests_total", SEND, ACCOUNT, "unknown") == 1
    assert of(found, "paceline_request_seconds_count", SEND) == 2
    assert of(found, "paceline_request_seconds_bucket", SEND, "+Inf") == 2
    assert 0 < of(found, "paceline_request_seconds_sum", SEND) < 60
    assert of(found, "paceline_lane_unknown", SEND) == 1
    assert of(found, "paceline_pump_cycles_total") >= 2
    assert time.time() - of(found, "paceline_pump_last_cycle_timestamp_seconds") < 30


def test_a_job_of_which_nobody_knows_what_became_is_shown_on_its_lane(built: Installation, scraper: Metrics) -> None:
    built.client.start(ACCOUNT, "update_profile", name="Acme")
    built.run("UPDATE paceline_job SET status = 'unknown', unresolved = true")

    found = scrape(scraper)

    assert of(found, "paceline_lane_unknown", f"{ACCOUNT}/profile") == 1
    assert of(found, "paceline_lane_unknown", SEND) == 0


def test_what_leaves_again_although_it_may_have_arrived_is_counted(build: Build, sandbox: SandboxServer) -> None:
    """Given on_unknown = "retry", when an answer is lost, then that the message goes once more is counted."""
    built = build(on_unknown="retry", retry={"schedule": [0.05]})
    sandbox.fault("aurogy", "close", count=1, accept=True)
    built.text(1)
    built.text(2)
    service = built.service()
    until(lambda: (service.sweep(), service.tick(), service.pump.run_slice(1), built.statuses() == {"accepted": 2})[-1])

    assert len(sandbox.ledger("aurogy")) == 3
    with closing(metrics_of(built, dict)) as scraper:
        assert of(scrape(scraper), "paceline_repeats_total", SEND, ACCOUNT) == 1


@pytest.mark.parametrize(
    ("fault", "labels"),
    [
        ({"status": 429, "retry_after": 300}, ("lane", "date")),
        ({"status": 401}, ("key", "operator")),
    ],
    ids=["throttled", "a key that is refused"],
)
def test_closings_are_counted_by_what_ends_them(
    built: Installation, scraper: Metrics, sandbox: SandboxServer, fault: dict[str, object], labels: tuple[str, str]
) -> None:
    sandbox.fault("aurogy", "status", count=1, **fault)
    built.text(1)
    service = built.service()
    until(lambda: (service.tick(), service.pump.run_slice(1), sandbox.summary("aurogy")["requests"])[-1])

    found = scrape(scraper)
    assert of(found, "paceline_closures_total", SEND, *labels) == 1
    assert of(found, "paceline_lane_open", SEND) == 0


@pytest.mark.parametrize(
    ("closure", "until"),
    [
        (Closure(Reach.LANE, 5.0, "429"), "date"),
        (Closure(Reach.LANE, 5.0, "503", probe=True), "probe"),
        (Closure(Reach.LANE, None, "session_not_ready", unready=True), "ready"),
        (Closure(Reach.KEY, None, "401"), "operator"),
    ],
)
def test_an_operator_is_named_only_where_nothing_else_ends_a_closing(
    built: Installation, closure: Closure, until: str
) -> None:
    tally = SharedTally(built.redis, built.name)

    Telemetry(tally=tally).closed(built.topology.lanes[SEND], closure)

    assert tally.counts == {("closures", SEND, str(closure.reach), until): 1}


def test_what_the_workers_are_behind_with_is_shown(built: Installation, scraper: Metrics, valkey: Redis) -> None:
    # given a lane that could have gone ten minutes ago, wake-ups that nobody takes, and events nobody was told of
    service = built.service()
    service.due.file({SEND: -600.0})
    valkey.lpush(f"paceline.{built.name}.pump", "a", "b")
    built.run("INSERT INTO paceline_relay (id, assigned, published) VALUES (1, 12, 5)")

    found = scrape(scraper)
    assert 600 <= of(found, "paceline_pump_overdue_seconds") < 660
    assert of(found, "paceline_queue_length", "pump") == 2
    assert of(found, "paceline_events_untold") == 7


def test_webhooks_are_counted_where_they_were_answered(build: Build) -> None:
    # given a receiver that answers what is genuine, forged, and posted to accounts that anybody makes up
    built = build(webhook_secret=SECRET)
    built.run(
        "INSERT INTO paceline_attempt (message_id, number, grant_id, account, at, outcome, code, duration_ms)"
        " VALUES ('m', 1, 'g', :account, 0, 'unknown', '', 0)",
        account=ACCOUNT,
    )  # of which the strange id may speak
    tally = Tally()
    with receiving_webhooks(built.engine, built.topology, tally) as hooks:
        hooks.post(report("msg_unheard_of", "delivered", recipient(1)))
        hooks.post({"event": "message.read"}, secret="another")
        for name in ("nobody", "../etc", "a" * 500):
            hooks.post({}, account=name)
        hooks.ask("GET", f"/hooks/{ACCOUNT}")
        hooks.ask("GET", "/health")

    # then each is counted, the inventions under no name, and what is no webhook is not
    scraper = metrics_of(built, lambda: tally.counts)
    found = scrape(scraper)
    scraper.close()
    assert of(found, "paceline_webhooks_total", ACCOUNT, "stored") == 1
    assert of(found, "paceline_webhooks_total", ACCOUNT, "refused") == 1
    assert of(found, "paceline_webhooks_total", ACCOUNT, "not_posted") == 1
    assert of(found, "paceline_webhooks_total", "", "no_account") == 3
    assert of(found, "paceline_webhook_seconds_count") == 6
    assert of(found, "paceline_webhooks_parked") == 1


def test_metrics_are_not_on_the_public_address(build: Build) -> None:
    built = build(webhook_secret=SECRET)
    with receiving_webhooks(built.engine, built.topology) as hooks:
        assert hooks.ask("GET", "/metrics")[0] == 404


def test_no_label_tells_of_a_message(built: Installation, sandbox: SandboxServer) -> None:
    """Given messages of every outcome, when they are scraped, then labels are lanes, accounts, limits and our words."""
    sandbox.fault("aurogy", "status", status=400, code="a_code_of_theirs", count=1)
    receipts = [built.text(number) for number in range(3)]
    send_all(built)
    scraper = metrics_of(built, dict)
    text = asyncio.run(scraper.text()).decode()
    scraper.close()

    for secret in (KEY, SECRET, "a_code_of_theirs", "parcel", *(recipient(n) for n in range(3))):
        assert secret not in text
    assert not any(receipt.id in text for receipt in receipts)
    allowed = r"[a-z_]+|\+Inf|[0-9.]+|[0-9]+/(minute|day)|aurogy-main(/[a-z]+)?"
    values = re.findall(r'="([^"]*)"', text)
    assert [value for value in values if not re.fullmatch(allowed, value)] == []


def test_counts_of_lanes_that_are_gone_are_not_shown(built: Installation, scraper: Metrics, valkey: Redis) -> None:
    valkey.hset(f"paceline:{built.name}:counters", "requests\tformer/send\tformer\taccepted", 7)

    assert not [labels for name, labels in scrape(scraper) if "former/send" in labels]


def test_while_the_broker_is_away_the_database_is_shown_and_the_rest_is_missing(
    built: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.text(1)
    own: dict[tuple[str, ...], int] = {("webhooks", "", "late"): 2}
    scraper = Metrics(
        built.engine,
        Redis(unix_socket_path="/nowhere.sock"),
        built.name,
        built.topology,
        own.copy,
    )
    found = scrape(scraper)
    scraper.close()

    assert (of(found, "paceline_part_up", "broker"), of(found, "paceline_part_up", "database")) == (0, 1)
    assert of(found, "paceline_lane_backlog", SEND) == 1
    assert of(found, "paceline_webhooks_total", "", "late") == 2
    missing = {"paceline_requests_total", "paceline_lane_tokens", "paceline_queue_length", "paceline_pump_cycles_total"}
    assert not missing & {name for name, _ in found}


def test_while_the_database_is_away_the_broker_is_shown(built: Installation, scraper: Metrics) -> None:
    built.text(1)
    send_all(built)
    built.run("ALTER TABLE paceline_lane RENAME TO elsewhere")
    try:
        found = scrape(scraper)
    finally:
        built.run("ALTER TABLE elsewhere RENAME TO paceline_lane")

    assert (of(found, "paceline_part_up", "broker"), of(found, "paceline_part_up", "database")) == (1, 0)
    assert of(found, "paceline_requests_total", SEND, ACCOUNT, "accepted") == 1
    assert "paceline_lane_backlog" not in {name for name, _ in found}


def test_a_database_that_is_silent_holds_up_a_scrape_for_a_moment_only(
    built: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "DATABASE_PATIENCE", 0.3)
    scraper = metrics_of(built, dict)
    looks, answers = list[object](), threading.Event()

    def silent(limiter: object) -> None:
        looks.append(limiter)
        answers.wait(30)  # a server that does not answer

    monkeypatch.setattr(scraper, "_ask_database", silent)
    assert of(scrape(scraper), "paceline_part_up", "database") == 0
    assert of(scrape(scraper), "paceline_part_up", "database") == 0
    under_way = scraper._database._asked
    assert under_way is not None
    assert not under_way.done()  # neither waited for the answer
    answers.set()
    under_way.result(60)
    assert len(looks) == 1  # the second scrape asked nobody, since one was being asked still
    scraper.close()


def test_a_scrape_costs_the_same_at_any_backlog(
    built: Installation, scraper: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a long backlog in two lines, when it is scraped, then counting ends at its bound for both together."""
    monkeypatch.setattr(metrics_module, "MOST", 3000)
    fill(built, line(built, "normal"), 2000)
    fill(built, line(built, "bulk"), 2000)
    statements: list[str] = []
    event.listen(built.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    assert of(scrape(scraper), "paceline_lane_backlog", SEND) == 3000
    counted = [sql for sql in statements if "count(" in sql and "paceline_message" in sql and "unknown" not in sql]
    assert counted
    assert [sql for sql in counted if "LIMIT" not in sql] == []


def test_every_series_has_a_meaning_and_every_meaning_a_series(built: Installation, scraper: Metrics) -> None:
    text = asyncio.run(scraper.text()).decode()
    described = set(re.findall(r"(?m)^# HELP (\S+) \S", text))

    assert described == set(HELP)
    assert all(name.startswith("paceline_") for name in HELP)

"""The doctor, on real servers: what is wrong is named, and each finding says what to do."""

import re
import socket
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from config.settings import load
from paceline import wire
from paceline.limit import Limit
from providers.registry import PROVIDERS
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation
from tests.support.raw_server import Peer, raw_server
from tests.support.receiver import SECRET, receiving
from worker import operate
from worker.app import topology_of
from worker.lanes.gate import Gates
from worker.ledger import Ledger
from worker.limits import Limiter
from worker.probe import Prober
from worker.store import Store
from worker.transport import Transport
from worker.watch import doctor, doctor_providers
from worker.watch.doctor import Finding
from worker.watch.lanes import lane_views

Build = Callable[..., Installation]
SUBJECT = f"account {ACCOUNT} at aurogy"


def asked(built: Installation) -> dict[str, Finding]:
    limiter = Limiter(built.redis, wire.limiter_prefix(built.name))
    gates = Gates(built.topology, limiter, Ledger(built.engine, limiter, built.topology))
    transport = Transport()
    try:
        found = list(doctor_providers.accounts(Prober(Store(built.engine), gates, transport), built.topology))
    finally:
        transport.close()
    assert [each for each in found if not each.ok and not each.advice] == []
    return {each.subject: each for each in found}


def by_subject(findings: Iterator[Finding]) -> dict[str, Finding]:
    found = list(findings)
    assert [each for each in found if not each.ok and not each.advice] == []
    return {each.subject: each for each in found}


# Providers


def test_an_account_that_works_says_so_with_clock_and_limit(build: Build) -> None:
    found = asked(build())

    assert all(each.ok for each in found.values())
    assert re.fullmatch(r"works, answered in \d+ ms", found[SUBJECT].found)
    assert re.fullmatch(r"\d s (ahead of|behind) this host's", found["clock of aurogy"].found)
    limit = found[f"limit of {ACCOUNT}/profile"]
    assert limit.found == "the provider reports 60/minute; you use 10/minute"


def test_a_wrong_key_is_named_and_the_key_itself_is_not(build: Build, sandbox: SandboxServer) -> None:
    sandbox.settings("aurogy", {"keys": {"auro_test_sk_another0123456": {}}})
    built = build()

    finding = asked(built)[SUBJECT]

    assert (finding.ok, finding.found) == (False, "HTTP 401: the account is not allowed to")
    assert "check api_key" in finding.advice
    assert "auro_test_sk" not in repr(finding)
    assert built.rows("SELECT name FROM paceline_key WHERE closed_reason IS NOT NULL") == []


def test_a_closed_lane_is_left_alone(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    operate.close(built.engine, built.topology.lanes_of(ACCOUNT), whole_key=True)

    finding = asked(built)[SUBJECT]
    assert (finding.ok, sandbox.ledger("aurogy")) == (True, [])
    assert finding.found == f"not asked: {ACCOUNT}/profile lets nothing through until it is opened (lane closed)"

    limiter = Limiter(built.redis, wire.limiter_prefix(built.name))
    views = lane_views(built.engine, limiter, built.topology)
    lanes = [each for each in doctor.lanes(views, built.topology, {ACCOUNT}) if not each.ok]
    assert len(lanes) == len(built.topology.lanes)
    assert all("run `paceline open" in each.advice for each in lanes)


def test_accounts_of_another_configuration_are_not_asked(build: Build, sandbox: SandboxServer) -> None:
    """Given that workers were given another key for the account, then doctor says so and does not call it well."""
    built = build()
    built.run("UPDATE paceline_key SET fingerprint = 'of another key'")

    finding = asked(built)[SUBJECT]
    assert (finding.ok, sandbox.ledger("aurogy")) == (False, [])
    assert finding.found == "not asked: another configuration is published"
    assert "the same configuration" in finding.advice


@pytest.mark.parametrize("skew", [600.0, -600.0])
def test_a_providers_clock_that_is_ten_minutes_off_is_seen(build: Build, sandbox: SandboxServer, skew: float) -> None:
    sandbox.fault("aurogy", "status", status=200, body={"name": "Acme"}, clock_skew=skew)

    clock = asked(build())["clock of aurogy"]

    assert not clock.ok
    assert re.fullmatch(rf"(59|60)\d s {'ahead of' if skew > 0 else 'behind'} this host's", clock.found)
    assert "NTP" in clock.advice


@pytest.mark.parametrize(
    ("fault", "found", "advice"),
    [
        ({"kind": "status", "status": 429, "retry_after": 60}, "HTTP 429: over a limit", "who else uses this key"),
        ({"kind": "status", "status": 403}, "HTTP 403: the account is not allowed to", "permission"),
        ({"kind": "status", "status": 503}, "HTTP 503: cannot send now", "messages wait"),
        ({"kind": "status", "status": 400}, "HTTP 400: ", "base_url and options"),
        ({"kind": "status", "status": 301}, "HTTP 301: the account is not allowed to", "check base_url"),
        ({"kind": "close"}, "no answer within", "ask again"),
    ],
)
def test_every_answer_says_what_to_do(
    build: Build, sandbox: SandboxServer, fault: dict[str, Any], found: str, advice: str
) -> None:
    sandbox.fault("aurogy", **fault)

    finding = asked(build())[SUBJECT]

    assert not finding.ok
    assert finding.found.startswith(found)
    assert advice in finding.advice


def test_a_question_that_the_provider_does_not_know_is_no_fault(build: Build, sandbox: SandboxServer) -> None:
    sandbox.fault("aurogy", "status", status=404)

    finding = asked(build())[SUBJECT]

    assert (finding.ok, finding.found) == (True, "HTTP 404: whether it works is not known")
    assert "options.paths.profile" in finding.advice


def test_a_provider_that_cannot_be_reached_is_named_by_its_host(build: Build) -> None:
    finding = asked(build(base_url="http://127.0.0.1:9/v1"))[SUBJECT]

    assert not finding.ok
    assert finding.found.startswith("not connected (")
    assert "127.0.0.1:9 must be reached from here" in finding.advice


def test_a_limit_above_the_providers_is_found(build: Build, sandbox: SandboxServer) -> None:
    limit = asked(build(limits={"profile": ["1000/minute"]}))[f"limit of {ACCOUNT}/profile"]

    assert (limit.ok, limit.found) == (False, "the provider reports 60/minute; you use 1000/minute")
    assert f"lower accounts.{ACCOUNT}.limits.profile" in limit.advice


@pytest.mark.parametrize(
    ("limits", "window", "most"),
    [
        (["100/minute"], 60.0, 100),
        (["100/hour"], 60.0, 100),
        (["10/second"], 60.0, 600),
        (["10/second", "100/hour"], 60.0, 100),
        (["7/40s"], 60.0, 14),
        (["1000/day"], 3600.0, 1000),
    ],
)
def test_limits_of_different_windows_are_compared_by_what_they_let_through(
    limits: Sequence[str], window: float, most: float
) -> None:
    assert doctor_providers.most_within([Limit.parse(text) for text in limits], window) == most


def test_accounts_of_one_key_ask_once(build: Build, sandbox: SandboxServer) -> None:
    url = sandbox.base_url("aurogy")
    twin = f'[accounts.twin]\nprovider = "aurogy"\nbase_url = "{url}"\napi_key = "auro_test_sk_0123456789abcdef"\n'

    found = asked(build(accounts=twin))

    assert found[SUBJECT].found == found["account twin at aurogy"].found
    assert len(sandbox.ledger("aurogy")) == 1


# Webhooks


def test_a_public_address_that_leads_to_us_is_well(build: Build) -> None:
    built = build(webhook_secret=SECRET)
    with receiving(built.engine, built.topology) as hooks:
        found = by_subject(doctor_providers.webhooks(built.topology, f"http://127.0.0.1:{hooks.port}"))

    assert [(each.subject, each.ok) for each in found.values()] == [("webhooks", True)]


def test_a_hooks_server_without_its_database_is_told_apart(build: Build) -> None:
    built = build(webhook_secret=SECRET)
    with receiving(built.engine, built.topology) as hooks:
        built.run("ALTER TABLE paceline_installation RENAME TO elsewhere")
        try:
            found = by_subject(doctor_providers.webhooks(built.topology, f"http://127.0.0.1:{hooks.port}"))
        finally:
            built.run("ALTER TABLE elsewhere RENAME TO paceline_installation")

    assert (found["webhooks"].ok, found["webhooks"].found) == (False, "the hooks server says: database away")


@pytest.mark.parametrize(
    "body", [b"<html>Welcome to nginx!</html>", b'{"status": "up"}', b"[]", b'"ok"', b"\xff", b'{"status": ["ok"]}']
)
def test_a_public_address_that_leads_to_somebody_else_is_found(build: Build, body: bytes) -> None:
    def somebody(peer: Peer) -> None:
        if peer.read_request():
            peer.answer(body)

    built = build(webhook_secret=SECRET)
    with raw_server(somebody) as server:
        url = f"http://127.0.0.1:{server.port}/paceline"
        finding = by_subject(doctor_providers.webhooks(built.topology, url))["webhooks"]
        assert server.settled()[0].startswith(b"GET /paceline/health HTTP/1.1\r\n")

    assert not finding.ok
    assert "not as a hooks server does" in finding.found


def test_a_public_address_that_leads_nowhere_is_found(build: Build) -> None:
    built = build(webhook_secret=SECRET)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        finding = by_subject(doctor_providers.webhooks(built.topology, url))["webhooks"]

    assert (finding.ok, "ConnectionRefusedError" in finding.found) == (False, True)
    assert "run `paceline hooks`" in finding.advice


def test_what_is_not_set_up_for_webhooks_is_said_and_is_no_fault(build: Build) -> None:
    built = build()
    without = by_subject(doctor_providers.webhooks(built.topology, None))
    assert without["webhooks"].ok
    assert "public_url is not set" in without["webhooks"].found

    with receiving(built.engine, built.topology) as hooks:
        found = by_subject(doctor_providers.webhooks(built.topology, f"http://127.0.0.1:{hooks.port}"))
    assert found[f"webhooks of {ACCOUNT}"].ok
    assert f"set accounts.{ACCOUNT}.webhook_secret" in found[f"webhooks of {ACCOUNT}"].advice


def test_it_says_of_which_accounts_nothing_is_heard_and_whose_own_addresses_are_believed(tmp_path: Path) -> None:
    file, text = tmp_path / "paceline.toml", ""
    for name in ("aurogy", "augnet", "aulm"):
        secret = PROVIDERS[name].webhook_credential
        text += f'[accounts.{name}-main]\nprovider = "{name}"\n'
        text += "".join(
            f'{each.name} = "{each.sandbox}"\n'
            for each in PROVIDERS[name].credentials
            if each.sandbox and each.name != secret
        )
    file.write_text(text)
    topology = topology_of(load(file, environ={}))

    without = by_subject(doctor_providers.webhooks(topology, None))["webhooks"]
    assert without.advice.endswith("polled for, except of augnet-main, aulm-main, whose providers cannot be asked")

    found = by_subject(doctor_providers.webhooks(topology, "http://127.0.0.1:1"))
    assert "only those to messages' own addresses" in found["webhooks of augnet-main"].found
    assert "all are refused" in found["webhooks of aulm-main"].found


# Broker, database, software


@contextmanager
def configured(valkey: Redis, **settings: str) -> Iterator[None]:
    before: dict[str, Any] = {name: valkey.config_get(name)[name] for name in settings}
    for name, value in settings.items():
        valkey.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            valkey.config_set(name, value)


def test_a_broker_as_it_should_be(valkey: Redis) -> None:
    with configured(valkey, **{"maxmemory-policy": "noeviction", "save": ""}):
        found = by_subject(doctor.broker(valkey))

    assert all(each.ok for each in found.values())
    assert found["broker's eviction"].found == "noeviction"
    assert found["broker's persistence"].found == "none"
    assert found["broker"].found.startswith("Valkey ")
    assert found["broker's clock"].ok


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_broker_that_evicts_is_found(valkey: Redis, policy: str) -> None:
    with configured(valkey, **{"maxmemory-policy": policy}):
        eviction = by_subject(doctor.broker(valkey))["broker's eviction"]

    assert (eviction.ok, eviction.found) == (False, policy)
    assert "noeviction" in eviction.advice


def test_a_broker_that_is_nearly_full_is_found(valkey: Redis) -> None:
    used = int(valkey.info()["used_memory"])
    with configured(valkey, maxmemory=str(int(used * 1.1))):
        memory = by_subject(doctor.broker(valkey))["broker's memory"]

    assert not memory.ok
    assert "raise maxmemory" in memory.advice


def test_a_broker_that_saves_is_told_and_one_that_cannot_is_found(valkey: Redis) -> None:
    with configured(valkey, save="3600 1"):
        saving = by_subject(doctor.broker(valkey))["broker's persistence"]
    assert (saving.ok, saving.found) == (True, "RDB")
    assert "needs none" in saving.advice

    info = {**valkey.info(), "rdb_last_bgsave_status": "err"}
    with patch.object(valkey, "info", lambda *_: info):
        failing = by_subject(doctor.broker(valkey))["broker's persistence"]
    assert (failing.ok, failing.found) == (False, "rdb_last_bgsave_status is not ok")


def test_a_broker_that_keeps_its_configuration_to_itself_is_no_fault(valkey: Redis) -> None:
    def denied(*_: object) -> None:
        raise NoPermissionError("this user has no permissions to run the 'config|get' command")

    with patch.object(valkey, "config_get", denied):
        assert by_subject(doctor.broker(valkey))["broker's persistence"].ok


def test_a_broker_that_is_away_is_one_finding() -> None:
    [found] = by_subject(doctor.broker(Redis(unix_socket_path="/nowhere.sock"))).values()

    assert (found.subject, found.ok, found.found) == ("broker", False, "cannot be used")


@pytest.mark.parametrize(("ahead", "ok"), [(0.0, True), (1.0, True), (600.0, False), (-600.0, False)])
def test_clocks_that_differ_are_found(build: Build, ahead: float, ok: bool) -> None:
    built = build()

    def wall() -> float:
        return time.time() - ahead

    found = by_subject(doctor.database(built.engine, wall)) | by_subject(doctor.broker(built.redis, wall))

    for clock in (found["database's clock"], found["broker's clock"]):
        assert clock.ok is ok
        assert ok or ("ahead of" if ahead > 0 else "behind") in clock.found


@pytest.mark.parametrize(("before", "after", "ok"), [(0.0, 8.0, True), (8.0, 8.0, False)])
def test_that_a_host_was_slow_to_ask_is_no_fault_of_a_clock(
    build: Build, before: float, after: float, ok: bool
) -> None:
    """Given an answer that took eight seconds, then a clock may have stood anywhere between; given one at once, not."""
    built = build()

    def wall() -> Callable[[], float]:
        ahead = iter((before, after))
        return lambda: time.time() + next(ahead)

    for *_, clock in (doctor.database(built.engine, wall()), doctor.broker(built.redis, wall())):
        assert clock.ok is ok


def test_a_database_of_another_version_is_found(build: Build) -> None:
    built = build()
    built.run("UPDATE paceline_version SET version_num = '0000'")

    [found] = by_subject(doctor.database(built.engine)).values()

    assert (found.ok, "paceline migrate" in found.advice) == (False, True)


def test_the_software_is_what_was_tried() -> None:
    [found] = doctor.software()

    assert found.ok, found
    assert all(f"{name} {metadata.version(name)}" in found.found for name in ("celery", "kombu", "redis"))


def test_software_that_was_not_tried_is_named_with_what_to_install() -> None:
    [found] = doctor.software(lambda name: "5.8.0" if name == "celery" else metadata.version(name))

    assert (found.ok, found.advice) == (False, "install celery>=5.7,<5.8")


def test_what_was_tried_is_what_is_declared() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = {*project["dependencies"], *project["optional-dependencies"]["service"]}

    assert {f"{name}{rule}" for name, rule in doctor.SUPPORTED.items()} <= declared
    assert project["requires-python"] == doctor.PYTHON


# What is not ours to mend


def test_a_lane_whose_provider_is_not_ready_is_not_for_an_operator_to_open(build: Build) -> None:
    """Given a lane whose provider says that it cannot send for now, then doctor does not advise to open it, and what
    closes it for good is still said."""
    built = build()
    built.run(
        "UPDATE paceline_lane SET unready = 'session_not_ready', ask_at = 9e9 WHERE name = :n", n=f"{ACCOUNT}/send"
    )
    limiter = Limiter(built.redis, wire.limiter_prefix(built.name))

    def found() -> Finding:
        views = lane_views(built.engine, limiter, built.topology)
        return by_subject(doctor.lanes(views, built.topology, {ACCOUNT}))[f"lane {ACCOUNT}/send"]

    assert (found().ok, found().found) == (False, "not ready: session_not_ready")
    assert "open" not in found().advice
    [view] = [view for view in lane_views(built.engine, limiter, built.topology) if view.lane == f"{ACCOUNT}/send"]
    assert view.as_json()["unready"] is True

    built.run("UPDATE paceline_lane SET unready = NULL")
    operate.close(built.engine, built.topology.lanes_of(ACCOUNT), whole_key=False)
    assert f"run `paceline open {ACCOUNT}/send`" in found().advice


def test_accounts_that_cannot_be_asked_are_named(build: Build) -> None:
    assert {each.subject: each.ok for each in doctor_providers.unasked(build().topology)} == {SUBJECT: True}


def test_the_applications_own_broker_is_looked_at(valkey: Redis) -> None:
    [found] = doctor.events(valkey, "shop.on_message")
    assert (found.ok, found.subject) == (True, "events to shop.on_message")

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with Redis(port=deaf.getsockname()[1]) as away:
            [found] = doctor.events(away, "shop.on_message")
    assert not found.ok
    assert "events.broker" in found.found
    assert "wait in the database" in found.advice

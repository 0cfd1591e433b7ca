"""The receiver as the network sees it: what it takes, what it refuses, and what it says when the trouble is our own."""

import json
import os
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy.exc import OperationalError

from paceline.connection import Connection
from paceline.database import engine
from providers.base import Inbound
from sandbox.background import SandboxServer
from tests.contract.sandbox_support import exchange
from tests.support.installation import ACCOUNT, Installation, recipient, until
from tests.support.receiver import SECRET, Hooks, receiving, report, sign
from tests.support.tokens import KEEPING
from worker.hooks import app as receiver
from worker.hooks import group_commit
from worker.hooks.app import LARGEST
from worker.hooks.inbound import Inbox
from worker.hooks.nonces import Post
from worker.lanes.topology import Sender

Build = Callable[..., Installation]


PATIENCE = group_commit.PATIENCE


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that pauses is not a database that is away."""
    monkeypatch.setattr(group_commit, "PATIENCE", 60.0)
    monkeypatch.setattr(receiver, "HEALTH", 60.0)


@pytest.fixture
def built(build: Build) -> Installation:
    return build(webhook_secret=SECRET, accounts=KEEPING)


@pytest.fixture
def hooks(built: Installation) -> Iterator[Hooks]:
    with receiving(built.engine, built.topology) as running:
        yield running


def stored(built: Installation) -> int:
    return int(built.rows("SELECT count(*) AS count FROM paceline_webhook")[0]["count"])


def payment(number: int = 0) -> dict[str, object]:
    return {"event": "payment.received", "data": {"payment_id": f"pay_{number}", "from": recipient(1)}}


def test_an_acknowledgement_is_200_and_empty(built: Installation, hooks: Hooks) -> None:
    body = json.dumps(payment()).encode()

    status, headers, answer = hooks.ask("POST", f"/hooks/{ACCOUNT}", body, {"X-Aurogy-Signature": sign(body)})

    assert (status, headers["content-length"], answer) == (200, "0", b"")
    assert stored(built) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_webhooks_are_posted(hooks: Hooks, method: str) -> None:
    status, headers, _ = hooks.ask(method, f"/hooks/{ACCOUNT}")

    assert (status, headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "account", ["nobody", "", f"{ACCOUNT}/", f"{ACCOUNT}/more", "..%2f", f"../hooks/{ACCOUNT}", "%00"]
)
def test_an_account_that_is_not_there_is_not_found(built: Installation, hooks: Hooks, account: str) -> None:
    assert hooks.post(payment(), account=account) == 404
    assert hooks.ask("POST", "/")[0] == 404
    assert stored(built) == 0


@pytest.mark.parametrize("size", [LARGEST + 1, 10 * LARGEST])
@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_too_large_is_refused_and_not_held(built: Installation, hooks: Hooks, size: int, chunked: bool) -> None:
    """Given a body over 1 MB, announced or not, when it comes, then it is refused, and the connection goes on."""
    body = b"x" * size
    headers = {"X-Aurogy-Signature": sign(body)}
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)

    assert hooks.ask("POST", f"/hooks/{ACCOUNT}", body, headers)[0] == 413
    assert stored(built) == 0
    assert hooks.post(payment()) == 200


def test_one_megabyte_is_not_too_large(built: Installation, hooks: Hooks) -> None:
    body = json.dumps({"event": "message.received", "data": {"text": ""}}).encode()
    body = body.replace(b'""', b'"' + b"x" * (LARGEST - len(body)) + b'"')
    assert len(body) == LARGEST

    assert hooks.post(body) == 200
    assert len(built.rows("SELECT data FROM paceline_event")[0]["data"]) > LARGEST - 100


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary="},
        {"Content-Encoding": "gzip"},
        {"X-HTTP-Method-Override": "GET", "X-Forwarded-Host": "elsewhere", "Forwarded": "for=unknown"},
        {"Cookie": "a=b", "Authorization": "Bearer nobody"},
    ],
)
def test_headers_change_nothing(built: Installation, hooks: Hooks, headers: dict[str, str]) -> None:
    """Given a rightly signed body, when its headers call it something else, then its bytes decide."""
    assert hooks.post(payment(), headers=headers) == 200
    assert built.rows("SELECT kind FROM paceline_webhook") == [{"kind": "payment_received"}]


def raw(body: bytes, *headers: str) -> bytes:
    lines = [f"POST /hooks/{ACCOUNT} HTTP/1.1", "Host: hooks", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


BODY = json.dumps(payment()).encode()
SIGNED = f"X-Aurogy-Signature: {sign(BODY)}"
LENGTH = f"Content-Length: {len(BODY)}"


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (raw(BODY, LENGTH, SIGNED, SIGNED), {401}),
        (raw(BODY, LENGTH, SIGNED, "X-Aurogy-Signature: 00"), {401}),
        (raw(BODY, LENGTH, "X-Aurogy-Signature: \xff\xfe"), {401}),
        (raw(BODY, LENGTH, "X-Aurogy-Signature:"), {401}),
        (raw(BODY, LENGTH, SIGNED.lower()), {200}),
        (raw(BODY, LENGTH, f"{SIGNED}  "), {200}),
        (raw(BODY, SIGNED), {400, 401}),  # a body that is not announced is the next request
        (raw(BODY, SIGNED, "Content-Length: 5"), {401}),
        (raw(BODY, SIGNED, LENGTH, "Content-Length: 5"), {400}),
        (raw(BODY, SIGNED, "Content-Length: -1"), {400}),
        (raw(BODY, SIGNED, "Content-Length: 99999999999999999999"), {400, 413}),
        (raw(b"5\r\nhello\r\n0\r\n\r\n", SIGNED, "Transfer-Encoding: chunked"), {401}),
        (raw(b"zz\r\nhello\r\n0\r\n\r\n", SIGNED, "Transfer-Encoding: chunked"), {400}),
        (raw(b"-5\r\nhello\r\n0\r\n\r\n", SIGNED, "Transfer-Encoding: chunked"), {400}),
        (raw(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), SIGNED, "Transfer-Encoding: chunked"), {200}),
        (
            raw(
                b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), SIGNED, "Content-Length: 5", "Transfer-Encoding: chunked"
            ),
            {200, 400},
        ),
        (b"GET / HTTP/9.9\r\n\r\n", {400, 404, 505}),
        (b"\x16\x03\x01\x02\x00\x01\x00", {400}),
        (b"POST /hooks/\xff HTTP/1.1\r\nHost: h\r\n\r\n", {400, 404}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 404}),
    ],
)
def test_requests_that_play_tricks(built: Installation, hooks: Hooks, request_: bytes, statuses: set[int]) -> None:
    """Given bytes that a proxy and a server may read differently, when they come, then only the genuine is stored."""
    answer = exchange(hooks.url, request_, patience=30.0)

    assert answer.status in statuses
    assert b"Traceback" not in answer.received
    assert stored(built) == (answer.status == 200)
    assert hooks.post(payment(1)) == 200


def test_noise_on_the_socket_stops_nobody(built: Installation, hooks: Hooks) -> None:
    """Given mutilated requests on many connections, when they have come, then the receiver goes on, and none is 500."""
    chance = random.Random(7)
    whole = raw(BODY, LENGTH, SIGNED)
    for _ in range(120):
        noise = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(noise))
            match chance.randrange(3):
                case 0:
                    noise[place] = chance.randrange(256)
                case 1:
                    del noise[place : place + chance.randrange(1, 20)]
                case 2:
                    noise[place:place] = os.urandom(chance.randrange(1, 20))
        answer = exchange(hooks.url, bytes(noise), patience=0.02, linger=0.005)
        assert not answer.received.startswith(b"HTTP/1.1 5"), noise
    assert hooks.post(payment(1)) == 200


def test_who_leaves_in_the_middle_leaves_nothing(built: Installation, hooks: Hooks) -> None:
    """Given providers that hang up before their body is whole, when they have, then nothing is stored or held."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", hooks.port)) as connection:
            connection.sendall(raw(BODY[:10], LENGTH, SIGNED))

    assert hooks.post(payment(1)) == 200
    assert stored(built) == 1


def test_a_body_that_never_ends_is_given_up(built: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given two providers whose bodies never end, when their time is over, then both are told, and others served."""
    monkeypatch.setattr(receiver, "READING", 0.2)
    whole = raw(BODY, LENGTH, SIGNED)  # in one piece, so that a pause comes before it or after it

    with receiving(built.engine, built.topology) as hooks:
        statuses = [exchange(hooks.url, raw(BODY[:10], LENGTH, SIGNED), patience=60.0).status for _ in range(2)]

        assert statuses == [408, 408]
        assert exchange(hooks.url, whole, patience=60.0).status == 200


def test_many_at_once_are_all_stored_once(built: Installation, hooks: Hooks) -> None:
    """Given forty providers that each post twenty events twice, when all are answered, then each is stored once."""
    answers: list[int] = []

    def provider(first: int) -> None:
        answers.extend(hooks.post(payment(number)) for number in [*range(first, first + 20)] * 2)

    threads = [threading.Thread(target=provider, args=(number * 10,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(answers) == {200}
    assert stored(built) == 410
    assert built.rows("SELECT count(*) AS count FROM paceline_event") == [{"count": 410}]


@contextmanager
def database_locked(built: Installation) -> Iterator[None]:
    """Somebody holds what every webhook must write."""
    if built.engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(built.engine.url.database or "", isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            yield
            held.execute("ROLLBACK")
    else:
        with built.engine.connect() as held:
            held.exec_driver_sql("LOCK TABLE paceline_webhook IN ACCESS EXCLUSIVE MODE")
            yield


def test_a_locked_database_is_our_own_trouble(built: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a database that answers nobody, when an event comes, then it is 503 in time, and taken at the next try."""
    monkeypatch.setattr(group_commit, "PATIENCE", PATIENCE)
    took: list[float] = []
    with receiving(built.engine, built.topology) as hooks:
        with database_locked(built):
            while not took or (min(took) >= 5 and len(took) < 5):  # a pause makes slow, never fast
                started = time.monotonic()
                assert hooks.post(payment()) == 503
                took.append(time.monotonic() - started)
        assert min(took) < 5, "the provider waits five seconds"

        until(lambda: hooks.post(payment()) == 200)
    assert stored(built) == 1


def test_a_database_that_is_away_is_our_own_trouble(
    built: Installation, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a database that fails, when events come, then each is 503 at once, forged ones 401, and health says so."""
    assert hooks.ask("GET", "/health")[0] == 200

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(built.engine.pool, "connect", away)
        assert hooks.post(payment()) == 503
        assert hooks.post(payment(), secret="another") == 401
        assert hooks.ask("GET", "/health")[0] == 503

    assert hooks.post(payment()) == 200
    assert hooks.ask("GET", "/health")[0] == 200


def test_a_server_that_is_not_there_is_our_own_trouble(built: Installation) -> None:
    """Given an address at which no PostgreSQL listens, when an event comes, then it is 503."""
    nowhere = engine(Connection("postgresql+psycopg://u@127.0.0.1:1/none", "embedded", built.settings_file.parent))
    with receiving(nowhere, built.topology) as hooks:
        assert hooks.post(payment()) == 503
        assert hooks.ask("GET", "/health")[0] == 503
    nowhere.dispose()


def test_one_that_the_database_refuses_keeps_nobody_else_out(
    built: Installation, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given events that come together, when one of them cannot be written, then that one alone is 503."""
    record = Inbox.record

    def picky(inbox: Inbox, arrivals: list[object], judge: object) -> object:
        if any("pay_3" in str(getattr(arrival, "data", "")) for arrival in arrivals):
            raise ValueError("of our own making")
        return record(inbox, arrivals, judge)  # type: ignore[arg-type]

    monkeypatch.setattr(Inbox, "record", picky)
    arrived: list[Inbound] = []
    read = receiver._post

    def noted(sender: Sender, inbound: Inbound) -> Post:
        arrived.append(inbound)
        return read(sender, inbound)

    monkeypatch.setattr(receiver, "_post", noted)
    answers: dict[int, int] = {}
    with database_locked(built):  # so that they gather
        threads = [
            threading.Thread(target=lambda number=number: answers.update({number: hooks.post(payment(number))}))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(arrived) == len(threads))
    for thread in threads:
        thread.join()

    assert {number for number, status in answers.items() if status == 503} == {3}
    assert stored(built) == 7


def test_a_mistake_of_our_own_is_503_and_no_traceback(
    built: Installation, hooks: Hooks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mistaken(*_: object) -> None:
        raise RuntimeError(f"about {recipient(1)}")

    monkeypatch.setattr(receiver, "_arrivals", mistaken)

    assert hooks.post(payment()) == 503
    logged = capsys.readouterr()
    assert "RuntimeError" in logged.out + logged.err
    assert "Traceback" not in logged.out + logged.err
    assert recipient(1) not in logged.out + logged.err


def test_nothing_of_a_webhook_is_in_the_broker_or_the_log(
    built: Installation, hooks: Hooks, sandbox: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given everything that can come, when it was taken, refused, matched and told, then no word of it was let out."""
    service = built.service()
    seen: list[str] = []
    with built.redis.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        receipt = built.text(1)
        until(lambda: (service.tick(), service.pump.run_slice(1), built.statuses() == {"accepted": 1})[-1])
        provider_id = str(built.client.status(receipt.id).provider_message_id)
        hooks.post(report(provider_id, "read", recipient(1)))
        hooks.post(report("msg_unheardof", "failed", recipient(1)))
        hooks.post({"event": "message.received", "data": {"from": recipient(1), "text": "Where is my parcel?"}})
        hooks.post(payment(), secret="forged")
        hooks.post(b"Where is my parcel?")
        service.sweep()
        until(service.tick)
        built.redis.echo("the end")
        while "the end" not in (seen or [""])[-1]:
            seen.append(monitor.next_command()["command"])

    told = capsys.readouterr()
    for secret in (recipient(1), "parcel", "pay_0", SECRET, sign(b"Where is my parcel?")):
        assert secret not in "\n".join(seen)
        assert secret not in told.out + told.err
    assert receipt.id in told.out + told.err

"""Every guard, taken away in turn: the violation that it stands against appears, and with the guard it does not.

The nonce, the run id and the rules about clocks are taken away under random schedules too, in
tests/integration/test_limits_interleavings.py and test_limits_clock.py.
"""

import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from paceline import Client, Email, Outgoing
from paceline.errors import DatabaseNotReady
from sandbox.background import SandboxServer
from tests.chaos.servers import Valkey, own_valkey
from tests.integration.producers import HELLO, NOWHERE, connected, install
from tests.support.installation import ACCOUNT, Installation, installation, until
from worker import kinds, retry
from worker.lanes.gate import Gate
from worker.limits import SCRIPT, Image
from worker.operate import close, lanes_named, resolve
from worker.service import Service
from worker.transport import Answer, Exchange, Guard

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"
LIMIT, WINDOW = 5, 600.0  # so many in so many seconds: more than any test takes
ENDED = "UPDATE paceline_{table} SET lease_until = lease_until - 1000 WHERE lease_until IS NOT NULL"

guarded = pytest.mark.parametrize("guarded", [True, False], ids=["with the guard", "without the guard"])
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Held:
    """A service whose slice stands still with its requests in hand, as a stopped process does; it outlives no test that
    fails before they go on."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch, self._pump = monkeypatch, service.pump
        self._transport, self._send = service.transport, service.transport.send
        self._in_hand: list[tuple[list[Exchange], Callable[[Answer], None]]] = []
        monkeypatch.setattr(service.transport, "send", self._take)
        self._slice = threading.Thread(target=self._work, args=(service,), daemon=True)
        self._slice.start()
        until(lambda: self.guards)
        self._pump.stop()  # it has what it has

    def _work(self, service: Service) -> None:
        while not self._pump.stopping.is_set():
            service.tick()  # what announced the message may have been lost
            service.pump.run_slice()

    def _take(self, exchanges: Iterable[Exchange], deliver: Callable[[Answer], None]) -> None:
        self._in_hand.append((list(exchanges), deliver))

    @property
    def guards(self) -> list[Guard]:
        """Those of the requests in hand."""
        return [exchange.guard for exchanges, _ in self._in_hand for exchange in exchanges]

    def go_on(self) -> None:
        """Let them go, and wait until what became of them is written."""
        self._patch.setattr(self._transport, "send", self._send)
        while self._in_hand:
            self._send(*self._in_hand.pop(0))
        self._slice.join(60)
        assert not self._slice.is_alive()


def arrived(sandbox: SandboxServer) -> int:
    """How many requests have: all within one window."""
    return len(sandbox.ledger("aurogy"))


def limited(build: Build) -> Installation:
    return build(limits={"send": [f"{LIMIT}/{WINDOW:.0f}s"]})


def spent(service: Service) -> bool:
    """True once the limiter has said that no token is left: the lane is filed for when one returns."""
    wait = service.due.peek().wait
    return wait is not None and wait > 10.0


def fill(service: Service, sandbox: SandboxServer) -> None:
    """Work until the window is full. Who was slow on its way to the wire has paid twice, so it may hold fewer."""
    until(lambda: (service.tick(), service.pump.run_slice(0.2)) and spent(service))
    assert 0 < arrived(sandbox) <= LIMIT


def work(service: Service, sandbox: SandboxServer) -> None:
    """Work until more have left than may, or the limiter has said no."""
    until(lambda: (service.tick(), service.pump.run_slice(0.2)) and (arrived(sandbox) > LIMIT or spent(service)))


def texts(built: Installation, count: int) -> None:
    for number in range(count):
        built.text(number)


# The wire hook


async def _let_pass(guard: Guard) -> None:
    guard.passed_at = 0.0


@guarded
@one_database
def test_the_wire_hook_keeps_a_request_that_was_closed_out_meanwhile(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Given a request in hand, when its lane is closed before it is on the wire, then it stays here."""
    if not guarded:
        monkeypatch.setattr(Guard, "admit", _let_pass)
    built = build()
    service = built.service()
    built.text()
    held = Held(service, monkeypatch)

    close(built.engine, lanes_named(built.topology, SEND), whole_key=False)
    service.pump.gates.of(built.topology.lanes[SEND])._memory.shut(None)  # as another slice's claim would
    held.go_on()

    assert len(sandbox.ledger("aurogy")) == (0 if guarded else 1)
    assert built.statuses() == ({"queued": 1} if guarded else {"accepted": 1})


@guarded
@one_database
def test_the_wire_hook_keeps_a_token_from_leaving_too_late(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Given a token in hand, when the window it was taken in is over and others have gone, then it stays."""
    if not guarded:
        monkeypatch.setattr(Guard, "admit", _let_pass)
    built = limited(build)
    stopped, other = built.service(), built.service()
    built.text()
    held = Held(stopped, monkeypatch)
    texts(built, 2 * LIMIT)

    window_passes(built, held)
    fill(other, sandbox)
    others = arrived(sandbox)
    held.go_on()

    assert (arrived(sandbox) == others) is guarded


def window_passes(built: Installation, held: Held) -> None:
    """Let the ledger and the tokens in hand be so much older, and the limiter have forgotten."""
    times = ("created_at", "granted_at", "last_at", "lease_until")
    built.run("UPDATE paceline_grant SET " + ", ".join(f"{each} = {each} - {2 * WINDOW}" for each in times))
    built.redis.flushall()
    for guard in held.guards:
        guard.token_until -= 2 * WINDOW
        guard.token_dead -= 2 * WINDOW


# The lease


@guarded
@one_database
def test_the_lease_keeps_a_stopped_worker_from_sending_what_another_has_sent(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Given a worker that stands still, when its lease ends and the message goes again, then it does not go twice."""
    built = build()
    stopped, other = built.service(), built.service()
    receipt = built.text()
    held = Held(stopped, monkeypatch)

    lease_ends(built, held)
    if not guarded:
        for guard in held.guards:
            guard.lease_until = float("inf")
    other.sweeper.end_leases()
    assert built.statuses() == {"unknown": 1}
    resolve(built.engine, receipt.id, "resend")
    until(lambda: (other.tick(), other.pump.run_slice(0.2)) and built.statuses() == {"accepted": 1})
    held.go_on()

    assert [entry.accepted for entry in sandbox.ledger("aurogy")] == ([True] if guarded else [True, True])


def lease_ends(built: Installation, held: Held) -> None:
    """Let the leases of what is in hand be over, for the database and for who has it."""
    for table in ("message", "grant"):
        built.run(ENDED.format(table=table))
    for guard in held.guards:
        guard.lease_until -= 1000.0


# The attempt number


@contextmanager
def reworded(engine: Engine, pattern: str, by: str = "") -> Iterator[list[str]]:
    """Statements lose what matches; those that did are listed."""
    changed: list[str] = []

    def reword(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        shorter = re.sub(pattern, by, statement)
        if shorter != statement:
            changed.append(shorter)
        return shorter, parameters

    event.listen(engine, "before_cursor_execute", reword, retval=True)
    try:
        yield changed
    finally:
        event.remove(engine, "before_cursor_execute", reword)


MINE = r" AND paceline_message\.(grant_id|attempt) = [a-z_0-9.]*(grant_id|attempt)"


@guarded
@one_database
def test_the_attempt_number_keeps_an_old_claims_record_from_moving_a_message(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Given a message whose second claim is on its way, when the first one puts it back, then nobody takes it again."""
    built = build()
    first, second, third = built.service(), built.service(), built.service()
    receipt = built.text()
    late = Held(first, monkeypatch)
    lease_ends(built, late)
    third.sweeper.end_leases()
    assert built.statuses() == {"unknown": 1}
    resolve(built.engine, receipt.id, "resend")
    third.tick()
    sending = Held(second, monkeypatch)

    with reworded(built.engine, MINE if not guarded else "(?!)") as changed:
        late.go_on()  # its hook refuses, and the record says: back to its place
    assert bool(changed) is not guarded
    assert built.statuses() == ({"sending": 1} if guarded else {"queued": 1})

    def looked() -> bool:
        third.tick()
        third.due.refill([SEND])
        third.pump.run_slice()
        return guarded or arrived(sandbox) == 1

    until(looked)
    sending.go_on()

    assert sum(entry.accepted for entry in sandbox.ledger("aurogy")) == (1 if guarded else 2)


# The nonce and the run id


def without(service: Service, guard: str, instead: str) -> None:
    """Give the service the limiter's script without one of its checks."""
    assert SCRIPT.count(guard) == 1
    service.limiter._script = service.redis.register_script(SCRIPT.replace(guard, instead))


@guarded
@one_database
def test_the_nonce_keeps_a_late_seed_from_giving_tokens_back(
    build: Build, sandbox: SandboxServer, guarded: bool
) -> None:
    """Given a full window, when Redis forgets and a seed from before arrives late, then no token is granted on it."""
    built = limited(build)
    service = built.service()
    if not guarded:
        without(service, "seed[1] == nonce and ", "")
    texts(built, 3 * LIMIT)
    fill(service, sandbox)

    built.redis.flushall()
    lanes = built.topology.lanes_of(ACCOUNT)
    late = Image(spent=(), closures=())
    limits = [lane.limits for lane in lanes]
    assert service.limiter.seed(limits, signature=lanes[0].signature, expected=None, nonce="late", image=late)
    work(service, sandbox)

    assert (arrived(sandbox) <= LIMIT) is guarded


@pytest.fixture
def mortal() -> Iterator[Valkey]:
    """A Valkey of the test's own, which may die."""
    with own_valkey() as valkey:
        yield valkey


@guarded
def test_the_run_id_keeps_an_old_file_from_giving_tokens_back(
    mortal: Valkey, sqlite_template: Path, tmp_path: Path, sandbox: SandboxServer, guarded: bool
) -> None:
    """Given a file from before a window was filled, when the server starts on it, then no token is granted on it."""
    shutil.copy(sqlite_template, tmp_path / "paceline.db")
    redis = Redis.from_url(mortal.url)
    url, limits = f"sqlite:///{tmp_path / 'paceline.db'}", {"send": [f"{LIMIT}/{WINDOW:.0f}s"]}
    with installation(tmp_path, url, redis, sandbox.base_url("aurogy"), limits=limits) as built:
        service = built.service()
        if not guarded:
            without(service, "local same_run = seed[2] == run_id", "local same_run = true")
        service.ledger.seed(ACCOUNT)
        mortal.keep()
        texts(built, 3 * LIMIT)
        fill(service, sandbox)

        mortal.kill()
        mortal.revive()
        work(service, sandbox)

    redis.close()
    assert (arrived(sandbox) <= LIMIT) is guarded


# Claim before acquire


@guarded
@one_database
def test_a_claim_before_its_tokens_is_what_a_lost_limiter_is_filled_from(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Given a full window, when Redis forgets, then the ledger knows of every token, since its row was there before."""
    acquire = Gate.acquire

    def acquired_first(gate: Gate, claim: Any, *given: Any) -> Any:
        built.run("DELETE FROM paceline_grant WHERE id = :id", id=claim.operation_id)  # to be written afterwards
        return acquire(gate, claim, *given)

    if not guarded:
        monkeypatch.setattr(Gate, "acquire", acquired_first)
    built = limited(build)
    service = built.service()
    texts(built, 3 * LIMIT)
    fill(service, sandbox)

    built.redis.flushall()
    work(service, sandbox)

    assert (arrived(sandbox) <= LIMIT) is guarded


# The deduplication window


MAIL = """
[accounts.mail]
provider = "aurorasendcloud-email"
base_url = "{url}"
api_user = "acme_api"
api_key = "k_demo"
sender = "news@mail.example.com"
retry.schedule = [0.1, 0.1, 0.1]
"""


@guarded
@one_database
def test_the_deduplication_window_ends_repetition(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Given a mail whose answer was lost, when the provider has forgotten its id, then it is not sent again."""
    if not guarded:
        for module in (kinds, retry):
            monkeypatch.setattr(module, "may_repeat", lambda *_: True)
    built = build(accounts=MAIL.format(url=sandbox.base_url("aurorasendcloud")))
    service = built.service()
    sandbox.fault("aurorasendcloud", "close", accept=True, count=1)
    receipt = built.client.enqueue(Email("ana@example.org", "Hello", html="<p>Hi</p>"), via="mail")
    until(lambda: service.pump.run_slice(1) and built.client.status(receipt.id).attempts)
    built.run("UPDATE paceline_message SET first_sent_at = first_sent_at - 3700")
    sandbox.advance(3700)

    until(
        lambda: (
            (service.tick(), service.pump.run_slice(0.2))
            and built.client.status(receipt.id).status in {"accepted", "unknown"}
        )
    )

    assert sum(entry.accepted for entry in sandbox.ledger("aurorasendcloud")) == (1 if guarded else 2)
    assert built.client.status(receipt.id).status == ("unknown" if guarded else "accepted")


# Sorted keys


@guarded
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_sorted_keys_keep_producers_from_waiting_in_a_circle(database_url: str, guarded: bool) -> None:
    """Given a producer that holds a key in the middle, when two streams of the same keys wait for it, one from each
    end, then they wait for each other; in one order they do not."""
    install(database_url)
    order = r"ORDER BY paceline_arriving\.idempotency_key, paceline_arriving\.id"
    deadlocks: list[str] = []

    def note(context: Any) -> None:
        deadlocks.append(type(context.original_exception).__name__)

    with (
        connected(database_url) as middle,
        Client(database_url=database_url, broker_url=NOWHERE, environ={}) as one,
        Client(database_url=database_url, broker_url=NOWHERE, environ={}) as other,
    ):
        engines = [client._open()._engine for client in (one, other)]
        for engine in engines:
            event.listen(engine, "handle_error", note)
        with reworded(engines[1], "(?!)" if guarded else order, "ORDER BY paceline_arriving.idempotency_key DESC"):
            middle.exec_driver_sql(
                "INSERT INTO paceline_idempotency_key (key, message_id, digest, created_at) VALUES ('k-5', 'x', '', 0)"
            )
            streams = [threading.Thread(target=_stream, args=(client,)) for client in (one, other)]
            for stream in streams:
                stream.start()
            until(lambda: _waiting(database_url) == 2)
            middle.rollback()
            for stream in streams:
                stream.join(30)

    assert ("DeadlockDetected" in deadlocks) is not guarded


def _stream(client: Client) -> None:
    with suppress(OperationalError, DatabaseNotReady):  # what was noted is the story
        client.enqueue_many(Outgoing(HELLO, "main", f"k-{number}") for number in range(10))


def _waiting(database_url: str) -> int:
    with connected(database_url) as connection:
        found = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(found.scalar_one())

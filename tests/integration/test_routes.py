"""Routes: who sends what was given to several accounts, and who may repeat it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from paceline import Outgoing, Receipt, Text
from paceline.ids import new_id
from paceline.status import Priority
from sandbox.background import SandboxServer
from tests.integration.test_claims import fill
from tests.support.cost import cost
from tests.support.installation import ACCOUNT, Installation, recipient, until
from tests.support.tokens import KEEPING
from worker import routing
from worker.lanes.gate import Gates
from worker.ledger import Ledger
from worker.limits import Limiter
from worker.operate import close, lanes_named, open_
from worker.routing import Routing
from worker.store import Store
from worker.work import Batch, Claim, Order

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"


@pytest.fixture
def built(build: Build, sandbox: SandboxServer) -> Installation:
    """Two accounts of a provider, and a route that tries them in turn."""
    second = f'[accounts.second]\nprovider = "aurogy"\nbase_url = "{sandbox.base_url("aurogy")}"\n'
    key = 'api_key = "auro_test_sk_secondsecond"\non_unknown = "retry"\nretry.schedule = [0.1]\n'
    route = key + '[routes]\nboth = ["aurogy-main", "second"]\n' + KEEPING
    return build(accounts=second + route, on_unknown="retry", retry={"schedule": [0.1]})


def routed(built: Installation, number: int) -> Receipt:
    return built.client.enqueue(Text(to=recipient(number), text="Your parcel leaves today."), via="both")


def test_what_may_have_been_accepted_is_repeated_by_the_account_that_sent_it(
    built: Installation, sandbox: SandboxServer
) -> None:
    """Given a request that died with the first account, when that is closed, then the second takes what is new and
    leaves that one alone; when it is open again, it repeats its own."""
    service = built.service()
    sandbox.fault("aurogy", "close", accept=True, count=1)
    died = routed(built, 0)
    until(lambda: (service.tick(), service.pump.run_slice(1), built.client.status(died.id).attempts)[-1])
    close(built.engine, lanes_named(built.topology, SEND), whole_key=False)
    built.run("UPDATE paceline_message SET due_at = NULL")

    new = routed(built, 1)
    until(lambda: (service.tick(), service.pump.run_slice(0.5)) and built.client.status(new.id).status == "accepted")

    assert built.client.status(died.id).status == "queued"
    assert built.client.status(died.id).account == ACCOUNT
    assert built.client.status(new.id).account == "second"

    open_(built.engine, lanes_named(built.topology, SEND), whole_key=False)
    service = built.service()  # a process that has not seen it closed
    until(lambda: (service.tick(), service.pump.run_slice(0.5)) and built.client.status(died.id).status == "accepted")

    first, other, again = sandbox.ledger("aurogy")
    assert first.recipient == again.recipient == recipient(0)
    assert first.key == again.key != other.key
    attempts = built.rows("SELECT account FROM paceline_attempt WHERE message_id = :id ORDER BY number", id=died.id)
    assert attempts == [{"account": ACCOUNT}, {"account": ACCOUNT}]


def test_what_the_second_account_may_have_sent_is_its_own_when_the_first_is_open_again(
    built: Installation, sandbox: SandboxServer
) -> None:
    """Given a request that died with the second account, when the first is open again, then the second repeats it."""
    service = built.service()
    lanes = lanes_named(built.topology, SEND)
    close(built.engine, lanes, whole_key=False)
    sandbox.fault("aurogy", "close", accept=True, count=1)
    died = routed(built, 0)
    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.client.status(died.id).attempts)
    open_(built.engine, lanes, whole_key=False)
    built.run("UPDATE paceline_message SET due_at = NULL")
    assert "on lane second/send" in str(built.client.status(died.id).waiting_for)

    service = built.service()  # a process that has not seen the first one closed
    new = routed(built, 1)
    until(lambda: (service.tick(), service.pump.run_slice(0.5)) and built.client.status(new.id).status == "accepted")
    until(lambda: (service.tick(), service.pump.run_slice(0.5)) and built.client.status(died.id).status == "accepted")

    assert built.client.status(new.id).account == ACCOUNT
    first, again = (entry for entry in sandbox.ledger("aurogy") if entry.recipient == recipient(0))
    assert first.key == again.key


# Room in time: two accounts in turn, the first with few tokens


PACE = 5  # the first account's, in a minute


@pytest.fixture
def slow(build: Build, sandbox: SandboxServer) -> Installation:
    """A first account that sends five a minute, and a second that sends many."""
    url = sandbox.base_url("aurogy")
    second = f'[accounts.second]\nprovider = "aurogy"\nbase_url = "{url}"\napi_key = "auro_test_sk_secondsecond"\n'
    route = '[routes]\nboth = ["aurogy-main", "second"]\n' + KEEPING
    return build(accounts=second + route, limits={"send": [f"{PACE}/minute"]})


@dataclass
class Desk:
    """The route's claims, with tokens taken and nothing sent."""

    built: Installation

    def __post_init__(self) -> None:
        self.limiter = Limiter(self.built.redis, "t:")
        self.ledger = Ledger(self.built.engine, self.limiter, self.built.topology)
        self.gates = Gates(self.built.topology, self.limiter, self.ledger)
        self.store = Store(self.built.engine)
        self.routing = Routing(self.built.engine, self.limiter, self.built.topology)
        for key in ("aurogy-main", "second"):
            self.ledger.seed(key)

    def queue(
        self, count: int, expires_in: float | None = None, *, priority: str = "normal", via: str = "both"
    ) -> None:
        expires_at = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
        text = Text(to=recipient(0), text="x")
        items = [Outgoing(text, via, priority=priority, expires_at=expires_at) for _ in range(count)]
        assert self.built.client.enqueue_many(items).enqueued == count

    def look(self) -> None:
        self.routing = Routing(self.built.engine, self.limiter, self.built.topology)  # one that is not at rest
        self.routing.look()

    def claim(self, account: str, count: int = 100) -> Claim:
        lane = self.built.topology.lanes[f"{account}/send"]
        claim = self.store.cycle(Batch(), Order(new_id(), lane, count, count, count))
        assert claim is not None
        return claim

    def spend(self, count: int) -> None:
        """Let the first account use so many tokens."""
        self.queue(count, via="aurogy-main")
        claim = self.claim("aurogy-main", count)
        assert self.gates.of(claim.lane).acquire(claim, "me", 0, count).rest == count

    def late(self) -> dict[str, int]:
        """How many the second account would take now, by priority."""
        taken = Counter(message.priority for message in self.claim("second", 10_000).messages)
        return {level.value: taken[level.level] for level in Priority if taken[level.level]}


def test_what_the_first_account_has_room_for_in_time_is_its_own(slow: Installation) -> None:
    desk = Desk(slow)
    desk.queue(PACE, 30)
    desk.queue(20)
    desk.look()

    assert desk.late() == {}
    assert len(desk.claim("aurogy-main", 25).messages) == 25


def test_what_comes_too_late_there_is_the_next_ones(slow: Installation) -> None:
    """Given a hundred that expire in two minutes, five a minute, then ten are the first account's: five at once, five
    when those tokens return; the others are the second's, which takes them from behind."""
    desk = Desk(slow)
    desk.queue(100, 110)
    desk.look()

    assert desk.late() == {"normal": 90}
    waiting = slow.rows("SELECT id FROM paceline_message WHERE status = 'queued' ORDER BY id")
    everything = slow.rows("SELECT id FROM paceline_message ORDER BY id")
    assert waiting == everything[:10]


def test_an_exhausted_account_keeps_what_does_not_expire(slow: Installation) -> None:
    """Given a first account without a token for a minute, when some expire in half of one, some in ten minutes and
    others never, then the first of them alone are the second's."""
    desk = Desk(slow)
    desk.spend(PACE)
    desk.queue(7, 30)
    desk.queue(6, 600)
    desk.queue(50)
    desk.look()

    claim = desk.claim("second", 1000)

    left = [message.expires_in for message in claim.messages]
    assert len(left) == 7
    assert all(seconds is not None and seconds < 31 for seconds in left)


def test_what_is_behind_many_that_never_expire_is_late_too(slow: Installation) -> None:
    desk = Desk(slow)
    desk.queue(1000)
    desk.queue(3, 600)
    desk.look()

    assert desk.late() == {"normal": 3}


def test_what_is_ahead_of_them_all_is_not(slow: Installation) -> None:
    desk = Desk(slow)
    desk.queue(3, 600)
    desk.queue(1000)
    desk.look()

    assert desk.late() == {}


def test_what_is_more_urgent_has_the_first_tokens(slow: Installation) -> None:
    """Given five tokens in time, four urgent messages and four others, then one of the others has room."""
    desk = Desk(slow)
    desk.queue(4, 30, priority="normal")
    desk.queue(4, 30, priority="high")
    desk.look()

    assert desk.late() == {"normal": 3}


def test_the_accounts_own_messages_have_their_share(slow: Installation) -> None:
    """Given as many of the account's own as of the route's, then half of its tokens are for the route's."""
    desk = Desk(slow)
    desk.queue(50, via="aurogy-main")
    desk.queue(50, 110)  # ten tokens: five at once, five when those return
    desk.look()

    assert desk.late() == {"normal": 45}


def test_those_that_expire_soon_go_before_those_that_expire_later(slow: Installation) -> None:
    desk = Desk(slow)
    desk.spend(PACE)
    desk.queue(4, 3000)
    desk.queue(4, 300)
    desk.queue(4, 20)
    desk.look()

    first = desk.claim("second", 2).messages

    assert all(message.expires_in is not None and message.expires_in < 21 for message in first)


def test_with_room_again_nothing_is_late_any_more(slow: Installation) -> None:
    desk = Desk(slow)
    desk.queue(20, 30)
    desk.look()
    assert slow.rows("SELECT late FROM paceline_lane WHERE name = 'aurogy-main/send'")[0]["late"] is not None
    slow.run("UPDATE paceline_message SET status = 'cancelled'")
    desk.look()

    assert slow.rows("SELECT DISTINCT late FROM paceline_lane") == [{"late": None}]


def test_what_may_have_been_accepted_is_not_the_next_ones_however_late(slow: Installation) -> None:
    desk = Desk(slow)
    desk.queue(20, 30)
    slow.run("UPDATE paceline_message SET unresolved = TRUE, account = 'aurogy-main'")
    desk.look()

    assert desk.late() == {}


def test_an_account_that_is_not_ready_is_passed_over_like_a_closed_one(slow: Installation) -> None:
    desk = Desk(slow)
    desk.queue(3)
    slow.run("UPDATE paceline_lane SET unready = 'why', ask_at = 4e9 WHERE name = 'aurogy-main/send'")

    assert desk.late() == {"normal": 3}


def test_a_third_account_takes_what_neither_has_room_for(build: Build, sandbox: SandboxServer) -> None:
    url = sandbox.base_url("aurogy")
    account = '[accounts.{0}]\nprovider = "aurogy"\nbase_url = "{1}"\napi_key = "auro_test_sk_{0}{0}{0}"\n'
    limits = '[accounts.second.limits]\nsend = ["7/minute"]\n'
    route = '[routes]\nboth = ["aurogy-main", "second", "third"]\n'
    accounts = account.format("second", url) + limits + account.format("third", url) + route
    built = build(accounts=accounts, limits={"send": [f"{PACE}/minute"]})
    desk = Desk(built)
    desk.queue(40, 30)
    desk.look()

    third = len(desk.claim("third", 100).messages)
    second = len(desk.claim("second", 100).messages)

    assert (third, second) == (40 - 7 - PACE, 7)
    close(built.engine, lanes_named(built.topology, SEND), whole_key=False)
    assert len(desk.claim("second", 100).messages) == PACE


def test_a_closed_account_with_many_waiting_costs_no_rewrite(slow: Installation) -> None:
    """Given ten thousand in the route's line, when the first account closes, then the second draws from it, and a row
    is written only when it is claimed; when the first opens, it is the first's again."""
    desk = Desk(slow)
    desk.queue(1)
    slow.run("DELETE FROM paceline_message")
    [line] = slow.rows("SELECT id FROM paceline_stream WHERE via = 'both' AND priority = 1")
    fill(slow, line["id"], 10_000)
    desk.look()
    assert desk.late() == {}

    close(slow.engine, lanes_named(slow.topology, SEND), whole_key=False)
    desk.look()
    assert len(desk.claim("second", 100).messages) == 100
    written = "SELECT count(*) AS count FROM paceline_message WHERE updated_at <> 1 OR account IS NOT NULL"
    assert slow.rows(written) == [{"count": 100}]

    open_(slow.engine, lanes_named(slow.topology, SEND), whole_key=False)
    desk.look()
    assert desk.claim("second", 100).messages == ()
    assert len(desk.claim("aurogy-main", 5).messages) == 5
    assert slow.rows(written) == [{"count": 105}]


@pytest.mark.parametrize("expires_in", [None, 600.0])
def test_the_second_accounts_claims_are_flat(slow: Installation, expires_in: float | None) -> None:
    """Given many waiting, most of which are the first account's, when the second claims, then it touches no more than
    with few."""
    desk = Desk(slow)
    [line] = slow.rows("SELECT id FROM paceline_stream WHERE via = 'both' AND priority = 1")

    def touched(waiting: int) -> float:
        fill(slow, line["id"], waiting)
        if expires_in is not None:
            now = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS DOUBLE PRECISION)"
            if slow.engine.dialect.name == "sqlite":
                now = "(julianday('now') - 2440587.5) * 86400.0"
            slow.run(f"UPDATE paceline_message SET expires_at = {now} + {expires_in}")
        desk.look()
        desk.claim("second", 10)  # what the first one reads of the catalogue counts for nobody
        return cost(slow.engine, lambda: desk.claim("second", 10))

    few, many = touched(200), touched(20_000)

    print(f"cost of a claim: {few:g} with 200 waiting, {many:g} with 20,000")
    assert many <= few * 1.5 + 20


def test_the_pump_sends_what_would_expire_through_the_next_account(
    slow: Installation, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given thirty that expire in half a minute, when slices go on, then all of them leave in time: as many through the
    first account as it has tokens, the others through the second; what does not expire waits."""
    monkeypatch.setattr(routing, "REST", 0.0)  # a look that a pause made long is not made up for
    desk = Desk(slow)
    desk.queue(30, 30)
    desk.queue(10)
    service = slow.service()

    until(lambda: (service.tick(), service.pump.run_slice(0.3)) and slow.statuses().get("accepted", 0) >= 30, 50)

    sent = slow.rows(
        "SELECT account, count(*) AS count FROM paceline_message WHERE status = 'accepted' GROUP BY account"
    )
    assert {row["account"]: row["count"] for row in sent} == {"aurogy-main": PACE, "second": 30 - PACE}
    assert slow.statuses() == {"accepted": 30, "queued": 10}

"""How far a refusal reaches: one message, or all that this installation has at a provider."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import event

from paceline import Text
from paceline.ids import new_id
from providers import aurogy
from providers.answers import retry_after
from providers.base import Account, Outcome, Provider, Response, Scope, Throttled
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, recipient, until
from worker.lanes.gate import Gates
from worker.ledger import Ledger
from worker.limits import Limiter
from worker.retry import Closure, Reach
from worker.store import Store
from worker.work import Batch, Order

Build = Callable[..., Installation]
LANE = f"{ACCOUNT}/send"


def provider(scope: Scope, name: str = "aurogy") -> Provider:
    """Aurogy, whose 429 reaches so far."""

    def read(account: Account, response: Response) -> Outcome:
        if response.status == 429:
            return Throttled(retry_after(response), "limited", scope)
        return aurogy.PROVIDER.parse_response(account, response)

    return replace(aurogy.PROVIDER, name=name, parse_response=read)


@pytest.fixture
def crowd(build: Build, sandbox: SandboxServer) -> Installation:
    """Three keys at one provider, one of them with two accounts, and one at another provider."""
    url = sandbox.base_url("aurogy")
    table = '[accounts.{}]\nprovider = "{}"\nbase_url = "{}"\napi_key = "auro_test_sk_{}"\n'
    others = [
        ("zebra", "aurogy", url, "zebrazebra"),
        ("alias", "aurogy", url, "zebrazebra"),
        ("badger", "aurogy", url, "badgerbadger"),
        ("stranger", "other", url, "strangerstranger"),
    ]
    return build(
        accounts="".join(table.format(*each) for each in others),
        providers={"aurogy": provider(Scope.ADDRESS), "other": provider(Scope.ADDRESS, "other")},
    )


def closed_keys(built: Installation) -> set[str]:
    return {row["name"] for row in built.rows("SELECT name FROM paceline_key WHERE closed_until IS NOT NULL")}


def test_an_address_that_is_refused_rests_with_all_its_keys(crowd: Installation, sandbox: SandboxServer) -> None:
    """Given a refusal of the address, when others have messages too, then none of that provider's leaves, not through
    another process either, and the other provider does not notice."""
    refused(crowd, sandbox, seconds=3600)
    crowd.redis.flushall()

    other = crowd.service()
    for _ in range(2):
        until(lambda: (other.tick(), other.pump.run_slice(1)) and crowd.statuses() == {"accepted": 1, "queued": 4})

    assert [entry.recipient for entry in sandbox.ledger("aurogy")] == [recipient(0), recipient(4)]


def test_an_address_that_was_refused_goes_on_after_its_time(crowd: Installation, sandbox: SandboxServer) -> None:
    """Given a refusal of the address for a while, then all of its keys' messages leave after that, and none before."""
    refused(crowd, sandbox, seconds=3)
    crowd.redis.flushall()

    other = crowd.service()
    until(lambda: (other.tick(), other.pump.run_slice(1)) and crowd.statuses() == {"accepted": 5})

    first, *later = sandbox.ledger("aurogy")
    waits = {entry.recipient: entry.monotonic - first.monotonic for entry in later}
    assert all(waits[recipient(number)] > 3 for number in (0, 1, 2, 3))


def refused(crowd: Installation, sandbox: SandboxServer, seconds: int) -> None:
    """One message is refused for so long; behind it there is one more on every account."""
    service = crowd.service()
    sandbox.fault("aurogy", "status", status=429, retry_after=seconds, count=1)
    crowd.text()
    until(lambda: (service.tick(), service.pump.run_slice(1)) and closed_keys(crowd))
    assert closed_keys(crowd) == {ACCOUNT, "zebra", "badger"}
    for number, via in enumerate(("zebra", "alias", "badger", "stranger"), 1):
        crowd.client.enqueue(Text(to=recipient(number), text="x"), via=via)


def test_its_closings_are_written_together_and_in_order(crowd: Installation) -> None:
    """So that two processes that are refused at once do not wait for each other."""
    limiter = Limiter(crowd.redis, "t:")
    gates = Gates(crowd.topology, limiter, Ledger(crowd.engine, limiter, crowd.topology))

    news = gates.shut(crowd.topology.lanes["zebra/send"], Closure(Reach.ADDRESS, 60.0, "why"), None)

    assert sorted(item.key for item in news if item.key) == sorted([ACCOUNT, "badger", "zebra"])
    assert {item.seconds for item in news} == {60.0}
    provider_of = {lane.name: lane.provider for lane in crowd.topology.lanes.values()}
    assert all(
        gates.of(lane).closed() is (provider_of[lane.name] == "aurogy") for lane in crowd.topology.lanes.values()
    )
    written: list[str] = []

    event.listen(
        crowd.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, parameters, *_: (
            written.append(str(parameters)) if statement.startswith("UPDATE paceline_key") else None
        ),
    )
    Store(crowd.engine).cycle(Batch(news=news))
    assert [next(name for name in (ACCOUNT, "badger", "zebra") if name in text) for text in written] == [
        ACCOUNT,
        "badger",
        "zebra",
    ]


def test_a_limit_of_one_recipient_holds_up_nobody_else(build: Build, sandbox: SandboxServer) -> None:
    """Given a refusal for one message's sake with a time, then the others leave meanwhile, and it leaves once that time
    is over, without having paid."""
    built = build(providers={"aurogy": provider(Scope.MESSAGE)}, retry={"schedule": []})
    service = built.service()
    sandbox.fault("aurogy", "status", status=429, retry_after=3600, count=1, recipient=recipient(0))
    for number in range(4):
        built.text(number)

    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 3, "queued": 1})
    [waiting] = built.rows("SELECT due_at FROM paceline_message WHERE status = 'queued'")
    assert 3600 <= waiting["due_at"] - sandbox.ledger("aurogy")[0].at < 3660
    assert len(sandbox.ledger("aurogy")) == 4

    built.run("UPDATE paceline_message SET due_at = due_at - 3660 WHERE status = 'queued'")
    until(lambda: (service.tick(), service.pump.run_slice(1)) and built.statuses() == {"accepted": 4})

    assert built.rows(f"SELECT closed_reason FROM paceline_lane WHERE name = '{LANE}'") == [{"closed_reason": None}]
    assert built.rows("SELECT sum(failures) AS failures FROM paceline_message") == [{"failures": 0}]
    assert [entry.recipient for entry in sandbox.ledger("aurogy")][4:] == [recipient(0)]


# A worker whose configuration is not the one that is published


@pytest.mark.parametrize(
    "published",
    ["UPDATE paceline_key SET fingerprint = 'another'", f"UPDATE paceline_lane SET pace = 'x' WHERE name = '{LANE}'"],
    ids=["another key", "another sender"],
)
def test_a_worker_of_an_older_configuration_claims_nothing_under_a_name_that_is_anothers(
    build: Build, sandbox: SandboxServer, published: str
) -> None:
    """Given a deploy that has swapped accounts' names, when an old worker goes on, then nothing leaves through it."""
    built = build()
    built.text()
    built.run(published)
    service = built.service()

    found = Store(built.engine).cycle(Batch(), Order(new_id(), built.topology.lanes[LANE], 1, 1, 1))
    assert found is not None
    assert (found.closed, found.closed_for, found.messages) == (True, None, ())
    service.tick()
    service.pump.run_slice(1)

    assert sandbox.ledger("aurogy") == []
    assert built.statuses() == {"queued": 1}

"""Routes: who sends what was given to several accounts, and who may repeat it."""

from collections.abc import Callable

import pytest

from paceline import Receipt, Text
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, recipient, until
from worker.operate import close, lanes_named, open_

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"


@pytest.fixture
def built(build: Build, sandbox: SandboxServer) -> Installation:
    """Two accounts of a provider, and a route that tries them in turn."""
    second = f'[accounts.second]\nprovider = "aurogy"\nbase_url = "{sandbox.base_url("aurogy")}"\n'
    route = 'api_key = "auro_test_sk_secondsecond"\n[routes]\nboth = ["aurogy-main", "second"]\n'
    return build(accounts=second + route, timeout="1s", on_unknown="retry", retry={"schedule": [0.1]})


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
    until(lambda: service.pump.run_slice(1) and built.client.status(died.id).attempts)
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

"""Capabilities refuse what the sandbox refuses: each limit of a provider's documentation, broken at the door."""

import http.client
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from paceline.errors import InvalidMessage
from paceline.messages import Message
from providers.base import Accepted, Outcome, Request, Response, Submission
from providers.registry import PROVIDERS
from sandbox import SandboxServer
from tests.contract.conformance.cases import EXHIBITS, account_of, rows
from tests.contract.conformance.house import House
from tests.contract.exhibits.base import Forbidden

Build = Callable[..., House]


def exchange(request: Request) -> Response:
    """One request on a connection of its own."""
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(request.method, parts.path, request.body, dict(request.headers))
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, headers, answer.read(), time.time())
    finally:
        connection.close()


def sent_all_the_same(playing: SandboxServer, name: str, message: Message, **more: Any) -> Outcome | None:
    """What its sandbox says to a message that no door held up; None where no request can be made of it."""
    exhibit, provider = EXHIBITS[name], PROVIDERS[name]
    family = exhibit.sandbox or name
    playing.settings(family, exhibit.still)
    account = account_of(name, playing.base_url(family))
    try:
        request = provider.build_request(account, Submission(f"id-{time.time_ns()}", message, **more))
    except (TypeError, InvalidMessage):
        return None
    return provider.parse_response(account, exchange(request))


@pytest.mark.parametrize(("name", "row"), rows("forbidden"))
def test_what_the_contract_forbids_is_refused_at_the_door(house: Build, name: str, row: Forbidden) -> None:
    """Given a message beyond a limit, when it is enqueued, then a sentence names field and rule; nothing is stored."""
    built = house(name)

    with pytest.raises(InvalidMessage) as refused:
        built.built.client.enqueue(row.message, via=built.account, metadata=row.metadata, options=row.options)

    assert refused.value.field == row.field
    assert row.rule in str(refused.value)
    assert built.built.rows("SELECT id FROM paceline_message") == []


@pytest.mark.parametrize(("name", "row"), rows("forbidden"))
def test_its_sandbox_would_refuse_it_too(playing: SandboxServer, name: str, row: Forbidden) -> None:
    """Given such a message, when it is sent all the same, then the provider refuses it, unless the rule is ours."""
    outcome = sent_all_the_same(playing, name, row.message, metadata=row.metadata or {}, options=row.options or {})

    assert row.ours is (outcome is None or isinstance(outcome, Accepted))


@pytest.mark.parametrize(("name", "message"), rows("edges"))
def test_what_just_keeps_a_limit_is_taken(house: Build, playing: SandboxServer, name: str, message: Message) -> None:
    """Given a message as long as may be, then the door lets it in, and the provider takes it."""
    built = house(name)

    assert built.built.client.enqueue(message, via=built.account).id
    assert isinstance(sent_all_the_same(playing, name, message), Accepted)

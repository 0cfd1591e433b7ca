"""Political Comms, conversations and reports over real HTTP, in both generations."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paceline.errors import InvalidMessage
from paceline.messages import Text
from paceline.status import Status
from providers.base import Accepted, Refused, Submission
from providers.politicalcomms import build_request, parse_response
from sandbox import SandboxServer
from tests.contract.politicalcomms_support import (
    CSV_URL,
    PROJECT,
    ROOT,
    SCHEDULE,
    Driver,
    exchange,
    settings,
)

TEST = [{"phone": "+15555550100"}]
LIST: dict[str, Any] = {"source_url": CSV_URL, "list_name": "D5", "phone_column": "cell"}


@pytest.fixture(scope="module", params=[1, 2], ids=["generation 1", "generation 2"])
def server(request: pytest.FixtureRequest) -> Iterator[SandboxServer]:
    with SandboxServer(settings(generation=request.param, prices={"lookup": 0.5})) as sandbox:
        yield sandbox


@pytest.fixture
def driver(server: SandboxServer) -> Driver:
    server.clear("politicalcomms")
    return Driver(server)


def listed(driver: Driver) -> str:
    return str(driver.ask("import_contacts", **LIST)["list_id"])


def draft(driver: Driver, **more: Any) -> str:
    return str(driver.ask("create_project", **{**PROJECT, "contact_list_ids": [listed(driver)], **more})["project_id"])


def day(driver: Driver, back: int = 0) -> str:
    now = datetime.fromtimestamp(driver.sandbox._running.clock.now(), UTC)
    return (now - timedelta(days=back)).date().isoformat()


# Conversations


def reply(driver: Driver, conversation: str, text: str, id_: str = "m-1") -> Any:
    request = build_request(driver.account(), Submission(id_, Text(conversation, text)))
    return parse_response(driver.account(), exchange(request))


def test_a_conversation_is_read_in_pages_and_answered(driver: Driver) -> None:
    for number in range(5):
        driver.sandbox.inject(
            "politicalcomms", {"event": "message.replied", "data": {"from": f"+1555555020{number}", "text": "When?"}}
        )
    first = driver.ask("conversations", limit=3)
    second = driver.ask("conversations", limit=3, cursor=first["cursor"])
    assert (len(first["items"]), len(second["items"]), second["cursor"]) == (3, 2, None)
    conversation = first["items"][0]["conversation_id"]

    sent = reply(driver, conversation, "Polls are open until 7pm.")
    again = reply(driver, conversation, "Polls are open until 7pm.")

    assert isinstance(sent, Accepted)
    assert again == sent
    assert sent.status is Status.ACCEPTED
    messages = driver.ask("conversation_messages", conversation_id=conversation)["items"]
    assert [one["direction"] for one in messages] == ["outbound", "inbound"]
    assert messages[0]["message_id"] == sent.provider_message_id
    assert driver.ask("conversation", conversation_id=conversation)["status"] == "active"


def test_a_contact_who_opted_out_is_reported(driver: Driver) -> None:
    driver.sandbox.inject(
        "politicalcomms", {"event": "message.replied", "data": {"conversation_id": "conv_sandbox1", "text": "STOP"}}
    )

    assert reply(driver, "conv_sandbox1", "Sorry!") == Refused("CONTACT_OPTED_OUT", "CONTACT_OPTED_OUT", opted_out=True)
    assert reply(driver, "conv_unknown", "Hello") == Refused("CONVERSATION_NOT_FOUND", "CONVERSATION_NOT_FOUND")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit": 201}, "limit"),
        ({"limit": 0}, "limit"),
        ({"limit": True}, "limit"),
        ({"include_test": "yes"}, "include_test"),
        ({"updated_since": "2026-01-01"}, "updated_since"),
        ({"updated_since": "2026-01-01T00:00:00Z", "today": "2026-04-15"}, "updated_since"),
    ],
)
def test_a_question_that_would_be_refused_is_not_asked(driver: Driver, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        driver.run("conversations", **arguments)

    assert refused.value.field == field


# Reports


def test_reports_read_alike_in_both_generations(driver: Driver) -> None:
    driver.ask("schedule_project", project_id=(project := draft(driver)), **SCHEDULE)
    driver.ask("watch", project_id=project)
    period = {"start_date": day(driver, 20), "end_date": day(driver)}

    stats = driver.ask("message_stats", **period)
    usage = driver.ask("usage", **period)
    by_whom = driver.ask("usage_by_initiator", **period)

    assert (stats["totals"]["sent"], stats["totals"]["delivered"]) == (20, 20)
    assert sum(one["delivered"] for one in stats["days"]) == 20
    assert float(usage["charges"]) == pytest.approx(0.2)
    [initiator] = by_whom["initiators"]
    assert (initiator["organization_id"], initiator["name"], initiator["quantity"]) == (ROOT, "Northside Committee", 20)
    assert float(initiator["charges"]) == pytest.approx(0.2)

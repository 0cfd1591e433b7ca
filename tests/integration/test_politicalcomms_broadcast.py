"""A broadcast that Political Comms sends itself, through the real worker, and a reply to one of its recipients."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from paceline import Text
from providers.politicalcomms import PROVIDER
from sandbox.background import SandboxServer
from tests.support.installation import Installation, until
from worker.service import Service

PC = "pc-main"
URL = "https://files.example.com/people.csv"
CSV = "phone,first_name\n+15555560001,Ana\n+15555560002,Bob\n"


@pytest.fixture
def built(
    build: Callable[..., Installation], sandbox: SandboxServer, working: Callable[[Service], None]
) -> Installation:
    """An installation with a Political Comms account, whose worker works."""
    sandbox.settings("politicalcomms", {"imports": {"files": {URL: CSV}}})
    fields = {each.name: each.sandbox for each in PROVIDER.credentials} | {"provider": "politicalcomms"}
    fields["base_url"] = sandbox.base_url("politicalcomms")
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    made = build(accounts="\n".join([f"[accounts.{PC}]", *lines, ""]))
    working(made.service())
    return made


def test_a_list_becomes_a_completed_project_and_its_recipients_can_be_answered(
    built: Installation, sandbox: SandboxServer
) -> None:
    # Given: a broadcast to a list that Political Comms is to fetch.
    pc = built.client.politicalcomms(PC, timeout=120)
    job = pc.start_broadcast(
        name="Spring",
        source_url=URL,
        phone_column="phone",
        message_text="Hi {first_name}",
        phone_number_ids=["01JV0NUM0000000000000000D1"],
        brand_id="01JV0BRD0000000000000000A1",
        campaign_id="01JV0CMP0000000000000000A1",
        scheduled_at=datetime.now(UTC),
        timezone="America/New_York",
        idempotency_key="spring",
    )

    # When: it has run.
    until(lambda: built.client.job(job).status.final, 120)

    # Then: the job says what came of it, and one of each thing was made.
    view = built.client.job(job)
    assert (str(view.status), view.reason) == ("done", None)
    assert (view.result["completed"], view.result["delivered"]) == (True, 2)
    changes = [entry.path for entry in sandbox.ledger("politicalcomms") if entry.method == "POST"]
    project = f"/v1/projects/{view.result['project_id']}"
    assert changes == ["/v1/contact-lists/import", "/v1/projects", f"{project}/schedule"]

    # And: who answered can be answered.
    sandbox.inject("politicalcomms", {"event": "message.replied", "data": {"from": "+15555560001", "text": "Where?"}})
    [conversation] = pc.conversations()["items"]
    reply = Text(to=conversation["conversation_id"], text="At the school.")
    receipt = built.client.enqueue(reply, via=PC)
    until(lambda: str(built.client.status(receipt.id).status) == "accepted")
    [sent, _, _] = pc.conversation_messages(conversation["conversation_id"])["items"]
    assert sent["message_id"] == built.client.status(receipt.id).provider_message_id

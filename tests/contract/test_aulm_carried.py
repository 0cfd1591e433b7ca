"""aulm in a whole installation: the worker's requests arrive at the sandbox, and its answers move the messages."""

from collections.abc import Callable

import pytest

from paceline import InvalidMessage, Media, Receipt, Text
from sandbox.background import SandboxServer
from tests.support.installation import Installation, until

LIVE = "alm_sk_live_" + "0a" * 32
SESSION = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"
TO = "+966512345678"


@pytest.fixture
def built(build: Callable[..., Installation], sandbox: SandboxServer) -> Installation:
    return build(
        accounts=f"""
[accounts.aulm-main]
provider = "aulm"
base_url = "{sandbox.base_url("aulm")}"
api_key = "{LIVE}"
session_id = "{SESSION}"
"""
    )


def reason(built: Installation, receipt: Receipt) -> tuple[str, str | None]:
    view = built.client.status(receipt.id)
    return str(view.status), view.reason


def closed(built: Installation) -> set[str]:
    rows = built.rows("SELECT closed_reason FROM paceline_key WHERE closed_reason IS NOT NULL")
    return {row["closed_reason"] for row in rows}


def test_a_text_is_sent(built: Installation, sandbox: SandboxServer) -> None:
    receipt = built.client.enqueue(Text(TO, "Your appointment is at 16:00."), via="aulm-main")
    service = built.service()
    until(lambda: (service.tick(), service.pump.run_slice(1)) and reason(built, receipt)[0] == "sent")
    view = built.client.status(receipt.id)

    [entry] = sandbox.ledger("aulm")
    assert (entry.recipient, entry.message_id) == (TO, view.provider_message_id)


def test_a_data_uri_of_another_type_is_refused_at_the_door(built: Installation) -> None:
    message = Media(TO, "data:image/png;base64,iVBORw0KGgo=", "image/jpeg")

    with pytest.raises(InvalidMessage, match="media_type: must be the one that the data URI names"):
        built.client.enqueue(message, via="aulm-main")

    assert built.statuses() == {}


def test_a_bad_key_makes_one_request(built: Installation, sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"keys": {LIVE: {"state": "revoked"}}})
    receipts = [built.client.enqueue(Text(TO, f"Text {number}"), via="aulm-main") for number in range(3)]
    service = built.service()
    until(lambda: (service.tick(), service.pump.run_slice(1)) and closed(built))
    service.tick()
    service.pump.run_slice(1)

    assert closed(built) == {"api_key_revoked: check api_key and its standing in aulm's dashboard"}
    assert len(sandbox.ledger("aulm")) == 1
    assert {reason(built, receipt)[0] for receipt in receipts} == {"queued"}

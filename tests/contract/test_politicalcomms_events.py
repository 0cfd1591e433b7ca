"""Political Comms, its webhooks: the worked signature, freshness, both nestings of the body, what people mean."""

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.status import Status
from providers.base import Account, Event, Inbound
from providers.politicalcomms import PROVIDER
from providers.politicalcomms.events import parse_event, verify

SECRET = "whsec_pc_3c5e8a1f0d"
BODY = (
    b'{"event_id":"evt_01JV8Q4M2T7C9K3X5R6N0P1ZAB","event_type":"message.delivered","timestamp":1768412405,"data":{'
    b'"message_id":"msg_7f8a9b0c1d2e3f4g","project_id":"proj_abc123","conversation_id":"conv_51aa90",'
    b'"from":"+15555550111","to":"+15555550100","status":"delivered"}}'
)
SIGNATURE = "sha256=d5279ed722ef72ecfc3f920ecdc550b31d8186abec953e7bf8c2aefb8a854b75"
AT = 1_768_412_405.0


def account(secret: str | None = SECRET, options: dict[str, Any] | None = None) -> Account:
    credentials = {"api_key": "pc_live_0123456789abcdef"} | ({} if secret is None else {"webhook_secret": secret})
    return Account("pc-main", PROVIDER.base_url, credentials, options or {})


def inbound(body: bytes, signature: str | None = SIGNATURE, late: float = 0.0, **headers: str) -> Inbound:
    given_ = {"x-timestamp": str(int(AT)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    if signature is not None:
        given_["x-webhook-signature"] = signature
    return Inbound("POST", "/hooks/pc-main", "", given_, body, AT + late)


def told(event: str, data: object, *, nested: bool = True, **envelope: Any) -> list[Event]:
    body = {"event_id": "evt_1", "event_type": event, "timestamp": int(AT), **envelope}
    whole = {**body, "data": data} if nested else {**body, **(data if isinstance(data, dict) else {})}
    return list(parse_event(account(), inbound(json.dumps(whole).encode())))


def test_the_worked_example_is_genuine() -> None:
    assert len(BODY) == 268
    assert verify(account(), inbound(BODY))


def test_openssl_makes_the_same_signature_of_any_bytes() -> None:
    for body in (BODY, b"", b"\xff\x00{", BODY.replace(b",", b", ")):
        command = ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-r"]
        signature = subprocess.run(command, input=body, capture_output=True, check=True).stdout.split()[0].decode()
        assert verify(account(), inbound(body, f"sha256={signature}"))
        assert not verify(account(), inbound(body + b" ", f"sha256={signature}"))
        assert not verify(account(SECRET + "0"), inbound(body, f"sha256={signature}"))


@pytest.mark.parametrize(
    "signature",
    [None, "", SIGNATURE[7:], SIGNATURE[:-1], SIGNATURE + "0", SIGNATURE.upper(), f"sha1={SIGNATURE[7:]}",
     f"sha256= {SIGNATURE[7:]}", "sha256=", "é" * 71, f"{SIGNATURE}, {SIGNATURE}"],
)  # fmt: skip
def test_anything_but_the_signature_is_refused(signature: str | None) -> None:
    assert not verify(account(), inbound(BODY, signature))


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_nothing_is_genuine(secret: str | None) -> None:
    assert not verify(account(secret), inbound(BODY))


@pytest.mark.parametrize(
    ("options", "late", "genuine"),
    [
        ({}, 124, True),  # the provider's last repetition: 84 seconds and four requests of ten
        ({}, 300, True),
        ({}, 301, False),
        ({}, -301, False),
        ({"webhook.freshness": 0.0}, 1e7, True),  # as long as somebody sends old ones again by hand
        ({"webhook.freshness": 60}, 61, False),
    ],
)
def test_how_old_a_webhook_may_be_is_a_setting(options: dict[str, Any], late: float, genuine: bool) -> None:
    assert verify(account(options=options), inbound(BODY, late=late)) is genuine


@pytest.mark.parametrize("timestamp", ["", "soon", "-5", "1768412405000"])
def test_what_names_no_time_is_too_old_unless_age_does_not_matter(timestamp: str) -> None:
    assert not verify(account(), inbound(BODY, x_timestamp=timestamp))
    assert verify(account(options={"webhook.freshness": 0.0}), inbound(BODY, x_timestamp=timestamp))


DATA = {
    "message_id": "msg_7f8a",
    "project_id": "proj_abc123",
    "conversation_id": "conv_51aa90",
    "from": "+15555550111",
    "to": "+15555550100",
}


@pytest.mark.parametrize("nested", [True, False], ids=["under data", "at the top"])
@pytest.mark.parametrize(
    ("event", "more", "status", "reason"),
    [
        ("message.sent", {}, Status.SENT, ""),
        ("message.delivered", {}, Status.DELIVERED, ""),
        ("message.failed", {"error_code": "012"}, Status.FAILED, "carrier_error 012"),
        ("message.failed", {"error_code": "300"}, Status.FAILED, "carrier_error 300"),
        ("message.failed", {}, Status.FAILED, "not_delivered"),
        ("message.failed", {"error_code": 12}, Status.FAILED, "not_delivered"),
        ("message.failed", {"error_code": "To +15555550100"}, Status.FAILED, "not_delivered"),
        ("message.failed", {"error_code": "15555550100"}, Status.FAILED, "not_delivered"),
    ],
)
def test_a_report_names_message_status_and_reason(
    event: str, more: dict[str, Any], status: Status, reason: str, nested: bool
) -> None:
    [said] = told(event, DATA | more, nested=nested)

    assert (said.kind, said.provider_message_id, said.status, said.reason) == ("status", "msg_7f8a", status, reason)
    # A reply's recipient is its conversation: that is what the message was sent to.
    assert (said.recipient, said.at, said.opted_out) == ("conv_51aa90", AT, "")
    assert "msg_7f8a" not in repr(said)


@pytest.mark.parametrize("nested", [True, False], ids=["under data", "at the top"])
def test_an_answer_is_handed_on_whole(nested: bool) -> None:
    data = DATA | {"from": "+15555550100", "to": "+15555550111", "text": "When do polls open?"}
    [said] = told("message.replied", data, nested=nested)

    assert (said.kind, said.data, said.opted_out, said.opted_in) == ("message_replied", data, "", "")


@pytest.mark.parametrize(
    ("text", "out", "in_"),
    [
        ("STOP", True, False),
        (" stop. ", True, False),
        ("Unsubscribe", True, False),
        ("Stop sending these at night, please", False, False),
        ("START", False, True),
        (5, False, False),
    ],
)
def test_what_people_mean_by_stop(text: object, out: bool, in_: bool) -> None:
    [said] = told("message.replied", DATA | {"from": "+15555550100", "text": text})

    assert (said.opted_out, said.opted_in) == ("+15555550100" if out else "", "+15555550100" if in_ else "")
    [nobody] = told("message.replied", DATA | {"from": "somebody", "text": text})
    assert (nobody.opted_out, nobody.opted_in, nobody.known_as) == ("", "", "")


def test_who_says_stop_is_also_known_by_the_conversation_that_replies_are_sent_to() -> None:
    said = [
        told("message.replied", DATA | {"from": "+15555550100", "text": text})[0] for text in ("STOP", "START", "Hi")
    ]

    assert [each.known_as for each in said] == ["conv_51aa90", "conv_51aa90", ""]


def test_clicks_analyses_and_names_that_are_new_are_handed_on() -> None:
    click = {"message_id": "msg_1", "url": "https://example.org", "clicked_at": "2026-01-14T17:40:09Z"}
    [clicked] = told("link.clicked", click)
    [analyzed] = told("contact_list.analyzed", {"id": "lst_1", "list_id": "lst_1", "analysis": {"status": "complete"}})
    [other] = told("campaign.reviewed", {"campaign_id": "c"})

    assert (clicked.kind, clicked.data, clicked.at) == ("link_clicked", click, 1_768_412_409.0)
    assert (analyzed.kind, analyzed.data["list_id"]) == ("contact_list_analyzed", "lst_1")
    assert (other.kind, other.data) == ("campaign_reviewed", {"campaign_id": "c"})


def test_an_event_is_known_by_its_kind_and_id() -> None:
    def key(event: str, id_: str, data: dict[str, Any] = DATA) -> str:
        return told(event, data, event_id=id_)[0].key

    assert key("message.sent", "msg_7f8a") == key("message.sent", "msg_7f8a", DATA | {"to": "other"})
    # The documented sample of an event's id looks like a message's: several events may share it.
    assert len({key("message.sent", "msg_7f8a"), key("message.delivered", "msg_7f8a"), key("message.sent", "e")}) == 3


def test_two_clicks_of_one_message_are_two_even_if_the_event_bears_the_messages_id() -> None:
    def key(event_id: str, clicked_at: str) -> str:
        return told("link.clicked", DATA | {"clicked_at": clicked_at}, event_id=event_id)[0].key

    assert key("msg_7f8a", "2026-01-14T17:40:09Z") != key("msg_7f8a", "2026-01-14T17:41:09Z")
    assert key("evt_1", "2026-01-14T17:40:09Z") == key("evt_1", "2026-01-14T17:41:09Z")


def test_the_header_names_the_event_where_the_body_does_not() -> None:
    body = json.dumps({"data": DATA}).encode()
    header = inbound(body, x_event_type="message.sent", x_event_id="evt_9")

    [said] = parse_event(account(), header)

    assert (said.status, said.at) == (Status.SENT, AT)
    assert said.key == told("message.sent", DATA, event_id="evt_9")[0].key
    assert parse_event(account(), inbound(body)) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"event_type":"message.sent"}', b'{"event_type":"status"}',
     b'{"event_type":"message.sent","data":{"message_id":5}}', b'{"event_type":["message.sent"]}',
     b'{"event_type":"Message Sent"}'],
)  # fmt: skip
def test_what_cannot_be_read_says_nothing(body: bytes) -> None:
    assert parse_event(account(), inbound(body)) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
members = st.dictionaries(
    st.sampled_from(["message_id", "text", "from", "event_id", "clicked_at", "error_code", "timestamp", "data"]),
    st.sampled_from(["m", "STOP", "+15555550100"]) | anything,
)


@given(
    body=st.binary(max_size=100)
    | st.builds(
        lambda name, data, more: json.dumps({**more, "event_type": name, "data": data}).encode(),
        st.sampled_from(["message.failed", "message.replied", "link.clicked", "x.y", "status"]) | anything,
        members | anything,
        members,
    )
)
def test_no_bytes_make_it_raise(body: bytes) -> None:
    for event in parse_event(account(), inbound(body)):
        assert 0 < len(event.key) <= 64
        assert (event.kind == "status") == (event.status is not None) == bool(event.provider_message_id)
        json.dumps(event.data)
    verify(account(), inbound(body))

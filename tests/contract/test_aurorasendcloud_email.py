"""AuroraSendCloud's e-mail, the facts: requests byte for byte, limits of every field, settings and credentials."""

import base64
import json
import re
from collections.abc import Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import pytest

from paceline.capabilities import check
from paceline.errors import InvalidMessage
from paceline.messages import Email, Message, Template, Text
from providers.aurorasendcloud.email import PROVIDER, capabilities
from providers.aurorasendcloud.mail import build_poll, build_probe, build_request
from providers.base import Account, Request, Submission

CREDENTIALS = {
    "api_user": "acme_api",
    "api_key": "k_demo",
    "sender": "news@mail.example.com",
    "sender_name": "Acme",
}
ANA = "ana@example.org"
MAIL_ID = "1776090600123_7041_25239_6195.sg-10_1_253_1-inbound0$ana@example.org"
HELLO = Email(ANA, "Hello", html="<p>Hi</p>")


def account(options: Mapping[str, Any] | None = None, base_url: str = PROVIDER.base_url, **more: str) -> Account:
    return Account("mail-main", base_url, CREDENTIALS | more, options or {})


def sent(message: Message, *, id_: str = "dsp_01HZX3", **more: Any) -> Request:
    return build_request(account(), Submission(id_, message, **more))


def form(request: Request) -> dict[str, str]:
    pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_a_mail_is_byte_for_byte_the_references_request() -> None:
    request = sent(HELLO)

    assert (request.method, request.url) == ("POST", "https://api.aurorasendcloud.com/mail/send")
    assert request.headers == {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    assert request.body == (
        b"api_user=acme_api&api_key=k_demo&from=news%40mail.example.com&fromName=Acme&to=ana%40example.org"
        b"&subject=Hello&html=%3Cp%3EHi%3C%2Fp%3E&sendRequestId=dsp_01HZX3"
        b"&headers=%7B%22SC-Custom-dispatch-id%22%3A%22dsp_01HZX3%22%7D"
    )


def test_plus_percent_and_every_other_sign_arrive_as_they_were_written() -> None:
    text = "1 + 1 = 100 % of %name%; a&b=c\r\n— żółw 🐢"

    request = sent(Email("ana+news@example.org", "50 % & more + %name%", text=text))

    assert b"%25name%25" in request.body
    assert form(request)["to"] == "ana+news@example.org"
    assert form(request)["subject"] == "50 % & more + %name%"
    assert form(request)["plain"] == text


def test_everything_that_a_mail_can_hold_travels_under_the_references_names() -> None:
    message = Email(
        ANA,
        "Hello",
        html="<p>Hi</p>",
        text="Hi",
        sender="shop@mail.example.com",
        sender_name="Shop",
        reply_to=["a@example.org", "b@example.org"],
        cc=["c@example.org", "d@example.org"],
        bcc=["e@example.org"],
        headers={"X-Campaign": "spring"},
    )
    options = {"labelName": "orders", "sendTags": ["a", "b"], "contentSummary": "Short", "useNotification": "true"}

    fields = form(sent(message, metadata={"order": "4821"}, options=options))

    headers = json.loads(fields.pop("headers"))
    assert fields == {
        "api_user": "acme_api",
        "api_key": "k_demo",
        "from": "shop@mail.example.com",
        "fromName": "Shop",
        "to": ANA,
        "subject": "Hello",
        "html": "<p>Hi</p>",
        "plain": "Hi",
        "cc": "c@example.org;d@example.org",
        "bcc": "e@example.org",
        "replyTo": "a@example.org;b@example.org",
        "contentSummary": "Short",
        "labelName": "orders",
        "sendTags": "a;b",
        "useNotification": "true",
        "sendRequestId": "dsp_01HZX3",
    }
    # Events about the copies would bear our id as well: so it is not in a mail that has some.
    assert headers == {"X-Campaign": "spring", "SC-Custom-order": "4821"}


def test_metadata_comes_back_as_headers_where_its_name_can_be_one_and_our_id_always_wins() -> None:
    message = Email(ANA, "Hi", text="Hi", headers={"sc-custom-order": "own"})
    metadata = {"order": "meta", "campaign_1": "spring", "not a name": "stays with us", "dispatch-id": "stays too"}

    headers = json.loads(form(sent(message, metadata=metadata))["headers"])

    assert headers == {
        "sc-custom-order": "own",
        "SC-Custom-campaign_1": "spring",
        "SC-Custom-dispatch-id": "dsp_01HZX3",
    }


def test_the_accounts_name_belongs_to_the_accounts_address() -> None:
    assert "fromName" not in form(sent(Email(ANA, "Hi", text="Hi", sender="shop@mail.example.com")))
    assert form(sent(Email(ANA, "Hi", text="Hi", sender=CREDENTIALS["sender"])))["fromName"] == "Acme"


def test_a_summary_goes_with_html_which_a_template_is() -> None:
    options = {"contentSummary": "Short"}

    for message in (HELLO, Template(ANA, "t")):
        check(capabilities(account()), "mail-main", message, None, options)
        assert form(sent(message, options=options))["contentSummary"] == "Short"


TRACKED = {"open_tracking": {"settings": {"enable": "1"}}, "click_tracking": {"settings": {"enable": "0"}}}
EXTENSIONS = {
    "pubsub": {"product": "Lamp", "%until%": "Friday"},
    "filters": TRACKED,
    "settings.unsubscribe.page_id": 562,
    "send_domain": "customer.example.com",
}


@pytest.mark.parametrize(
    ("message", "more"),
    [(Email(ANA, "Hi", text="Hi", cc=["c@example.org"]), {}), (Template(ANA, "t"), {"to": [ANA]})],
    ids=["mail", "template"],
)
def test_extensions_travel_in_xsmtpapi_and_a_mail_keeps_its_own_recipients(message: Message, more: Any) -> None:
    check(capabilities(account()), "mail-main", message, None, EXTENSIONS)

    fields = form(sent(message, options=EXTENSIONS))

    assert json.loads(fields["xsmtpapi"]) == {
        **more,
        "pubsub": {"%product%": "Lamp", "%until%": "Friday"},
        "filters": TRACKED,
        "send_domain": "customer.example.com",
        "settings": {"unsubscribe": {"page_id": 562}},
    }
    assert fields.get("cc") == (None if more else "c@example.org")


def test_a_mail_without_extensions_has_no_xsmtpapi() -> None:
    assert "xsmtpapi" not in form(sent(HELLO, options={"labelName": "orders"}))


def test_a_template_may_bear_headers_as_a_mail_does() -> None:
    headers = json.loads(form(sent(Template(ANA, "t"), options={"headers": {"X-Order": "7"}}))["headers"])

    assert headers == {"X-Order": "7", "SC-Custom-dispatch-id": "dsp_01HZX3"}


def test_as_many_variables_as_a_message_can_hold_keep_within_a_megabyte() -> None:
    """Given the largest message that the door lets in, then its xsmtpapi is no longer than the reference allows."""
    most = 10_000
    room = 1_000_000 // most - len('"":"",') - 4  # bytes of JSON for each variable, its number of four digits aside
    message = Template(ANA, "t", variables={f"{number:04}": "x" * (room - 1) for number in range(most)})

    check(capabilities(account()), "mail-main", message)

    assert 1_000_000 < len(form(sent(message))["xsmtpapi"]) < 1_048_576


def test_a_template_names_its_one_recipient_and_its_variables_in_xsmtpapi() -> None:
    options = {
        "from": "shop@mail.example.com",
        "fromName": "Shop",
        "subject": "Your order",
        "replyTo": ["a@example.org", "b@example.org"],
        "labelName": "orders",
        "sendTags": "one",
    }

    request = sent(
        Template(ANA, "order_confirmation", variables={"name": "Ana + Ben", "%order%": "4821"}), options=options
    )

    assert request.url == "https://api.aurorasendcloud.com/mail/sendtemplate"
    assert form(request) == {
        "api_user": "acme_api",
        "api_key": "k_demo",
        "from": "shop@mail.example.com",
        "fromName": "Shop",
        "templateInvokeName": "order_confirmation",
        "xsmtpapi": '{"to":["ana@example.org"],"sub":{"%name%":["Ana + Ben"],"%order%":["4821"]}}',
        "subject": "Your order",
        "replyTo": "a@example.org;b@example.org",
        "labelName": "orders",
        "sendTags": "one",
        "sendRequestId": "dsp_01HZX3",
        "headers": '{"SC-Custom-dispatch-id":"dsp_01HZX3"}',
    }


def test_a_template_without_extras_says_no_more_than_it_must() -> None:
    fields = form(sent(Template(ANA, "order_confirmation")))

    assert fields["xsmtpapi"] == '{"to":["ana@example.org"]}'
    assert fields["from"] == CREDENTIALS["sender"]
    assert fields.keys() == {
        "api_user", "api_key", "from", "fromName", "templateInvokeName", "xsmtpapi", "sendRequestId", "headers",
    }  # fmt: skip


def parts(request: Request) -> list[EmailMessage]:
    """The body's parts, read by the standard library's parser."""
    head = b"Content-Type: " + request.headers["Content-Type"].encode() + b"\r\n\r\n"
    whole = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + request.body)
    assert not whole.defects
    return [part for part in whole.iter_parts() if isinstance(part, EmailMessage)]


def test_attachments_travel_as_multipart_whatever_their_bytes() -> None:
    first, second = bytes(range(256)), b"--\r\n\r\n--boundary--\r\n"
    message = Email(
        ANA,
        "Hello",
        text="Żółw + 100 %",
        attachments=[
            {
                "filename": 'inv"oi\r\nce.pdf',
                "content": base64.b64encode(first).decode(),
                "media_type": "application/pdf",
            },
            {"filename": "żółw.txt", "content": base64.b64encode(second).decode(), "media_type": "text/plain\r\nX: y"},
        ],
    )

    request = sent(message)

    assert re.fullmatch(r"multipart/form-data; boundary=[0-9a-f]{64}", request.headers["Content-Type"])
    *fields, one, two = parts(request)
    values = {str(part.get_param("name", header="content-disposition")): part.get_content() for part in fields}
    assert values["to"].rstrip("\n") == ANA
    assert "Żółw + 100 %".encode() in request.body
    assert one.get_payload(decode=True) == first
    assert one["Content-Disposition"] == 'form-data; name="attachments"; filename="inv%22oi%0D%0Ace.pdf"'
    assert one.get_content_type() == "application/pdf"
    assert two.get_payload(decode=True) == second
    assert two.get_content_type() == "application/octet-stream"
    assert 'filename="żółw.txt"'.encode() in request.body


def test_every_attempt_is_the_same_bytes_so_that_a_repetition_is_recognised() -> None:
    file = {"filename": "a.txt", "content": "aGk=", "media_type": "text/plain"}
    message = Email(ANA, "Hello", text="Hi", attachments=[file])

    assert sent(message) == sent(message)
    assert sent(message, id_="other").headers != sent(message).headers
    assert PROVIDER.deduplicates_for == 3600


def test_paths_and_spelling_are_settings() -> None:
    given = account(
        {"paths.send": "/api/mail/send", "credentials.style": "apiUser"}, "http://127.0.0.1:8900/aurorasendcloud/"
    )

    request = build_request(given, Submission("id", HELLO))

    assert request.url == "http://127.0.0.1:8900/aurorasendcloud/api/mail/send"
    assert request.body.startswith(b"apiUser=acme_api&apiKey=k_demo&from=")
    other = account({"paths.sendtemplate": "t", "paths.emailStatus": "/s"})
    assert build_request(other, Submission("id", Template(ANA, "t"))).url == "https://api.aurorasendcloud.com/t"
    assert build_poll(other, MAIL_ID).url == "https://api.aurorasendcloud.com/s"


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("GMT+8", "2026-04-12", "2026-04-13"),  # 2026-04-13 22:30 there
        ("GMT+10", "2026-04-13", "2026-04-14"),  # 00:30 of the next day
        ("GMT-5:30", "2026-04-12", "2026-04-13"),
        ("GMT-0", "2026-04-12", "2026-04-13"),
    ],
)
def test_a_poll_asks_for_one_mail_and_the_days_around_its_sending(zone: str, start: str, end: str) -> None:
    request = build_poll(account({"timezone": zone}), MAIL_ID)

    assert (request.method, request.url) == ("POST", "https://api.aurorasendcloud.com/api/data/emailStatus")
    assert form(request) == {
        "apiUser": "acme_api", "apiKey": "k_demo", "emailIds": MAIL_ID, "startDate": start, "endDate": end,
    }  # fmt: skip


def test_a_poll_of_an_id_without_a_time_asks_for_three_days() -> None:
    fields = form(build_poll(account(), "some_other_id"))

    assert (fields["emailIds"], fields["days"]) == ("some_other_id", "3")


def test_a_probe_asks_for_little_and_changes_nothing() -> None:
    request = build_probe(account())

    assert request.url.endswith("/api/data/emailStatus")
    assert form(request) == {"apiUser": "acme_api", "apiKey": "k_demo", "days": "1", "limit": "1"}


def test_nothing_secret_is_in_a_repr() -> None:
    shown = repr(sent(HELLO)) + repr(account())

    assert not any(secret in shown for secret in ("k_demo", "acme_api", ANA, "Hello"))


def test_a_kind_that_was_not_checked_is_a_bug_and_an_empty_mail_is_refused() -> None:
    with pytest.raises(TypeError, match="no text message"):
        sent(Text(ANA, "Hi"))
    with pytest.raises(InvalidMessage, match=r"^html: or text is required"):
        sent(Email(ANA, "Hi"))


# What a message may hold


def attached(content: str) -> Email:
    return Email(ANA, "x", text="x", attachments=[{"filename": "f", "content": content}])


MANY = [f"r{number}@example.org" for number in range(101)]
FITS: list[tuple[Message, dict[str, Any]]] = [
    (Email(ANA, "x", reply_to=MANY[:3], cc=MANY[:100], bcc=MANY[:100], html="x"), {}),
    (HELLO, {"labelName": "🐢" * 255, "sendTags": ["🐢" * 50] * 5, "contentSummary": "é" * 100}),
    (HELLO, {"sendTags": "one"}),
    (HELLO, {"sendTags": "one;two", "useNotification": True}),
    (
        Email(
            ANA, "x", text="x", attachments=[{"filename": "f", "content": base64.b64encode(bytes(10_485_760)).decode()}]
        ),
        {},
    ),
    (Email(ANA, "x", text="x", headers={"To-Do": "x", "In-Reply-To": "<a@b>", "List-Unsubscribe": "<x>"}), {}),
    (HELLO, EXTENSIONS | {"settings.unsubscribe.page_id": [562]}),
    (Template("ana+tag@mail.example.co.uk", "t", variables={"a": "x" * 10_000}), {"subject": "x", "replyTo": MANY[:3]}),
]
BREAKS: list[tuple[Message, dict[str, Any], str]] = [
    (Email("ana@example", "x", text="x"), {}, "to: must be an e-mail address"),
    (Email(f"{ANA};ben@example.org", "x", text="x"), {}, "to: must be an e-mail address"),
    (Email(ANA, "", text="x"), {}, "subject: must have at least 1 character"),
    (Email(ANA, "a\r\nBcc: b", text="x"), {}, "subject: must be one line"),
    (Email(ANA, "x", text="x", sender="news"), {}, "sender: must be an e-mail address"),
    (Email(ANA, "x", text="x", sender_name="a\nb"), {}, "sender_name: must be one line"),
    (Email(ANA, "x", text="x", reply_to=MANY[:4]), {}, "reply_to: may hold at most 3 entries, this one holds 4"),
    (Email(ANA, "x", text="x", cc=MANY), {}, "cc: may hold at most 100 entries, this one holds 101"),
    (Email(ANA, "x", text="x", bcc=MANY), {}, "bcc: may hold at most 100 entries, this one holds 101"),
    (Email(ANA, "x", text="x", cc=["a@b.org;c@d.org"]), {}, "cc: must be an e-mail address"),
    (Email(ANA, "x", text="x", headers={"X": "a\r\nY: b"}), {}, "headers: must be one line"),
    (
        attached(base64.b64encode(bytes(10_485_761)).decode()),
        {},
        "attachments: must have at most 10,485,760 bytes together, these have 10,485,761",
    ),
    (attached("?"), {}, "attachments[0].content: must be base64"),
    (HELLO, {"labelName": "x" * 256}, "options.labelName: must have at most 255 characters, this one has 256"),
    (HELLO, {"sendTags": ["x"] * 6}, "options.sendTags: may hold at most 5 entries, this one holds 6"),
    (HELLO, {"sendTags": "a;b;c;d;e;f"}, "options.sendTags: may hold at most 5 entries, this one holds 6"),
    (HELLO, {"sendTags": ["x" * 51]}, "options.sendTags: must have at most 50 characters, this one has 51"),
    (HELLO, {"sendTags": ["a;b"]}, "options.sendTags: must be a list of tags without semicolons"),
    (HELLO, {"contentSummary": "é" * 101}, "options.contentSummary: must have at most 200 bytes, this one has 202"),
    (HELLO, {"useNotification": "yes"}, "options.useNotification: must be one of true, false"),
    (HELLO, {"replyTo": MANY[:4]}, "options.replyTo: may hold at most 3 entries, this one holds 4"),
    (Email(ANA, "x", text="x"), {"contentSummary": "Short"}, "options.contentSummary: goes with html only: give that"),
    (HELLO, {"contentSummary": 5}, "options.contentSummary: must be a string"),
    (HELLO, {"from": 5}, "options.from: must be a string"),
    (HELLO, {"subject": "x"}, "options.subject: does not go with subject: give one of the two"),
    (Email(ANA, "x", text="x", sender="a@b.org"), {"from": "c@d.org"}, "options.from: does not go with sender"),
    (Email(ANA, "x", text="x", sender_name="A"), {"fromName": "B"}, "options.fromName: does not go with sender_name"),
    (Email(ANA, "x", text="x", reply_to=[ANA]), {"replyTo": "c@d.org"}, "options.replyTo: does not go with reply_to"),
    (Email(ANA, "x", text="x", headers={"X": "a"}), {"headers": {"Y": "b"}}, "options.headers: does not go with"),
    (Template(ANA, "t", variables={"a": "b"}), {"pubsub": {"c": "d"}}, "options.pubsub: does not go with variables"),
    (HELLO, {"pubsub": "x"}, "options.pubsub: must map names to texts"),
    (HELLO, {"pubsub": {"x": ["y"]}}, "options.pubsub: must be a string"),
    (HELLO, {"pubsub": {"%%": "y"}}, "options.pubsub: must have only names that are not empty"),
    (Template(ANA, "t", variables={"": "y"}), {}, "variables: must have only names that are not empty"),
    (Template(ANA, "t", variables=dict.fromkeys(map(str, range(10_001)), "x")), {}, "variables: may hold at most"),
    (HELLO, {"filters": {"opens": {}}}, "options.filters.opens: is not a member of it; it has subscription_tracking"),
    (HELLO, {"filters": "1"}, "options.filters: must be a mapping with subscription_tracking or open_tracking or"),
    (HELLO, {"filters": {"open_tracking": {}}}, "options.filters.open_tracking.settings: is required"),
    (
        HELLO,
        {"filters": {"open_tracking": {"settings": {"enable": "on"}}}},
        "options.filters.open_tracking.settings.enable: must be one of 0, 1",
    ),
    (HELLO, {"settings.unsubscribe.page_id": "x"}, "options.settings.unsubscribe.page_id: must be a number"),
    (HELLO, {"settings.unsubscribe.page_id": [1, 2]}, "options.settings.unsubscribe.page_id: may hold at most 1 "),
    (HELLO, {"send_domain": "example"}, "options.send_domain: must be a domain"),
    (HELLO, {"useAddressList": True}, "options.useAddressList: is not an option of account mail-main"),
    (HELLO, {"respEmailId": False}, "options.respEmailId: is not an option of account mail-main"),
    *(
        (Email(ANA, "x", text="x", headers={name: "x"}), {}, "headers: must have only names that are headers such as")
        for name in ("", "X Y", "X:", "X-Ż", "to", "Bcc", "Reply-To", "X-SMTPAPI", "content-type", "DKIM-Signature",
                     "SC-Custom-Dispatch-Id")
    ),
    (
        Email(ANA, "x", text="x", attachments=[{"filename": "f", "content": "", "type": "x"}]),
        {},
        "attachments[0].type: is not a field of an attachment; it has filename, content, media_type",
    ),
    (
        Email(ANA, "x", text="x", attachments=[{"filename": "f", "content": "eA==", "media_type": "pdf"}]),
        {},
        "attachments[0].media_type: must be a media type such as application/pdf",
    ),
    (HELLO, {"api_key": "x"}, "options.api_key: is not an option of account mail-main"),
    (Template(ANA, ""), {}, "template: must have at least 1 character"),
    (Template(ANA, "t", "en"), {}, "language: account mail-main has no such field; leave it out"),
    (Text(ANA, "x"), {}, "message: account mail-main carries email and template, not text"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "options"), FITS)
def test_what_the_reference_allows_is_taken(message: Message, options: dict[str, Any]) -> None:
    check(capabilities(account()), "mail-main", message, {"order": "4821"}, options)


@pytest.mark.parametrize(("message", "options", "rule"), BREAKS)
def test_what_it_forbids_is_refused_with_field_and_rule(message: Message, options: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidMessage, match=f"^{re.escape(rule)}"):
        check(capabilities(account()), "mail-main", message, None, options)


# The record


def test_regions_have_addresses_of_their_own_and_singapore_is_the_default() -> None:
    assert PROVIDER.base_url == PROVIDER.base_urls["sg"] == "https://api.aurorasendcloud.com"
    assert PROVIDER.base_urls["us"] == "https://api-us.aurorasendcloud.com"
    assert PROVIDER.base_urls["hk"] == "https://api-hk.aurorasendcloud.com"


def test_limits_lanes_and_times_are_the_references() -> None:
    assert dict(PROVIDER.limits) == {"send": ("20/second",), "status": ("3000/minute",)}
    assert (PROVIDER.channel, PROVIDER.send_class, PROVIDER.poll_class, PROVIDER.probe_class) == (
        "email", "send", "status", "status",
    )  # fmt: skip
    assert (PROVIDER.connect_timeout, PROVIDER.timeout) == (5.0, 35.0)


def test_user_and_key_identify_a_key_and_sandbox_values_fit() -> None:
    assert [it.name for it in PROVIDER.credentials if it.identifies_key] == ["api_user", "api_key"]
    assert [it.name for it in PROVIDER.credentials if it.required] == ["api_user", "api_key", "sender"]
    for credential in PROVIDER.credentials:
        assert not credential.sandbox or re.fullmatch(credential.pattern or ".+", credential.sandbox)
    region = next(it for it in PROVIDER.credentials if it.name == "region")
    assert set(PROVIDER.base_urls) == set((region.pattern or "").split("|"))

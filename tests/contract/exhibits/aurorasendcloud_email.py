"""AuroraSendCloud's e-mail."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from paceline.messages import Email, Template, Text
from paceline.status import Status
from providers.aurorasendcloud.codes import COMMON
from providers.base import Accepted, Outcome, Refused, Throttled, Unavailable, Unknown
from tests.contract.exhibits.aurorasendcloud_support import by_class, judged
from tests.contract.exhibits.base import SILENT, Answer, Exhibit, Forbidden, Posted, Said, as_json, hexadecimal_hmac

ANA = "ana@example.org"
MAIL_ID = "1776090600123_7041_25239_6195.sg-10_1_253_1-inbound0$ana@example.org"
WORDS = {Status.ACCEPTED: "request", Status.DELIVERED: "deliver", Status.READ: "open", Status.FAILED: "invalid"}


def throttled(headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    """As it is printed: with a lower-case c, and under a status of 200."""
    return 200, headers, as_json({"result": False, "statuscode": 50000, "message": "interface frequency limited"})


def webhook(said: Said) -> Posted:
    """The signature covers the timestamp and the token alone; the same event is the same bytes."""
    name = WORDS[said.status]
    timestamp = str(int(said.at * 1000))
    token = hashlib.sha256(f"{said.message_id} {name}".encode()).hexdigest()[:50]
    about = {"emailIds": f'["{said.message_id}"]'} if name == "request" else {"emailId": said.message_id}
    fields = {"event": name, "recipient": said.to, "apiUser": "acme_api", **about, "timestamp": timestamp}
    if name == "invalid":
        fields |= {"substat": "406"}
    fields |= {"token": token, "signature": hexadecimal_hmac(said.secret, f"{timestamp}{token}".encode())}
    return Posted(urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"})


def mail(**fields: Any) -> Email:
    return Email(**{"to": ANA, "subject": "Hello", "html": "<p>Hi</p>", **fields})


def template(**fields: Any) -> Template:
    return Template(**{"to": ANA, "template": "order_confirmation", **fields})


def attachment(size: int, filename: str = "a.pdf") -> dict[str, str]:
    content = base64.b64encode(bytes(size)).decode()
    return {"filename": filename, "content": content, "media_type": "application/pdf"}


TAKEN = {"result": True, "statusCode": 200, "message": "ok", "info": {"emailIdList": [MAIL_ID]}}


def undecided(status: int, outcome: Outcome) -> Answer:
    return Answer(status, b"<html>gateway</html>", outcome)


EXHIBIT = Exhibit(
    credentials={
        "api_user": "acme_api",
        "api_key": "k_demo",
        "sender": "news@mail.example.com",
        "webhook_secret": "sc_app_9f21",
    },
    messages={
        "email": mail(text="Hi", reply_to=["help@example.com"], headers={"SC-Custom-order": "7719"}),
        "template": template(variables={"name": "Ana"}),
    },
    answers=[
        Answer(200, as_json(TAKEN), Accepted(MAIL_ID, code="200")),
        *(judged(number, code, by_class(number, code)) for number, code in COMMON.items()),
        judged(12345, None, Refused("unknown_code_12345", "12345")),
        judged(503, None, Unavailable(None, "503")),
        judged(504, None, Unknown("unknown_code_504", "504")),
        undecided(400, Refused("http_400")),
        undecided(429, Throttled()),
        undecided(503, Unavailable()),
    ],
    throttled=throttled,
    forbidden=[
        Forbidden(mail(to=""), "to", "e-mail address"),
        Forbidden(mail(to="ana"), "to", "e-mail address"),
        Forbidden(mail(to="ana@example.org;ben@example.org"), "to", "e-mail address", ours=True),
        Forbidden(mail(subject=""), "subject", "at least 1 character"),
        Forbidden(mail(subject="Hello\r\nBcc: eve@example.org"), "subject", "one line"),
        Forbidden(mail(sender="ana"), "sender", "e-mail address"),
        Forbidden(mail(sender_name="Acme\nShop"), "sender_name", "one line"),
        Forbidden(mail(reply_to=[f"r{n}@example.org" for n in range(4)]), "reply_to", "at most 3 entries"),
        Forbidden(mail(reply_to=["nobody"]), "reply_to", "e-mail address"),
        Forbidden(mail(cc=[f"c{n}@example.org" for n in range(101)]), "cc", "at most 100 entries"),
        Forbidden(mail(bcc=[f"b{n}@example.org" for n in range(101)]), "bcc", "at most 100 entries"),
        Forbidden(mail(headers={"X-A": "one\r\nX-B: two"}), "headers", "one line"),
        Forbidden(mail(attachments=[attachment(10_485_761)]), "attachments", "at most 10,485,760 bytes"),
        Forbidden(mail(attachments=[attachment(10, "")]), "attachments[0].filename", "is required", ours=True),
        Forbidden(mail(html=None), "html", "or text is required", ours=True),
        Forbidden(template(), "options.from", "e-mail address", options={"from": "ana"}),
        Forbidden(template(), "options.fromName", "one line", options={"fromName": "Acme\nShop"}),
        Forbidden(
            template(), "options.subject", "one line", options={"subject": "Hello\r\nBcc: eve@example.org"}, ours=True
        ),
        Forbidden(mail(), "options.labelName", "at most 255 characters", options={"labelName": "x" * 256}),
        Forbidden(mail(), "options.sendTags", "at most 5 entries", options={"sendTags": ["x"] * 6}),
        Forbidden(mail(), "options.sendTags", "at most 50 characters", options={"sendTags": ["x" * 51]}),
        Forbidden(mail(), "options.contentSummary", "at most 200 bytes", options={"contentSummary": "ż" * 101}),
        Forbidden(mail(), "options.useNotification", "one of true, false", options={"useNotification": "yes"}),
        Forbidden(
            mail(html=None, text="Hi"), "options.contentSummary", "html only", options={"contentSummary": "Short"}
        ),
        Forbidden(mail(headers={"X Y": "x"}), "headers", "only names that are headers"),
        Forbidden(mail(headers={"Bcc": "eve@example.org"}), "headers", "the message's own fields", ours=True),
        Forbidden(template(), "options.headers", "only names", options={"headers": {"X Y": "x"}}),
        Forbidden(template(variables={"": "x"}), "variables", "not empty"),
        Forbidden(mail(), "options.pubsub", "not empty", options={"pubsub": {"": "x"}}),
        Forbidden(
            template(variables={"a": "b"}),
            "options.pubsub",
            "does not go with",
            options={"pubsub": {"c": "d"}},
            ours=True,
        ),
        Forbidden(
            mail(),
            "options.filters.open_tracking.settings.enable",
            "one of 0, 1",
            options={"filters": {"open_tracking": {"settings": {"enable": "2"}}}},
        ),
        Forbidden(mail(), "options.filters", "a mapping", options={"filters": "open_tracking"}),
        Forbidden(
            mail(), "options.settings.unsubscribe.page_id", "a number", options={"settings.unsubscribe.page_id": "one"}
        ),
        Forbidden(mail(), "options.send_domain", "a domain", options={"send_domain": "nowhere"}),
        Forbidden(mail(), "options.unheard", "is not an option", options={"unheard": "x"}, ours=True),
        Forbidden(template(template=""), "template", "at least 1 character"),
        Forbidden(template(language="en"), "language", "no such field", ours=True),
        Forbidden(
            template(), "options.replyTo", "at most 3", options={"replyTo": [f"r{n}@x.example" for n in range(4)]}
        ),
        Forbidden(Text(ANA, "Hi"), "message", "not text", ours=True),
    ],
    webhook=webhook,
    edges=[
        mail(
            reply_to=[f"r{n}@example.org" for n in range(3)],
            cc=[f"c{n}@example.org" for n in range(100)],
            bcc=[f"b{n}@example.org" for n in range(100)],
        ),
        mail(attachments=[attachment(10_485_000, "a.pdf"), attachment(760, "b.pdf")]),
    ],
    sandbox="aurorasendcloud",
    still={
        "ratelimit": {"mail": "100000/minute", "sms": "100000/minute", "status": "100000/minute"},
        "lifecycle": SILENT,
    },
    signed_bodies=False,
)

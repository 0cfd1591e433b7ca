"""AuroraSendCloud's SMS."""

import hashlib
from collections.abc import Mapping
from typing import Any

from paceline.messages import Template, Text
from paceline.status import Status
from providers.aurorasendcloud.codes import COMMON, SMS
from providers.base import Accepted, Refused, Throttled, Unavailable, Unknown
from tests.contract.exhibits.aurorasendcloud_email import undecided
from tests.contract.exhibits.aurorasendcloud_support import by_class, judged
from tests.contract.exhibits.base import SILENT, Answer, Exhibit, Forbidden, Posted, Said, as_json, hexadecimal_hmac

PHONE = "+447700900123"
SMS_ID = "1776090610123_7041_2_29999_ab3xq9$+447700900123"
WORDS = {
    Status.ACCEPTED: ("Requested", 1),
    Status.DELIVERED: ("Delivered", 20),
    Status.FAILED: ("Failed", 5),
}
# What a table of the SMS service says goes before the common one; 312 is a refusal whose numbers are listed.
CODES = {**COMMON, **SMS}


def throttled(headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    return 200, headers, as_json({"result": False, "statuscode": 50000, "message": "interface frequency limited"})


def webhook(said: Said) -> Posted:
    """The signature covers the timestamp and the token alone; the same event is the same bytes."""
    name, kind = WORDS[said.status]
    timestamp = int(said.at * 1000)
    token = hashlib.sha256(f"{said.message_id} {name}".encode()).hexdigest()[:50]
    body = {
        "event": name,
        "eventType": kind,
        "smsUser": "acme_sms",
        "smsId": said.message_id,
        "phone": said.to,
        "timestamp": timestamp,
        "token": token,
        "signature": hexadecimal_hmac(said.secret, f"{timestamp}{token}".encode()),
    }
    return Posted(as_json(body | ({"statusCode": 500} if kind == 5 else {})), {"Content-Type": "application/json"})


def template(**fields: Any) -> Template:
    return Template(**{"to": PHONE, "template": "29999", "variables": {"code": "492817"}, **fields})


TAKEN = {"result": True, "statusCode": 200, "info": {"successCount": 1, "items": [], "smsIds": [SMS_ID]}}
REFUSED = {
    "result": True,
    "statusCode": 311,
    "info": {"successCount": 0, "items": [{"phone": PHONE, "message": "bad"}], "smsIds": []},
}

EXHIBIT = Exhibit(
    credentials={"sms_user": "acme_sms", "sms_key": "k_demo", "webhook_secret": "sc_app_77ab"},
    messages={"template": template()},
    answers=[
        Answer(200, as_json(TAKEN), Accepted(SMS_ID, code="200")),
        Answer(200, as_json(REFUSED), Refused("311 number refused", "311")),
        *(judged(number, code, by_class(number, code)) for number, code in CODES.items()),
        judged(12345, None, Refused("unknown_code_12345", "12345")),
        judged(503, None, Unavailable(None, "503")),
        judged(504, None, Unknown("unknown_code_504", "504")),
        undecided(400, Refused("http_400")),
        undecided(429, Throttled()),
        undecided(503, Unavailable()),
    ],
    throttled=throttled,
    forbidden=[
        Forbidden(template(to=""), "to", "E.164"),
        Forbidden(template(to="447700900123"), "to", "E.164", ours=True),
        Forbidden(template(to="+447700900123,+447700900124"), "to", "E.164", ours=True),
        Forbidden(template(template=""), "template", "number of an approved template"),
        Forbidden(template(template="order"), "template", "number of an approved template"),
        Forbidden(template(language="en"), "language", "no such field", ours=True),
        Forbidden(template(), "options.senderID", "at least 3 characters", options={"senderID": "ab"}),
        Forbidden(template(), "options.senderID", "at most 11 characters", options={"senderID": "x" * 12}),
        Forbidden(template(), "options.customArgs", "at most 128", options={"customArgs": {"a": "x" * 121}}),
        Forbidden(template(), "options.customArgs", "a JSON object", options={"customArgs": "[1]"}, ours=True),
        Forbidden(template(), "options.timestamp", "Unix time in seconds", options={"timestamp": "yesterday"}),
        Forbidden(template(), "options.unheard", "is not an option", options={"unheard": "x"}, ours=True),
        Forbidden(Text(PHONE, "Hi"), "message", "not text", ours=True),
    ],
    webhook=webhook,
    edges=[template(to="+447700900123"), template(variables={"code": "x" * 32})],
    sandbox="aurorasendcloud",
    still={
        "ratelimit": {"mail": "100000/minute", "sms": "100000/minute", "status": "100000/minute"},
        "lifecycle": SILENT,
    },
    webhook_setting="sms_webhook",
    signed_bodies=False,
)

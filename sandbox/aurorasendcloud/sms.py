"""AuroraSendCloud's SMS, judged as strictly as its API reference and the sibling product's codes allow."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sandbox.aurorasendcloud.answers import Refused
from sandbox.aurorasendcloud.forms import Form, json_object
from sandbox.aurorasendcloud.settings import APPROVED, AuroraSendCloudSettings

PHONE = re.compile(r"\+?[1-9][0-9]{5,14}")  # a leading space is a plus that was not encoded
MOST_PHONES = 2000
LONGEST_CUSTOM_ARGS, LONGEST_REQUEST_ID = 128, 128  # characters
SENDER_ID = re.compile(r".{3,11}")
LATE = 600.0  # seconds by which `timestamp` may differ

FIELDS = ("smsUser", "smsKey", "templateId", "phone", "vars", "senderID", "sendRequestId", "timestamp", "customArgs")


@dataclass(frozen=True, slots=True)
class Text:
    """What is accepted: a template to each of `phones`; `refused` are numbers that were refused one by one."""

    template: str
    phones: list[str]
    refused: list[str]
    custom_args: dict[str, Any]


def read_sms(form: Form, settings: AuroraSendCloudSettings, now: float) -> Text:
    """Judges a send; raises `Refused`."""
    if settings.unknown_fields == "refuse":
        form.check_known(FIELDS)
    template = _template(form, settings)
    phones = _phones(form)
    _check_extras(form, now)
    refused = [phone for phone in phones if any(fnmatchcase(phone, glob) for glob in settings.sms.refused)]
    args = form.get("customArgs")
    return Text(
        template,
        [phone for phone in phones if phone not in refused],
        refused,
        json_object(args, 400) if args else {},
    )


def _template(form: Form, settings: AuroraSendCloudSettings) -> str:
    number = form.get("templateId")
    if not number:
        raise Refused(433)
    template = settings.sms_templates.get(number)
    if template is None:
        raise Refused(431)
    if template.stat != APPROVED:
        raise Refused(432)
    given = json_object(form.get("vars"), 441) if form.get("vars") else {}
    if not all(isinstance(value, str) for value in given.values()):
        raise Refused(441)
    if any(name not in given for name in template.variables):
        raise Refused(441)
    longest = settings.sms.longest_variable
    if longest is not None and any(len(value) > longest for value in given.values()):
        raise Refused(483)
    return number


def _phones(form: Form) -> list[str]:
    text = form.get("phone")
    if not text:
        raise Refused(411)
    phones = text.split(",")
    if len(phones) > MOST_PHONES or not all(PHONE.fullmatch(phone) for phone in phones):
        raise Refused(412)
    if len(set(phones)) < len(phones):
        raise Refused(413)
    return phones


def _check_extras(form: Form, now: float) -> None:
    sender, timestamp = form.get("senderID"), form.get("timestamp")
    if sender and not SENDER_ID.fullmatch(sender):
        raise Refused(400, "senderID: 3 to 11 characters")
    if len(form.get("sendRequestId")) > LONGEST_REQUEST_ID:
        raise Refused(400, "sendRequestId: at most 128 characters")
    if len(form.get("customArgs")) > LONGEST_CUSTOM_ARGS:
        raise Refused(400, "customArgs: at most 128 characters")
    if timestamp and not (timestamp.isdecimal() and len(timestamp) < 15 and abs(int(timestamp) - now) <= LATE):
        raise Refused(461)

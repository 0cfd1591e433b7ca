"""AuroraSendCloud's SMS: an approved template and its variables, one number to a request; free text cannot be sent.

Facts come from AuroraSendCloud's API reference; what it leaves open is marked "our choice". One address serves all
regions. There is no status query: what became of a message comes by SMSHook alone.
"""

import json
from collections.abc import Mapping
from typing import Any

from paceline.capabilities import Capabilities, Rule, compact
from paceline.messages import Template
from providers.answers import text
from providers.aurorasendcloud import (
    CONNECT_TIMEOUT,
    DEDUPLICATES_FOR,
    QUOTA_RECHECK,
    REGIONS,
    TIMEOUT,
    declined,
    judge,
    option,
    post,
    undecided,
)
from providers.aurorasendcloud import hooks as hooks
from providers.aurorasendcloud.codes import SMS
from providers.base import (
    Accepted,
    Account,
    Credential,
    Option,
    Outcome,
    Provider,
    Refused,
    Request,
    Response,
    Submission,
)

CREDENTIALS = (
    Credential("sms_user", pattern=r"\S(.*\S)?", hint="the SMS user, without spaces around it", sandbox="sandbox_sms"),
    Credential(
        "sms_key", pattern=r"\S(.*\S)?", hint="the SMS key, without spaces around it", sandbox="sandbox_sms_key"
    ),
    # The APP KEY of the SMSHook; the e-mail hook has another.
    Credential("webhook_secret", required=False, identifies_key=False, sandbox="sc_app_sandbox_sms"),
)

LIMITS = {"send": ("10/second",)}  # the reference says nothing (our choice)

OPTIONS = {
    "paths.sms": Option("/smsapi/send", "path of a send"),
    "quota.recheck": QUOTA_RECHECK,
    "webhook.replay_window": Option(
        hooks.SMS_WINDOW, "seconds between a webhook's timestamp and its arrival above which it is refused", least=1
    ),
}

LONGEST_CUSTOM_ARGS = 128  # characters

KINDS: Mapping[str, Mapping[str, Rule]] = {
    "template": {
        "to": Rule(required=True, pattern=r"\+[1-9][0-9]{6,14}", hint="a number in E.164 such as +447700900123"),
        "template": Rule(required=True, pattern=r"[0-9]{1,18}", hint="the number of an approved template"),
        "variables": Rule(),
    },
}
SEND_OPTIONS: Mapping[str, Rule] = {
    "senderID": Rule(min_length=3, max_length=11),
    "customArgs": Rule(max_json=LONGEST_CUSTOM_ARGS),
    # By the sender's own clock; too far from AuroraSendCloud's it is refused (461), so of use only to what leaves at
    # once.
    "timestamp": Rule(pattern=r"[0-9]{10}", hint="Unix time in seconds, such as 1776090600"),
}


def capabilities(_account: Account) -> Capabilities:
    """Templates alone; metadata comes back in `customArgs` where it fits."""
    return Capabilities(kinds=KINDS, metadata=Rule(), options=SEND_OPTIONS)


def build_request(account: Account, submission: Submission) -> Request:
    """The POST that sends one template to one number, whose plus is encoded: a bare one would arrive as a space."""
    message = submission.message
    if not isinstance(message, Template):
        raise TypeError(f"AuroraSendCloud's SMS carries no {message.kind} message; check it first")
    fields = [
        ("smsUser", account.credentials["sms_user"]),
        ("smsKey", account.credentials["sms_key"]),
        ("templateId", message.template),
        ("phone", message.to),
        ("vars", compact(message.variables) if message.variables else ""),
        ("sendRequestId", submission.id),
        ("senderID", str(submission.options.get("senderID") or "")),
        ("timestamp", str(submission.options.get("timestamp") or "")),
        ("customArgs", _custom_args(submission)),
    ]
    return post(account, str(option(account, "paths.sms", OPTIONS["paths.sms"])), fields)


def parse_response(account: Account, response: Response) -> Outcome:
    """What the answer to a send means, by its body.

    A success is read for the one number that was sent to: `smsIds` names it if it was accepted, `items` if it was not.
    """
    verdict = judge(response, SMS)
    if verdict is None:
        return undecided(response)
    if not verdict.accepted:
        return declined(account, response, verdict)
    ids, refused = verdict.info.get("smsIds"), verdict.info.get("items")
    first = ids[0] if isinstance(ids, list) and ids else None
    if first is None and isinstance(refused, list) and refused:
        return Refused(f"{verdict.code} number refused", verdict.code)
    return Accepted(text(first, hooks.MESSAGE_ID) or None, code=verdict.code, note=verdict.note)


def _custom_args(submission: Submission) -> str:
    """What comes back in SMSHooks: the message's `customArgs` as they are, and in what room they leave our id, and the
    metadata."""
    given = submission.options.get("customArgs") or {}
    asked: dict[str, Any] = json.loads(given) if isinstance(given, str) else dict(given)
    own = {"dispatch_id": submission.id}
    fuller = ({**submission.metadata, **asked, **own}, {**asked, **own})
    fits = (said for each in fuller if len(said := compact(each)) <= LONGEST_CUSTOM_ARGS)
    return next(fits, compact(asked))


PROVIDER = Provider(
    name="aurorasendcloud-sms",
    base_url=REGIONS["sg"],
    credentials=CREDENTIALS,
    limits=LIMITS,
    channel="sms",
    capabilities=capabilities,
    build_request=build_request,
    parse_response=parse_response,
    webhook_credential="webhook_secret",
    verify=hooks.verify_sms,
    parse_event=hooks.parse_sms,
    nonce=hooks.nonce,
    answers_get=True,
    options=OPTIONS,
    connect_timeout=CONNECT_TIMEOUT,
    timeout=TIMEOUT,
    deduplicates_for=DEDUPLICATES_FOR,
)

"""AuroraSendCloud's e-mail: mails and approved templates, one recipient to a request, and the delivery status query.

Facts come from AuroraSendCloud's API reference; what it leaves open is marked "our choice". A repeated `sendRequestId`
is recognised for an hour, so that an answer that was lost is asked for by sending again.
"""

from collections.abc import Mapping
from dataclasses import replace

from paceline.capabilities import Capabilities, Rule
from paceline.status import Status
from providers.answers import text
from providers.aurorasendcloud import (
    CONNECT_TIMEOUT,
    DEDUPLICATES_FOR,
    REGIONS,
    TIMEOUT,
    asked_again,
    declined,
    judge,
    undecided,
)
from providers.aurorasendcloud import hooks as hooks
from providers.aurorasendcloud.calls import OPERATIONS
from providers.aurorasendcloud.mail import OPTIONS, build_poll, build_probe, build_request
from providers.base import (
    Accepted,
    Account,
    Credential,
    Outcome,
    Provider,
    Report,
    Response,
)

CREDENTIALS = (
    # "Credentials are ordinary parameters"; no shape of them is documented.
    Credential("api_user", pattern=r"\S(.*\S)?", hint="the API user, without spaces around it", sandbox="sandbox_api"),
    Credential("api_key", pattern=r"\S(.*\S)?", hint="the key, without spaces around it", sandbox="sandbox_api_key"),
    # An account belongs to one region; another answers that the key is wrong.
    Credential(
        "region",
        required=False,
        secret=False,
        identifies_key=False,
        pattern="sg|us|hk",
        hint="sg, us or hk; without it sg",
    ),
    # The sender's domain must be verified at AuroraSendCloud.
    Credential(
        "sender",
        secret=False,
        identifies_key=False,
        pattern=r"[^\s@;]+@[^\s@;]+",
        hint="the address that mails come from, of a verified domain",
        sandbox="news@mail.example.com",
    ),
    Credential("sender_name", required=False, secret=False, identifies_key=False, pattern=r"[^\r\n]+", hint="one line"),
    # The APP KEY of the e-mail webhook; the SMS hook has another.
    Credential("webhook_secret", required=False, identifies_key=False, sandbox="sc_app_sandbox_email"),
)

# "Rate limits": the reference says nothing of sends (our choice) and 3,000 a minute of the status query.
LIMITS = {"send": ("20/second",), "status": ("3000/minute",)}

ADDRESS = Rule(form="email")
ONE_LINE = Rule(pattern=r"[^\r\n]*", hint="one line")
# What a mail has a field for, what mail servers write, what would change recipients behind our back, and our own id's
# place: the reference forbids no header by name (our choice). What is left must be a name by RFC 5322, section 2.2.
TAKEN = (
    "from|sender|to|cc|bcc|reply-to|subject|date|message-id|mime-version|content-.*|received|return-path|"
    "dkim-signature|x-smtpapi|sc-custom-dispatch-id"
)
HEADERS = Rule(
    pattern=r"[^\r\n]*",
    hint="one line",
    names=rf"(?i:(?!({TAKEN})$)[!-9;-~]+)",
    names_hint="headers such as X-Order or SC-Custom-order, and neither the message's own fields nor the mail servers'",
)
# `%name%`: without a name there is nothing to replace. So many of them keep `xsmtpapi` within its 1 MB, because a
# message has at most 1,000,000 bytes and each name is written with four more.
VARIABLES = Rule(max_items=10_000, names=r"(?s:%*[^%].*)", names_hint="not empty, such as name or %name%")

# "Basic send" and "Template send". Addresses are joined by semicolons, so that none may hold one.
KINDS: Mapping[str, Mapping[str, Rule]] = {
    "email": {
        "to": Rule(required=True, form="email"),
        "subject": Rule(required=True, min_length=1, pattern=r"[^\r\n]*", hint="one line"),
        "html": Rule(),
        "text": Rule(),
        "sender": ADDRESS,
        "sender_name": ONE_LINE,
        "reply_to": Rule(max_items=3, form="email"),
        "cc": Rule(max_items=100, form="email"),
        "bcc": Rule(max_items=100, form="email"),
        "headers": HEADERS,
        "attachments": Rule(max_bytes=10_485_760),
    },
    "template": {
        "to": Rule(required=True, form="email"),
        "template": Rule(required=True, min_length=1),
        "variables": VARIABLES,
    },
}

# "X-SMTPAPI": each is a switch, and works where a tracking domain is configured.
SWITCH = Rule(
    members={"settings": Rule(required=True, members={"enable": Rule(required=True, one_of=("0", "1"))})},
)

# Extras of a send, by the reference's names. Those that a mail has fields for are for templates, which have none.
SEND_OPTIONS: Mapping[str, Rule] = {
    "from": Rule(form="email", unless=("sender",)),
    "fromName": Rule(pattern=r"[^\r\n]*", hint="one line", unless=("sender_name",)),
    "subject": Rule(pattern=r"[^\r\n]*", hint="one line", unless=("subject",)),
    "replyTo": Rule(max_items=3, form="email", unless=("reply_to",)),
    "headers": replace(HEADERS, unless=("headers",)),
    "labelName": Rule(min_length=1, max_length=255),
    "sendTags": Rule(
        max_items=5, min_length=1, max_length=50, pattern="[^;]*", hint="a list of tags without semicolons"
    ),
    # Of HTML alone; a template is HTML.
    "contentSummary": Rule(max_bytes=200, needs="html"),
    "useNotification": Rule(one_of=("true", "false")),
    # Members of `xsmtpapi`; `sub` is what a template's `variables` are, and the reference ignores it beside `pubsub`.
    "pubsub": replace(VARIABLES, pattern=r"(?s:.*)", hint="text", unless=("variables",)),
    "filters": Rule(members=dict.fromkeys(("subscription_tracking", "open_tracking", "click_tracking"), SWITCH)),
    # An id, or a list with one for each recipient, of whom there is one.
    "settings.unsubscribe.page_id": Rule(max_items=1, min_number=1, max_number=999_999_999, whole=True),
    "send_domain": Rule(pattern=r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}", hint="a domain"),
}

# "Delivery status query": the numbers of `status`.
STATUSES = {
    "1": Status.DELIVERED,
    "4": Status.FAILED,
    "5": Status.FAILED,
    "18": Status.ACCEPTED,
}
# The words of `status` are documented by one example: they are known by how they begin.
STATUS_WORDS = (
    ("invalid", Status.FAILED),
    ("soft", Status.FAILED),
    ("deliver", Status.DELIVERED),
    ("sending", Status.ACCEPTED),
    ("request", Status.ACCEPTED),
)


def capabilities(_account: Account) -> Capabilities:
    """Mails and templates; metadata travels as headers, which are one line each."""
    return Capabilities(kinds=KINDS, metadata=ONE_LINE, options=SEND_OPTIONS)


def parse_response(account: Account, response: Response) -> Outcome:
    """What the answer to a send means, by its body."""
    verdict = judge(response)
    if verdict is None:
        return undecided(response)
    if not verdict.accepted:
        return declined(account, response, verdict)
    ids = verdict.info.get("emailIdList")
    first = ids[0] if isinstance(ids, list) and ids else None
    return Accepted(text(first, hooks.MESSAGE_ID) or None, code=verdict.code, note=verdict.note)


def parse_poll(account: Account, response: Response) -> Report | Outcome:
    """What the answer to a poll means: the sub-status decides, then the status by number or word."""
    verdict = judge(response)
    if verdict is None:
        return asked_again(undecided(response), response)
    if not verdict.accepted:
        return asked_again(declined(account, response, verdict), response)
    found = verdict.info.get("voList")
    item = next((each for each in found if isinstance(each, dict)), None) if isinstance(found, list) else None
    if item is None:
        return Report(None, "not_found")
    sub = hooks.SUB_STATUSES.get(str(item.get("subStatus")))
    if sub is not None:
        return Report(Status.FAILED, sub.reason, opted_out=sub.suppressed)
    word = str(item.get("status")).lower()
    status = STATUSES.get(word) or next((status for start, status in STATUS_WORDS if word.startswith(start)), None)
    if status is None:
        return Report(None, "unknown_status")
    return Report(status, "not_delivered" if status is Status.FAILED else "")


def parse_probe(account: Account, response: Response) -> Outcome:
    """`Accepted` if the key works."""
    verdict = judge(response)
    if verdict is None:
        return asked_again(undecided(response), response)
    if verdict.accepted:
        return Accepted(code=verdict.code)
    return asked_again(declined(account, response, verdict), response)


PROVIDER = Provider(
    name="aurorasendcloud-email",
    base_url=REGIONS["sg"],
    base_urls=REGIONS,
    credentials=CREDENTIALS,
    limits=LIMITS,
    channel="email",
    capabilities=capabilities,
    build_request=build_request,
    parse_response=parse_response,
    poll_class="status",
    build_poll=build_poll,
    parse_poll=parse_poll,
    probe_class="status",
    build_probe=build_probe,
    parse_probe=parse_probe,
    operations=OPERATIONS,
    webhook_credential="webhook_secret",
    verify=hooks.verify_email,
    parse_event=hooks.parse_email,
    nonce=hooks.nonce,
    answers_get=True,
    options=OPTIONS,
    connect_timeout=CONNECT_TIMEOUT,
    timeout=TIMEOUT,
    deduplicates_for=DEDUPLICATES_FOR,
)

"""Political Comms: broadcast SMS and MMS in the United States; JSON over HTTPS.

What is sent is a *project*, one message to the contacts of a list, and Political Comms sends it: see
`broadcast`. The only message to a single person is a reply in a conversation that a project began, and
that is what this account carries as `Text`.

Facts come from the API reference of Political Comms and its published clients; the section is named beside each. What
they leave open is marked "our choice".
"""

from collections.abc import Mapping

from paceline.capabilities import Capabilities, Rule
from paceline.messages import Text
from providers.answers import text
from providers.base import (
    Accepted,
    Account,
    Credential,
    Operation,
    Option,
    Outcome,
    Provider,
    Request,
    Response,
    Submission,
    Unknown,
)
from providers.politicalcomms.broadcast import BROADCAST
from providers.politicalcomms.calls import LANE
from providers.politicalcomms.changes import CHANGES, lengths
from providers.politicalcomms.changes import OPTIONS as PROJECT_OPTIONS
from providers.politicalcomms.downloads import DOWNLOADS
from providers.politicalcomms.events import FRESHNESS, parse_event, verify
from providers.politicalcomms.lists import LISTS, price_of
from providers.politicalcomms.lists import OPTIONS as LIST_OPTIONS
from providers.politicalcomms.media import MEDIA
from providers.politicalcomms.questions import OPTIONS as DATE_OPTIONS
from providers.politicalcomms.questions import QUESTIONS
from providers.politicalcomms.steps import fetches_from_here
from providers.politicalcomms.watch import WATCH
from providers.politicalcomms.wire import (
    ID_PATTERN,
    MESSAGE_ID,
    ask,
    code_of,
    declined,
    fields_of,
    payload,
    remaining,
    reported_limit,
    request_id,
    segment,
    succeeded,
    troubled,
    write,
)

CREDENTIALS = (
    # "Authentication": the prefix; the alphabet and the length of the rest are our choice. Limits belong to this key.
    Credential(
        "api_key",
        pattern=r"pc_live_[A-Za-z0-9_-]{8,128}",
        hint="pc_live_ and 8 to 128 letters, digits, - or _",
        sandbox="pc_live_sandbox0000",
    ),
    # Whom projects are created for, unless they say so themselves: the key reaches all organizations below its own.
    Credential(
        "organization_id",
        required=False,
        secret=False,
        identifies_key=False,
        pattern=ID_PATTERN,
        hint="the id of an organization, as GET /organizations lists it",
        sandbox="01JV0ORG0000000000000000A1",
    ),
    Credential("webhook_secret", required=False, identifies_key=False, sandbox="whsec_pc_sandbox0000"),
)

# "Rate limits": 100 requests an hour per key, whatever they are for: replies, polls and statistics share it.
LIMITS = {LANE: ("100/hour",)}

# "Idempotency": the same key replays the original answer, and 500, 502 and 504 are to be repeated with it ("Errors").
# For how long is not said. We rely on ten minutes, which the repetitions of the provider's own client need too (five
# attempts of 30 seconds and the waits between them); a message that is unknown after that stays so.
REPLAYS_FOR = 600.0

OPTIONS: Mapping[str, Option] = {**PROJECT_OPTIONS, **DATE_OPTIONS, **LIST_OPTIONS, "webhook.freshness": FRESHNESS}

OPERATIONS: Mapping[str, Operation] = {**QUESTIONS, **CHANGES, **LISTS, **DOWNLOADS, **MEDIA, **WATCH, **BROADCAST}

# "Conversations": exactly one property, SMS only.
KINDS: Mapping[str, Mapping[str, Rule]] = {
    "text": {
        "to": Rule(
            required=True,
            pattern=ID_PATTERN,
            hint="the id of a conversation such as conv_51aa90: Political Comms writes to no number that it was not "
            "asked to by a project",
        ),
        "text": Rule(required=True, min_length=1, max_length=1600),
    },
}


def capabilities(account: Account) -> Capabilities:
    """What Political Comms carries to one person: replies in conversations, as text."""
    return Capabilities(kinds=KINDS, choices=choices(account))


def choices(account: Account) -> dict[str, float | bool]:
    """What this account says of itself that `paceline.politicalcomms` checks arguments by, as that calls it."""
    days = {"max_range_days": "dates.max_range_days", "max_age_days": "dates.max_age_days"}
    said = {name: account.options.get(option, OPTIONS[option].default) for name, option in days.items()}
    return {**said, **lengths(account), "cents_per_number": price_of(account), "loopback": fetches_from_here(account)}


def build_request(account: Account, submission: Submission) -> Request:
    """The POST that replies in a conversation; its idempotency key is the message's id, the same for every attempt."""
    message = submission.message
    if not isinstance(message, Text):
        raise TypeError(
            f"Political Comms carries no {message.kind} message; check it against the account's capabilities first"
        )
    path = f"/conversations/{segment(message.to)}/messages"
    return write(account, "POST", path, submission.id, {"text": message.text})


def parse_response(_account: Account, response: Response) -> Outcome:
    """What the answer to a reply means. An answer of 202 says queued; webhooks say the rest.

    A 5xx other than 503 leaves it unknown: nothing says that it was not accepted.
    """
    if not 200 <= response.status < 300:
        code = code_of(response)
        return declined(response) or Unknown(code or f"http_{response.status}", code)
    if not succeeded(response) or not fields_of(response):
        # A portal or proxy on the way may say 200 to anything: only the API's own JSON is an acceptance.
        return Unknown("unreadable_answer")
    found = fields_of(response)
    return Accepted(text(found.get("message_id"), MESSAGE_ID) or text(found.get("id"), MESSAGE_ID) or None)


def build_probe(account: Account) -> Request:
    """The GET that shows whether the key works and changes nothing: the organizations it reaches."""
    return ask(account, "/organizations")


def parse_probe(_account: Account, response: Response) -> Outcome:
    """What the answer to that means: `Accepted` where it lists organizations."""
    if succeeded(response) and isinstance(payload(response), list):
        return Accepted()
    return troubled(response, question=True)


PROVIDER = Provider(
    name="politicalcomms",
    base_url="https://api.politicalcomms.com/v1",
    credentials=CREDENTIALS,
    limits=LIMITS,
    channel="sms",
    capabilities=capabilities,
    build_request=build_request,
    parse_response=parse_response,
    send_class=LANE,
    probe_class=LANE,
    build_probe=build_probe,
    parse_probe=parse_probe,
    operations=OPERATIONS,
    remaining=remaining,
    reported_limit=reported_limit,
    request_id=request_id,
    webhook_credential="webhook_secret",
    verify=verify,
    parse_event=parse_event,
    options=OPTIONS,
    connect_timeout=5.0,
    timeout=35.0,
    deduplicates_for=REPLAYS_FOR,
)

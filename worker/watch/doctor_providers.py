"""What the providers say when they are asked, and whether they could reach us: the doctor's look outside.

Each account's provider is asked the one harmless question it has, by the same road as every request.
"""

import http.client
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from urllib.parse import urlsplit

from paceline.limit import Limit
from providers.answers import answered_at
from providers.base import (
    Accepted,
    Inbound,
    Misconfigured,
    NotSent,
    Outcome,
    Refused,
    ReportedLimit,
    Throttled,
    Unavailable,
)
from worker.lanes.topology import Lane, Sender, Topology
from worker.probe import ANOTHER, Asked, Prober, probe_lane
from worker.watch.doctor import Finding

# The Date header counts whole seconds, and an answer takes its time; what goes by a provider's day keeps five seconds.
APART = 5.0
ANSWER = 5.0  # seconds for our own hooks server's answer
LONGEST = 65_536  # bytes of it that are read
WORDS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86_400.0: "day"}


def accounts(prober: Prober, topology: Topology) -> Iterator[Finding]:
    """That each account's credentials work, its provider's clock agrees with ours, and its limits with ours."""
    asked: dict[tuple[str, str], Asked] = {}
    for sender in topology.senders.values():
        subject, lane = f"account {sender.name} at {sender.provider.name}", probe_lane(sender, topology.lanes)
        if lane is None:
            found = "not asked: this provider has no question that changes nothing, so a first message will tell"
            yield Finding(subject, ok=True, found=found)
            continue
        assert sender.provider.build_probe is not None
        request = sender.provider.build_probe(sender.account)
        question = (request.url, repr(sorted(request.headers.items())))  # accounts of one key may share it
        first = question not in asked
        if first:
            asked[question] = prober.probe(sender, lane)
        answer = asked[question]
        yield _credentials(subject, sender, lane, answer)
        if first and answer.response is not None:
            yield from _clock(sender, answer)
            yield from _limit(sender, lane, answer)


def unasked(topology: Topology) -> Iterator[Finding]:
    """The same accounts, where there is no broker that would give a token for the question."""
    for sender in topology.senders.values():
        found = "not asked: whether its credentials work is not known while the broker is away"
        yield Finding(f"account {sender.name} at {sender.provider.name}", ok=True, found=found)


def webhooks(topology: Topology, public_url: str | None) -> Iterator[Finding]:
    """That webhooks can be verified, and that the address which providers are told is answered by a hooks server."""
    listening = [sender for sender in topology.senders.values() if sender.provider.webhook_credential]
    if not listening:
        return
    if public_url is None:
        found = "hooks.public_url is not set: whether providers reach the hooks server is not known"
        yield Finding("webhooks", ok=True, found=found, advice=_without(listening))
        return
    yield _reached(public_url)
    for sender in listening:
        credential = sender.provider.webhook_credential or ""
        if not sender.account.credentials.get(credential):
            advice = f"set accounts.{sender.name}.{credential} to what the provider's dashboard shows"
            what = "only those to messages' own addresses are believed" if _addressed(sender) else "all are refused"
            found = f"{credential} is not set, so of its webhooks {what}"
            yield Finding(f"webhooks of {sender.name}", ok=True, found=found, advice=advice)


def _without(listening: Sequence[Sender]) -> str:
    """What is heard of messages where no webhook comes."""
    asked = "without webhooks, where messages stand is polled for"
    silent = [sender.name for sender in listening if sender.provider.poll_class is None]
    return f"{asked}, except of {', '.join(silent)}, whose providers cannot be asked" if silent else asked


def _addressed(sender: Sender) -> bool:
    """Whether a webhook is believed without a signature, because it comes to an address that one message alone has."""
    verify = sender.provider.verify
    unsigned = Inbound("POST", "/", "", {}, b"", 0.0, message_id="any")
    return verify is not None and verify(sender.account, unsigned)


def _credentials(subject: str, sender: Sender, lane: Lane, asked: Asked) -> Finding:
    if not asked.left:
        return _not_asked(subject, sender, lane, asked)
    code = f"HTTP {asked.response.status}" if asked.response else "no answer"
    match asked.outcome:
        case Accepted():
            return Finding(subject, ok=True, found=f"works, answered in {asked.duration * 1000:.0f} ms")
        case Misconfigured():
            advice = f"{asked.outcome.reason}, then run `paceline open {sender.name}` if it was closed"
            return Finding(subject, ok=False, found=f"{code}: the account is not allowed to", advice=advice)
        case Throttled():
            advice = (
                f"compare accounts.{sender.name}.limits with the provider's, and find who else uses this key: "
                f"{lane.name} is closed until the provider's time has passed"
            )
            return Finding(subject, ok=False, found=f"{code}: over a limit", advice=advice)
        case Unavailable():
            said = f"{code}: cannot send now{f' ({asked.outcome.code})' if asked.outcome.code else ''}"
            return Finding(
                subject, ok=False, found=said, advice="messages wait; look at the provider's own status page"
            )
        case Refused():
            advice = f"check accounts.{sender.name}.base_url and options: the question itself was refused"
            return Finding(subject, ok=False, found=f"{code}: {asked.outcome.reason}", advice=advice)
    return _undecided(subject, sender, asked, code)


def _undecided(subject: str, sender: Sender, asked: Asked, code: str) -> Finding:
    reason = str(getattr(asked.outcome, "reason", ""))
    if asked.response is None:
        said = getattr(asked.outcome, "code", "") or reason
        advice = f"ask again; if it stays so, check accounts.{sender.name}.base_url, and proxies on the way"
        return Finding(subject, ok=False, found=f"no answer within {sender.timeout:g} s ({said})", advice=advice)
    return Finding(subject, ok=True, found=f"{code}: whether it works is not known", advice=reason)


def _not_asked(subject: str, sender: Sender, lane: Lane, asked: Asked) -> Finding:
    outcome: Outcome = asked.outcome
    assert isinstance(outcome, NotSent)
    if outcome.reason == ANOTHER:
        advice = (
            "give all workers and `paceline migrate` the same configuration, and doctor too: with or without --sandbox"
        )
        return Finding(subject, ok=False, found=f"not asked: {ANOTHER}", advice=advice)
    if asked.wait:  # whoever closed it is told of by the lane's own finding
        when = "until it is opened" if math.isinf(asked.wait) else f"for {asked.wait:.0f} s"
        return Finding(subject, ok=True, found=f"not asked: {lane.name} lets nothing through {when} ({outcome.reason})")
    said = f"{outcome.reason} ({outcome.code})" if outcome.code else outcome.reason
    host = urlsplit(sender.account.base_url).netloc
    advice = f"check accounts.{sender.name}.base_url, DNS and the firewall: {host} must be reached from here"
    return Finding(subject, ok=False, found=said, advice=advice)


def _clock(sender: Sender, asked: Asked) -> Iterator[Finding]:
    assert asked.response is not None
    theirs = answered_at(asked.response)
    if theirs is None:
        return
    ahead = theirs + 0.5 - asked.response.received_at  # half a second, since the header is cut to whole ones
    fine = abs(ahead) <= APART + asked.duration  # it dated its answer at some moment of it
    found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this host's"
    advice = "synchronise this host with NTP: daily quotas and signed times go by the provider's clock"
    yield Finding(f"clock of {sender.provider.name}", fine, found, "" if fine else advice)


def _limit(sender: Sender, lane: Lane, asked: Asked) -> Iterator[Finding]:
    assert asked.response is not None
    reported = sender.provider.reported_limit(sender.account, asked.response)
    if reported is None:
        return
    limits = [bucket.limit for bucket in lane.limits.limits]
    used = ", ".join(limit.text for limit in limits)
    found = f"the provider reports {_words(reported)}; you use {used}"
    fine = reported.window is None or most_within(limits, reported.window) <= reported.count
    advice = f"lower accounts.{sender.name}.limits.{lane.lane_class}, or the provider will refuse requests"
    yield Finding(f"limit of {lane.name}", fine, found, "" if fine else advice)


def most_within(limits: list[Limit], window: float) -> float:
    """The most requests that these limits let into an interval of so many seconds, without guards."""
    return min(limit.count * max(1, math.ceil(window / (limit.window or 86_400.0))) for limit in limits)


def _words(reported: ReportedLimit) -> str:
    if reported.window is None:
        return f"a limit of {reported.count}"
    return f"{reported.count}/{WORDS.get(reported.window, f'{reported.window:g}s')}"


def _reached(public_url: str) -> Finding:
    subject = "webhooks"
    try:
        status, body = _get(public_url)
    except (OSError, http.client.HTTPException) as error:
        advice = "run `paceline hooks`, and check DNS, certificate, proxy and firewall of hooks.public_url"
        return Finding(subject, ok=False, found=f"{public_url} does not answer ({type(error).__name__})", advice=advice)
    if status == 200 and body.get("status") == "ok":
        return Finding(subject, ok=True, found=f"{public_url} is answered by a hooks server")
    if status == 503 and "status" in body:
        found, advice = f"the hooks server says: {body['status']}", "look at the database that it uses"
    else:
        found = f"{public_url}/health answers {status}, and not as a hooks server does"
        advice = "have your proxy pass hooks.public_url to hooks.bind, its path below it unchanged"
    return Finding(subject, ok=False, found=found, advice=advice)


def _get(public_url: str) -> tuple[int, dict[str, object]]:
    """The answer to GET /health there: its status, and the JSON object in it, if it is one."""
    url = urlsplit(public_url)
    assert url.hostname is not None
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    with closing(kind(url.hostname, url.port, timeout=ANSWER)) as connection:
        connection.request("GET", f"{url.path}/health")
        response = connection.getresponse()
        try:
            body = json.loads(response.read(LONGEST))
        except (ValueError, RecursionError):
            body = None
        return response.status, body if isinstance(body, dict) else {}

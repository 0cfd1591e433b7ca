"""What the providers' ledgers say after a siege, held against what the database says."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.ledger import Entry
from sandbox.summary import busiest_window
from tests.chaos.world import GUARD, SANDBOX, STORM_WAIT, WINDOW, World, message
from worker.sweep import LEASE_OVER

GRACE = 1.5  # seconds in which those arrive that had left before a refusal was known everywhere
MARGIN = 0.3 * GUARD
DATE = 1.0  # seconds that an HTTP-date may be short: it has whole ones
RECOGNISES = "mail"  # the account whose provider recognises a repeated request
KNOWN = {"accepted", "sent", "delivered", "read"}


@dataclass
class Verdict:
    """Figures that must be zero, unless their comment says otherwise."""

    messages: int  # not zero
    arrived: int  # not zero
    busiest: Mapping[str, int]  # arrivals, by account: at most the limit
    hooked: Mapping[str, int]  # the same, by when our own hook let them pass
    lag: float  # seconds from the hook to the judge's stamp, the longest of all: less than three tenths of the guard
    statuses: Mapping[str, int]
    lost: int = 0  # enqueued, and in no row
    unfinished: int = 0
    doubled: int = 0  # accepted more than once
    repeated: int = 0  # asked again although the first may have been accepted
    throttled: int = 0  # refused with 429 of our own making
    early: int = 0  # arrived before a Retry-After was over
    lies: int = 0  # said to be accepted and was not, or to have failed and did not
    unexplained: int = 0  # unknown, without a death, a stop or a fault that explains it
    unknown: int = 0  # not zero
    explained: Counter[str] = field(default_factory=Counter)

    def wrong(self, limit: int) -> list[str]:
        """The promises that were broken."""
        names = (
            "lost", "unfinished", "doubled", "repeated", "throttled", "early", "lies", "unexplained"
        )  # fmt: skip
        found = [f"{name}: {getattr(self, name)}" for name in names if getattr(self, name)]
        found += [f"hooked {name}: {most} of {limit}" for name, most in self.hooked.items() if most > limit]
        found += [f"busiest {name}: {most} of {limit}" for name, most in self.busiest.items() if most > limit]
        return found + [f"the judge was late, by {self.lag:.2f} s"] * bool(found and self.lag > MARGIN)


def judge(world: World) -> Verdict:
    """Hold everything that was enqueued against everything that arrived."""
    rows = world.built.rows("SELECT id, status, reason, idempotency_key AS key FROM paceline_message")
    attempts = world.built.rows("SELECT message_id, code FROM paceline_attempt WHERE outcome = 'unknown'")
    slow = {row["message_id"] for row in attempts if row["code"] == "timeout"}
    passed = {account: _passed(world, account) for account in SANDBOX}
    entries = {account: _sends(world, provider) for account, provider in SANDBOX.items()}
    by_recipient = {account: _grouped(of_account) for account, of_account in entries.items()}
    statuses = Counter(str(row["status"]) for row in rows)
    verdict = Verdict(
        messages=len(rows),
        arrived=sum(map(len, entries.values())),
        busiest={
            account: busiest_window([entry.monotonic for entry in of_account], WINDOW).requests
            for account, of_account in entries.items()
        },
        hooked={account: busiest_window(passed[account], WINDOW).requests for account in SANDBOX},
        lag=_lag(world, entries, rows),
        statuses=dict(statuses),
        lost=world.enqueued * len(SANDBOX) - len(rows),
        unfinished=sum(statuses[status] for status in ("queued", "sending", "accepted", "sent")),
        unknown=statuses["unknown"],
        early=sum(_early(world, of_account) for of_account in entries.values()),
        throttled=sum(
            entry.status == 429 and not entry.fault for of_account in entries.values() for entry in of_account
        ),
    )
    for row in rows:
        account, _, number = str(row["key"]).rpartition("-")
        found = by_recipient[account][message(account, int(number)).to]
        _count(verdict, row, account, found)
        if row["status"] == "unknown":
            _explain(verdict, row, found, world, slow)
    return verdict


# What a sweep assumed, and what did not leave, was never seen by a hook.
_HOOKED = "outcome <> 'not_sent' AND duration_ms > 0"


def _passed(world: World, account: str) -> list[float]:
    found = world.built.rows(f"SELECT at FROM paceline_attempt WHERE account = :account AND {_HOOKED}", account=account)
    return [float(row["at"]) for row in found]


def _lag(world: World, entries: Mapping[str, Sequence[Entry]], rows: Sequence[Mapping[str, object]]) -> float:
    """The longest from our hook to the provider's stamp, of what was asked once."""
    asked = world.built.rows(
        f"SELECT message_id, min(at) AS at FROM paceline_attempt WHERE {_HOOKED}"
        " GROUP BY message_id HAVING count(*) = 1"
    )
    at = {row["message_id"]: float(row["at"]) for row in asked}
    longest = 0.0
    stamped = {account: {entry.recipient: entry.at for entry in found} for account, found in entries.items()}
    for row in rows:
        account, _, number = str(row["key"]).rpartition("-")
        arrived = stamped[account].get(message(account, int(number)).to)
        if arrived is not None and row["id"] in at:
            longest = max(longest, arrived - at[row["id"]])
    return longest


def _count(verdict: Verdict, row: Mapping[str, object], account: str, found: Sequence[Entry]) -> None:
    taken = sum(entry.accepted for entry in found)
    verdict.doubled += max(0, taken - 1)
    verdict.lies += (row["status"] in KNOWN and not taken) or (row["status"] == "failed" and taken > 0)
    if account != RECOGNISES:
        verdict.repeated += sum(not _refused(entry) for entry in found[:-1])


def _explain(
    verdict: Verdict, row: Mapping[str, object], found: Sequence[Entry], world: World, slow: set[object]
) -> None:
    why = ""
    if row["reason"] == LEASE_OVER:
        why = "died or stopped" if row["id"] in world.held else ""
    elif any(entry.fault for entry in found) or not found:
        why = "the provider's fault"  # a request whose head alone arrived names no recipient
    elif row["id"] in slow:
        why = "slow answer"
    if why:
        verdict.explained[why] += 1
    else:
        verdict.unexplained += 1


def _refused(entry: Entry) -> bool:
    """True if the answer said that nothing was accepted."""
    return entry.status in (429, 503) and not entry.accepted


def _early(world: World, entries: Sequence[Entry]) -> int:
    """Arrivals within what a Retry-After forbade. Where who read it may have died, nobody else can know of it."""
    early = 0
    for refused in entries:
        if (refused.status, refused.fault) != (429, "status"):
            continue
        at = refused.monotonic
        if not any(at - 0.1 < death < at + GRACE for death in world.deaths):
            early += sum(GRACE < entry.monotonic - at < STORM_WAIT - DATE for entry in entries)
    return early


def _sends(world: World, provider: str) -> list[Entry]:
    return sorted(
        (entry for entry in world.sandbox.ledger(provider) if entry.group == "send"), key=lambda entry: entry.monotonic
    )


def _grouped(entries: Sequence[Entry]) -> defaultdict[str, list[Entry]]:
    grouped: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.recipient].append(entry)
    return grouped

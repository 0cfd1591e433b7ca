"""How an operation of one request is made: a question, or a change under an idempotency key.

Each is one row in `questions` or `changes`: the path, which argument goes where, and how
the answer is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paceline.capabilities import Rule
from paceline.errors import InvalidMessage
from providers.base import Account, Done, Job, Next, Operation, Outcome, Refused, Request, Response
from providers.politicalcomms.wire import (
    ID,
    MOST_POLLS,
    OPTIONAL_ID,
    ask,
    code_of,
    payload,
    poll_wait,
    segment,
    step_key,
    succeeded,
    troubled,
    uniform,
    write,
)

LANE = "api"  # every endpoint counts against the one limit of the key

LATER = ("LIST_ANALYSIS_IN_PROGRESS",)  # refusals that pass, by the reference's error table

Shape = Callable[[Any], Any]  # an answer's payload → what the caller gets; None: it is not what was asked for
Check = Callable[[Account, Mapping[str, Any]], None]
Fields = Callable[[Account, Mapping[str, Any]], Mapping[str, Any]]


def each(name: str) -> Shape:
    """Reads a plain array of resources, which is how lists come, without paging."""

    def read(found: Any) -> Any:
        if not isinstance(found, list):
            return None
        return [uniform(item, name) for item in found if isinstance(item, dict)]

    return read


def one(name: str) -> Shape:
    """Reads one resource."""
    return lambda found: uniform(found, name) if isinstance(found, dict) and found else None


def whole(found: Any) -> Any:
    """Takes the answer as it is."""
    return found if found else None


@dataclass(frozen=True, slots=True)
class Question:
    """A GET. `path` holds arguments in braces; `query` says which argument is called what: list endpoints have
    snake_case names, the hierarchy, the statistics and the ledger camelCase ones."""

    path: str
    query: Mapping[str, str]
    shape: Shape

    def build(self, account: Account, job: Job) -> Request:
        given = {theirs: job.arguments.get(ours) for ours, theirs in self.query.items()}
        return ask(account, _path(self.path, job), given)

    def read(self, _account: Account, job: Job, response: Response) -> Next | Done | Outcome:
        if code_of(response) == "CARRIER_ESTIMATE_TIMEOUT":
            # Only this estimate is late: the lane is well, so it is asked again as a poll.
            return _again(job)
        found = self.shape(payload(response)) if succeeded(response) else None
        return troubled(response, question=True) if found is None else Done(found)


@dataclass(frozen=True, slots=True)
class Change:
    """A POST, PATCH or DELETE, under an idempotency key of the job's own."""

    method: str
    path: str
    fields: Fields | None
    shape: Shape

    def build(self, account: Account, job: Job) -> Request:
        fields = None if self.fields is None else self.fields(account, job.arguments)
        return write(account, self.method, _path(self.path, job), step_key(job), fields)

    def read(self, _account: Account, job: Job, response: Response) -> Next | Done | Outcome:
        if code_of(response) in LATER:
            return again_later(job)
        if not succeeded(response):
            return troubled(response, question=False)
        if self.method == "DELETE" and not response.body:
            return Done({})
        found = self.shape(payload(response))
        return troubled(response, question=False) if found is None else Done(found)


def again_later(job: Job) -> Next | Outcome:
    """The same change as another request, once what stands in its way may have ended.

    It bears a key of its own: the refusal could be replayed under the old one, and it said that nothing was done.
    """
    step, _, times = job.step.partition("#")
    polls = int(times or 1)
    if polls >= MOST_POLLS:
        return Refused(
            f"still refused after {MOST_POLLS} times: wait for the analysis to end", "LIST_ANALYSIS_IN_PROGRESS"
        )
    return Next(f"{step}#{polls + 1}", job.memory, poll_wait(polls - 1))


def _again(job: Job) -> Next | Outcome:
    polls = int(job.memory.get("polls", 0)) + 1
    if polls > MOST_POLLS:
        return Refused(f"no estimate after {MOST_POLLS} questions: ask again later", "CARRIER_ESTIMATE_TIMEOUT")
    return Next(job.step, {**job.memory, "polls": polls}, poll_wait(polls))


def _path(path: str, job: Job) -> str:
    return "/".join(
        segment(job.arguments[part[1:-1]]) if part.startswith("{") else part for part in path.strip("/").split("/")
    )


def question(
    meaning: str,
    path: str,
    shape: Shape,
    query: Mapping[str, str] | None = None,
    arguments: Mapping[str, Rule] | None = None,
    check: Check | None = None,
    fresh_for: float = 0.0,
) -> Operation:
    asked = Question(path, query or {}, shape)
    rules_ = dict.fromkeys(asked.query, OPTIONAL_ID) | _ids(path) | dict(arguments or {})
    return Operation(meaning, LANE, asked.build, asked.read, rules_, check or _no_check, fresh_for=fresh_for)


def change(
    meaning: str,
    method: str,
    path: str,
    shape: Shape,
    fields: Fields | None = None,
    arguments: Mapping[str, Rule] | None = None,
    check: Check | None = None,
) -> Operation:
    changed = Change(method, path, fields, shape)
    return Operation(meaning, LANE, changed.build, changed.read, _ids(path) | dict(arguments or {}), check or _no_check)


def _ids(path: str) -> dict[str, Rule]:
    return {part[1:-1]: ID for part in path.split("/") if part.startswith("{")}


def _no_check(_account: Account, _arguments: Mapping[str, Any]) -> None:
    """For arguments of which the rules say everything."""


def picked(arguments: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The arguments of these names that were given."""
    return {name: arguments[name] for name in names if arguments.get(name) is not None}


def for_own(account: Account, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, for the account's own organization unless they name another: the key may reach several."""
    own = account.credentials.get("organization_id")
    return {"organization_id": own, **arguments} if own else dict(arguments)


def check_flag(arguments: Mapping[str, Any], name: str) -> None:
    """Raise `InvalidMessage` unless the argument is true, false or left out."""
    if not isinstance(arguments.get(name), bool | None):
        raise InvalidMessage(name, "must be true or false")

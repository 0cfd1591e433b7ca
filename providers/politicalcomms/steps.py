"""Work in steps: each is one request, its answer says which step is next.

What a step learned travels in the job's memory, and each change bears a key made of the job's id and the step's name: a
step may be asked again, in any process, and nothing is made twice, as long as the provider knows the key. An answer of
202 is never final: it is polled, after 5 seconds, then ever less often, at most 40 times.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paceline.capabilities import Rule
from paceline.politicalcomms import rules as rules
from providers.base import Account, Done, Job, Next, Operation, Outcome, Refused, Request, Response
from providers.politicalcomms.calls import LANE
from providers.politicalcomms.wire import MOST_POLLS, OPTIONAL_ID, fields_of, identity, poll_wait, succeeded

Answer = Next | Done | Outcome
Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a job, and what its answer means."""

    build: Callable[[Account, Job], Request]
    read: Callable[[Account, Job, Response], Answer]


@dataclass(frozen=True, slots=True)
class Machine:
    """A job's steps by name. A name may end in `#2`: the same step again, as a request of its own."""

    first: Callable[[Account, Job], str]
    steps: Mapping[str, Step]

    def build(self, account: Account, job: Job) -> Request:
        step, named = self._named(account, job)
        return step.build(account, named)

    def read(self, account: Account, job: Job, response: Response) -> Answer:
        step, named = self._named(account, job)
        return step.read(account, named, response)

    def _named(self, account: Account, job: Job) -> tuple[Step, Job]:
        named = job if job.step else Job(job.id, job.arguments, self.first(account, job), job.memory)
        return self.steps[named.step.partition("#")[0]], named


def poll(step: str, memory: Mapping[str, Any]) -> Next:
    """The first poll of something that was just begun."""
    return Next(step, {**memory, "polls": 0}, poll_wait(0))


def poll_again(job: Job, what: str) -> Next | Refused:
    """The next poll of what is still under way; the job ends when there were 40."""
    polls = int(job.memory.get("polls", 0)) + 1
    if polls >= MOST_POLLS:
        return Refused(f"{what} was not ready after {MOST_POLLS} polls: see what became of it, then start again")
    return Next(job.step, {**job.memory, "polls": polls}, poll_wait(polls))


def begun(response: Response, name: str) -> str:
    """The id of what a 202 says has begun; empty if it names none."""
    return identity(fields_of(response), name) if succeeded(response) else ""


def check_source(account: Account, name: str, url: str) -> None:
    """Raise `InvalidMessage` unless Political Comms can fetch the URL; a sandbox on http fetches from loopback too."""
    rules.check_source(name, url, loopback=fetches_from_here(account))


def fetches_from_here(account: Account) -> bool:
    """Whether files are fetched over http from private hosts too: by a sandbox, which is itself one."""
    return account.base_url.startswith("http://")


def operation(
    meaning: str, machine: Machine, arguments: Mapping[str, Rule], check: Callable[[Account, Mapping[str, Any]], None]
) -> Operation:
    """The operation that a machine is."""
    return Operation(meaning, LANE, machine.build, machine.read, arguments, check)


def no_check(_account: Account, _arguments: Mapping[str, Any]) -> None:
    """For arguments of which the rules say everything."""


URL = Rule(required=True, pattern=r"https?://\S+", hint="an https:// URL")
WORDS = Rule(required=True, min_length=1)
SCOPE = {"organization_id": OPTIONAL_ID, "brand_id": OPTIONAL_ID}

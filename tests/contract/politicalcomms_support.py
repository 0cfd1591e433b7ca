"""Political Comms in tests: an account at the sandbox, and a driver that carries operations out over real HTTP.

The driver keeps nothing between two requests but what it wrote down as JSON: step and memory. So it is killed between
any two steps, and with `twice` every answer is lost once as well, and its request made again.
"""

import http.client
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from paceline.capabilities import Call, Capabilities, check_call
from providers.base import Account, Done, Job, Next, Outcome, Request, Response
from providers.registry import get
from sandbox import SandboxServer

KEY = "pc_live_sandbox0000"
ROOT = "01JV0ORG0000000000000000A1"
CHILD = "01JV0ORG0000000000000000A2"
FOREIGN = "01JV0ORG0000000000000000F1"
BRAND = "01JV0BRD0000000000000000A1"
CAMPAIGN = "01JV0CMP0000000000000000A1"
NUMBER = "01JV0NUM0000000000000000D1"
CSV_URL = "https://files.example.com/district5.csv"
PICTURE = "https://files.example.com/hero.jpg"
CSV = "cell,First Name,ward\n" + "".join(f"+1555556{number:04},Contact {number},12\n" for number in range(20))
PROJECT: dict[str, Any] = {
    "name": "Spring outreach",
    "protocol": "sms",
    "message_text": "Hi {first_name}, polls open at 7.",
    "phone_number_ids": [NUMBER],
    "brand_id": BRAND,
    "campaign_id": CAMPAIGN,
}
SCHEDULE: dict[str, Any] = {"scheduled_at": "2026-03-21T09:00:00-04:00", "scheduled_timezone": "America/New_York"}
FREE: dict[str, Any] = {"ratelimit": {"api": "100000/hour"}, "imports": {"files": {CSV_URL: CSV}}}


def settings(**more: Any) -> dict[str, Any]:
    """The sandbox's settings, without a limit that a test would notice."""
    return {"politicalcomms": FREE | more}


@dataclass
class Driver:
    """Carries operations out. `made` is every request that left, in order."""

    sandbox: SandboxServer
    twice: bool = False
    key: str = KEY
    options: Mapping[str, Any] = field(default_factory=dict)
    made: list[Request] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)

    def account(self) -> Account:
        credentials = {"api_key": self.key, "organization_id": ROOT}
        return Account("pc-main", self.sandbox.base_url("politicalcomms"), credentials, self.options)

    def send(self, request: Request) -> Response:
        self.made.append(request)
        return exchange(request)

    def run(self, operation: str, job: str = "job-1", *, most: int = 300, **arguments: Any) -> Done | Outcome:
        """What the operation ends with. Waiting is done by the sandbox's clock."""
        stored = json.dumps({"step": "", "memory": {}})
        row = get("politicalcomms").operations[operation]
        check_call(Capabilities({}, calls={operation: Call(row.arguments)}), "pc-main", operation, arguments)
        row.check(self.account(), arguments)
        for _ in range(most):
            found = self.step(operation, job, stored, arguments)
            if not isinstance(found, Next):
                return found
            stored = json.dumps({"step": found.step, "memory": found.memory})
            self.steps.append(found.step)
            self.memory = dict(found.memory)
            if found.wait:
                self.sandbox.advance(found.wait)
        raise AssertionError(f"{operation} does not end: {self.steps[-5:]}")

    def step(self, operation: str, job: str, stored: str, arguments: Mapping[str, Any]) -> Next | Done | Outcome:
        """One step, by somebody who knows nothing but what was stored."""
        known = json.loads(stored)
        one = Job(job, json.loads(json.dumps(arguments)), known["step"], known["memory"])
        row = get("politicalcomms").operations[operation]
        if self.twice:
            self.send(row.build(self.account(), one))  # its answer is lost
        return row.read(self.account(), one, self.send(row.build(self.account(), one)))

    def ask(self, operation: str, **arguments: Any) -> Any:
        """The result of an operation that succeeds."""
        found = Driver(self.sandbox, key=self.key, options=self.options).run(operation, str(uuid.uuid4()), **arguments)
        return succeed(found)


def exchange(request: Request) -> Response:
    """One request on a connection of its own."""
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(request.method, path, request.body or None, dict(request.headers))
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, headers, answer.read(), time.time())
    finally:
        connection.close()


def succeed(found: Done | Outcome) -> Any:
    """The result of an operation that must have succeeded."""
    assert isinstance(found, Done), found
    return found.result

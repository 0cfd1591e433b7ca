"""aulm's settings: what its API reference states stands as a default, what it leaves open can be chosen."""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from sandbox.model import Model
from sandbox.provider import ProviderSettings
from sandbox.webhooks import WebhookSettings

KEY = re.compile(r"alm_sk_(live|test)_[0-9a-f]{64}")
TEST_PREFIX = "alm_sk_test_"

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
KeyState = Literal["active", "revoked", "expired"]
UpstreamState = Literal["up", "timeout", "unreachable", "error", "overloaded"]


class KeyRule(Model):
    """How one key stands, whose it is, and which sessions it may use."""

    state: KeyState = "active"
    account: str = "main"
    sessions: tuple[str, ...] = ("*",)  # globs; another session is answered session_not_allowed


class AccountRule(Model):
    """How one customer of aulm stands."""

    active: bool = True  # else account_deactivated
    trial: bool = False  # else on a plan


class SessionRule(Model):
    """One paired number."""

    status: Annotated[str, Field(min_length=1)] = "connected"  # an open set; only "connected" can send
    cached: str | None = None  # what GET says, where its cache is behind; None: it is not
    disabled: bool = False
    account: str = "main"


class Lockout(Model):
    """When bad keys lock an address out, in seconds. All callers of the sandbox are taken for one address."""

    failures: Count = 20
    window: Seconds = 300.0
    seconds: Seconds = 60.0


class Auth(Model):
    """What happens to those who present bad keys."""

    lockout: Lockout = Lockout()


class Quota(Model):
    """Messages of an account: in a UTC day on a plan, in seven days from the first one on trial."""

    daily: Annotated[int, Field(ge=0)] = 1000
    trial: Annotated[int, Field(ge=0)] = 50


class Image(Model):
    """Which images are taken. The sandbox fetches nothing: what is behind a URL is what these settings say."""

    max_bytes: Count = 5 * 1024 * 1024
    basis: Literal["decoded", "text"] = "decoded"  # what is counted of a data URI
    types: tuple[str, ...] = ("image/jpeg", "image/png", "image/webp", "image/gif")
    sizes: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)  # URL suffix → bytes; others are small
    private_hosts: tuple[str, ...] = ("*.internal", "*.local", "*.lan", "private.*")  # globs: names that lead inside


class Upstream(Model):
    """How the messaging service fares, for every recipient or for some."""

    state: UpstreamState = "up"
    recipients: dict[str, UpstreamState] = Field(default_factory=dict)  # glob → state; the first match holds
    timeout_sends: bool = False  # what timed out goes out all the same, and its webhooks follow
    retry_after: Annotated[int, Field(ge=0)] | None = 5  # seconds, of "overloaded"

    def state_for(self, recipient: str) -> UpstreamState:
        """How it fares with one recipient."""
        matches = (state for glob, state in self.recipients.items() if fnmatchcase(recipient, glob))
        return next(matches, self.state)


class TestKeys(Model):
    """What happens to the messages of test keys."""

    __test__ = False  # not one of pytest's

    lifecycle: bool = True
    webhooks: bool = True


class Headers(Model):
    """Which answers say what is left of the quota, besides 201 and the quota's own 429."""

    on_error: Literal["none", "quota"] = "none"  # "quota": 409 and 5xx too


class AulmWebhook(WebhookSettings):
    """The endpoint of the dashboard; `endpoints` are by API key."""

    retry_delays: tuple[Annotated[float, Field(ge=0)], ...] = (30.0, 120.0, 600.0, 1800.0, 3600.0)
    disable_after: Count = 20  # deliveries in a row that were given up
    enabled: bool = True  # becomes false after as many; nothing is sent until it is true again


class AulmSettings(ProviderSettings):
    """All of them: the table `[aulm]` of a settings file."""

    webhook: AulmWebhook = AulmWebhook()
    keys: dict[str, KeyRule] = Field(default_factory=dict)  # empty: every well-formed key is good
    accounts: dict[str, AccountRule] = Field(default_factory=dict)
    # Session UUID, or a glob of them → session; the UUID itself goes before a glob.
    sessions: dict[str, SessionRule] = Field(default_factory=lambda: {"*": SessionRule()})
    auth: Auth = Auth()
    quota: Quota = Quota()
    image: Image = Image()
    upstream: Upstream = Upstream()
    test_keys: TestKeys = TestKeys()
    headers: Headers = Headers()
    unknown_fields: Literal["refuse", "ignore"] = "refuse"

    def session(self, session_id: str) -> SessionRule | None:
        """The session of this UUID, if there is one."""
        rule = self.sessions.get(session_id)
        if rule is not None:
            return rule
        return next((rule for glob, rule in self.sessions.items() if fnmatchcase(session_id, glob)), None)

    def account(self, name: str) -> AccountRule:
        """How a customer stands."""
        return self.accounts.get(name, AccountRule())

"""Political Comms' settings: what its API reference states stands as a default, what it leaves open can be chosen."""

import re
from typing import Annotated, Literal

from pydantic import Field

from sandbox.lifecycle import LifecycleSettings
from sandbox.model import Model
from sandbox.provider import ProviderSettings
from sandbox.webhooks import WebhookSettings
from sandbox.windows import Limit, LimitSetting, WindowKind

KEY = re.compile(r"pc_live_[A-Za-z0-9_-]{8,128}")
ROOT = "01JV0ORG0000000000000000A1"  # the organization at the top of the sandbox's tree

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Cents = Annotated[float, Field(ge=0)]


class KeyRule(Model):
    """What one key may do, and for whom: its organization and all below it."""

    organization: str = ROOT
    write: bool = True  # false: changes are answered 403 PERMISSION_DENIED
    missing_steps: tuple[str, ...] = ()  # of the onboarding: sending is answered 403 ONBOARDING_INCOMPLETE


class RateLimit(Model):
    """Requests of one key. Profile 1 counts by the hour, from the key's first request; profile 2 is a bucket."""

    profile: Literal[1, 2] = 1
    window: WindowKind = "first-hit"  # of profile 1
    api: LimitSetting = Limit(100, 3600.0)  # of profile 1
    bucket: LimitSetting = Limit(600, 60.0)  # of profile 2

    def kind(self) -> WindowKind:
        """The kind of window in force."""
        return self.window if self.profile == 1 else "bucket"

    def limits(self) -> dict[str, Limit]:
        """Group name → limit."""
        return {"api": self.api if self.profile == 1 else self.bucket}


class Idempotency(Model):
    """The reference says only that the same key replays the original answer."""

    retention: Seconds = 86_400.0
    max_length: Count = 255


class Limits(Model):
    """Characters."""

    text: Count = 1600
    name: Count = 255


class Imports(Model):
    """Contact lists. A file is what `files` holds for its URL, or else fetched over HTTP."""

    seconds: Seconds = 1.0
    max_bytes: Count = 50_000_000
    max_rows: Count = 1_000_000
    files: dict[str, str] = Field(default_factory=dict)  # URL → CSV
    unreachable_rows: Annotated[int, Field(ge=0)] = 0  # made up where nothing can be fetched; 0: the import fails
    fail: tuple[str, ...] = ()  # globs of URLs whose import fails


class Analysis(Model):
    """Line analysis, which is charged for each number."""

    seconds: Seconds = 1.0
    fail: tuple[str, ...] = ()  # globs of names of lists


class Media(Model):
    """What is behind media URLs, which the sandbox does not fetch."""

    seconds: Seconds = 1.0
    max_bytes: Count = 5_000_000
    sizes: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)  # URL suffix → bytes; others are small
    fail: tuple[str, ...] = ()  # globs of URLs


class Prices(Model):
    """Cents. Sends are charged when they are delivered."""

    sms: Cents = 1.0
    mms: Cents = 3.0
    lookup: Cents = 0.5


class AutoPause(Model):
    """Projects are paused once, when so many of their messages have left."""

    after: Count
    reason: str = "brand_daily_cap"


class Sending(Model):
    """How projects are sent."""

    compile_seconds: Seconds = 0.2  # until the audience stands
    per_second: Count = 200
    completes_after: Seconds = 1.5  # the last message left
    auto_pause: AutoPause | None = None


class Audience(Model):
    """What recipients do, as shares of those who received a message."""

    replies: Share = 0.0
    opt_outs: Share = 0.0
    clicks: Share = 0.0
    after: Seconds = 0.5


class PoliticalCommsSettings(ProviderSettings):
    """All of them: the table `[politicalcomms]` of a settings file."""

    generation: Literal[1, 2] = 2
    keys: dict[str, KeyRule] = Field(default_factory=dict)  # empty: every well-formed key is good
    ratelimit: RateLimit = RateLimit()
    idempotency: Idempotency = Idempotency()
    limits: Limits = Limits()
    imports: Imports = Imports()
    analysis: Analysis = Analysis()
    media: Media = Media()
    prices: Prices = Prices()
    balance_cents: float = 1_000_000.0
    sending: Sending = Sending()
    audience: Audience = Audience()
    require_test: bool = False  # before a project may be scheduled: 409
    sending_paused: Literal["", "organization", "platform"] = ""
    unavailable_numbers: tuple[str, ...] = ()  # globs of phone numbers of ours that can no longer be used
    throughput_timeout: bool = False  # estimates are answered 503 CARRIER_ESTIMATE_TIMEOUT
    email: Literal["ENTITLEMENT_REQUIRED", "EMAIL_EARLY_ACCESS"] = "ENTITLEMENT_REQUIRED"  # why /email/… is refused
    # Globs of ids of conversations that are there from the start, as if a project had begun them.
    open_conversations: tuple[str, ...] = ("conv_sandbox*",)
    require_https: bool = False  # answer 403 to what comes over plain HTTP
    lifecycle: LifecycleSettings = LifecycleSettings(read_share=0.0)  # an SMS is never read
    webhook: WebhookSettings = WebhookSettings(timeout=10.0, retry_delays=(4.0, 16.0, 64.0))

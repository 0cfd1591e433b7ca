"""Aurogy's settings: what its API reference states stands as a default, what it leaves open can be chosen."""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from sandbox.model import Model
from sandbox.provider import ProviderSettings
from sandbox.windows import Limit, LimitSetting, WindowKind

KEY = re.compile(r"auro_(live|test)_sk_[A-Za-z0-9_]{8,128}")
TEST_PREFIX = "auro_test_sk_"

Count = Annotated[int, Field(ge=1)]
Path = Annotated[str, Field(pattern=r"^/\S+$")]


class KeyRule(Model):
    """What one key may do, and for whom."""

    groups: tuple[str, ...] = ("*",)  # endpoint groups; another is answered 403
    business: str = "main"  # whose messages, conversations and profile it reaches


class Paths(Model):
    """Below /v1. The paths of template, status and profile are inferred, not documented."""

    text: Path = "/messages/text"
    media: Path = "/messages/media"
    template: Path = "/messages/template"
    status: Annotated[str, Field(pattern=r"^/\S*\{message_id\}$")] = "/messages/{message_id}"
    conversations: Path = "/conversations"
    profile: Path = "/profile"


class RateLimit(Model):
    """Requests of one key in each window, by endpoint group."""

    window: WindowKind = "fixed"
    send: LimitSetting = Limit(100, 60.0)  # text, media and template together
    status: LimitSetting = Limit(300, 60.0)
    conversations: LimitSetting = Limit(60, 60.0)
    profile: LimitSetting = Limit(10, 60.0)  # PUT
    profile_read: LimitSetting = Limit(60, 60.0)

    def by_group(self) -> dict[str, Limit]:
        """Group name → limit."""
        return {
            "send": self.send,
            "status": self.status,
            "conversations": self.conversations,
            "profile": self.profile,
            "profile_read": self.profile_read,
        }


class Metadata(Model):
    """Bounds of a text message's `metadata`."""

    max_keys: Count = 10
    max_len: Count = 256  # characters, of each key and each value


class Media(Model):
    """What is behind media URLs, which the sandbox cannot fetch."""

    max_bytes: Count = 104_857_600
    avatar_max_bytes: Count = 5_242_880
    sizes: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)  # URL suffix → bytes; others are small


class Template(Model):
    """One template of the dashboard."""

    variables: tuple[str, ...] = ()  # each must be given
    languages: tuple[str, ...] = ()  # empty: any
    approved: bool = True


class Simulated(Model):
    """What happens to the messages of test keys."""

    lifecycle: bool = True
    webhooks: bool = True


class Profile(Model):
    """A business's profile before its first update."""

    name: str = "Acme Corp"
    description: str = "Widgets"
    avatar_url: str = "https://api.aurogy.com/v1/profile/avatar"
    verified: bool = True
    created_at: str = "2026-01-15T09:00:00Z"


class AurogySettings(ProviderSettings):
    """All of them: the table `[aurogy]` of a settings file."""

    keys: dict[str, KeyRule] = Field(default_factory=dict)  # empty: every well-formed key is good
    paths: Paths = Paths()
    ratelimit: RateLimit = RateLimit()
    metadata: Metadata = Metadata()
    media: Media = Media()
    templates: dict[str, Template] = Field(default_factory=lambda: {"order_confirmation": Template()})
    unknown_recipients: tuple[str, ...] = ("auro_usr_unknown*",)  # globs
    archived_participants: tuple[str, ...] = ()  # globs: their conversations are archived
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    require_https: bool = False  # answer 403 to what comes over plain HTTP
    test_keys: Simulated = Simulated()
    profile: Profile = Profile()

    def is_archived(self, participant: str) -> bool:
        """Whether the conversation with a participant is archived."""
        return any(fnmatchcase(participant, glob) for glob in self.archived_participants)

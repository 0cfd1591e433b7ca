"""Augnet's settings: what its documentation states stands as a default, what it leaves open can be chosen."""

import base64
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sandbox.lifecycle import LifecycleSettings
from sandbox.model import Model
from sandbox.provider import ProviderSettings
from sandbox.webhooks import WebhookSettings
from sandbox.windows import Limit, LimitSetting, WindowKind

UUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

Segmentation = Literal["documented", "gsm0338"]
KeyEncoding = Literal["utf8", "base64", "hex"]


class Project(Model):
    """One project of the dashboard."""

    api_key: Annotated[str, Field(min_length=1)]
    senders: tuple[str, ...] | None = None  # globs; None: those of all projects
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None  # of its callbacks; None: that of all projects
    signing_key: str | None = None  # empty: its callbacks are not signed; None: the one of all projects


class Callbacks(WebhookSettings):
    """Where callbacks go that have no address of their own, and what happens when they are not acknowledged.

    `secret` is the signing key of all projects that have none of their own; empty: their callbacks are not signed.
    `endpoints` are by project id.
    """

    timeout: Annotated[float, Field(gt=0)] = 10.0
    retry_delays: tuple[Annotated[float, Field(ge=0)], ...] = (5.0, 30.0, 120.0)


class Progress(LifecycleSettings):
    """Augnet never says that a message was read."""

    read_share: Annotated[float, Field(ge=0, le=0)] = 0.0

    @model_validator(mode="after")
    def _nobody_reads(self) -> Self:
        if "read" in self.outcomes.values():
            raise ValueError("no message is ever read here: take delivered")
        return self


class Statuses(Model):
    """Words of callbacks."""

    failed: Annotated[str, Field(min_length=1)] = "undelivered"  # documented as "not delivered", in prose


class RateLimit(Model):
    """Requests of one project in each window. None is documented, so none is enforced unless a test asks for it."""

    enforced: bool = False  # the summary counts the busiest window all the same
    window: WindowKind = "fixed"
    send: LimitSetting = Limit(10, 1.0)


class AugnetSettings(ProviderSettings):
    """All of them: the table `[augnet]` of a settings file."""

    projects: dict[Annotated[str, Field(pattern=f"^{UUID}$")], Project] = Field(default_factory=dict)  # empty: any
    senders: tuple[str, ...] = ("*",)  # globs of whitelisted senders; from any other a message goes as `infomessage`
    segmentation: Segmentation = "documented"
    statuses: Statuses = Statuses()
    signing_key_encoding: KeyEncoding = "utf8"
    ratelimit: RateLimit = RateLimit()
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    lifecycle: Progress = Progress()
    webhook: Callbacks = Callbacks()
    keep_bodies: bool = True  # a restarted sandbox knows senders and parts by them

    @model_validator(mode="after")
    def _keys_can_be_read(self) -> Self:
        shown = [endpoint.secret for endpoint in (self.webhook, *self.webhook.endpoints.values())]
        for text in (*shown, *(project.signing_key or "" for project in self.projects.values())):
            key_of(text, self.signing_key_encoding)
        return self

    def project(self, project_id: str) -> Project | None:
        """The project of this id, if projects are listed and it is one of them."""
        return self.projects.get(project_id)

    def is_whitelisted(self, project_id: str, sender: str) -> bool:
        """Whether the project may send from there."""
        project = self.project(project_id)
        globs = self.senders if project is None or project.senders is None else project.senders
        return any(fnmatchcase(sender, glob) for glob in globs)

    def signing_key(self, project_id: str) -> str:
        """The project's signing key, empty if it has none."""
        project = self.project(project_id)
        if project is None or project.signing_key is None:
            return self.webhook.endpoint(project_id).secret
        return project.signing_key


def key_of(text: str, encoding: KeyEncoding) -> bytes:
    """The bytes that a signing key's text stands for.

    Raises:
        ValueError: it is not of that encoding.
    """
    try:
        match encoding:
            case "base64":
                return base64.b64decode(text, validate=True)
            case "hex":
                return bytes.fromhex(text)
            case _:
                return text.encode()
    except ValueError:
        raise ValueError(f"a signing key is not {encoding}, as signing_key_encoding says") from None

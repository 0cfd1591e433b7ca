"""AuroraSendCloud's settings: what its API reference states stands as a default, what it leaves open can be chosen."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from sandbox.model import Model
from sandbox.provider import ProviderSettings
from sandbox.webhooks import WebhookSettings
from sandbox.windows import Limit, LimitSetting, WindowKind

Region = Literal["sg", "us", "hk"]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Review = Literal[-2, -1, 0, 1]  # not submitted, rejected, under review, approved
APPROVED: Review = 1


class ApiUser(Model):
    """One API user of e-mail."""

    key: str
    region: Region = "sg"
    permissions: tuple[str, ...] = ("*",)  # of send, status, query and lists; another call is answered 6001 or 40820


class SmsUser(Model):
    """One SMS user."""

    key: str


class RateLimit(Model):
    """Requests of one API user in each window. Only the status query's limit is documented."""

    window: WindowKind = "fixed"
    mail: LimitSetting = Limit(20, 1.0)
    sms: LimitSetting = Limit(10, 1.0)
    status: LimitSetting = Limit(3000, 60.0)
    query: LimitSetting = Limit(3000, 60.0)

    def by_group(self) -> dict[str, Limit]:
        """Group name → limit."""
        return {"send": self.mail, "sms": self.sms, "status": self.status, "query": self.query}


class Template(Model):
    """One e-mail template."""

    stat: Review = APPROVED
    subject: str = "Your order"


class SmsTemplate(Model):
    """One SMS template; each of its variables must be given."""

    stat: Review = APPROVED
    variables: tuple[str, ...] = ()


class Account(Model):
    """What can run out. None: it never does."""

    daily_quota: Count | None = None  # mails a day, which begins at midnight of GMT+8
    mail_balance: Count | None = None  # mails
    sms_balance: Count | None = None  # pieces


class Sms(Model):
    """What the SMS service does with single numbers."""

    refused: tuple[str, ...] = ()  # globs of numbers that are refused one by one, in `items`
    per_minute: Count | None = None  # messages to one number; None: any
    per_day: Count | None = None
    longest_variable: Count | None = 32  # characters; the sibling product's limit
    states_result: bool = True  # the reference does not list `result` among the answer's members


class MailHook(WebhookSettings):
    """The e-mail webhook."""

    timeout: Annotated[float, Field(gt=0)] = 3.0
    retry_delays: tuple[Seconds, ...] = (60.0, 120.0, 240.0, 480.0, 960.0)
    ack_statuses: tuple[int, ...] = (200,)
    secret: str = "sc_app_sandbox_email"  # noqa: S105 (guards nothing)
    encoding: Literal["form", "json"] = "form"
    names: Literal["old", "new"] = "old"  # `deliver` and `substat`, or `delivered` and `subStat`
    events: tuple[str, ...] = ("*",)  # globs of the old names: others are not sent
    test_url: bool = True  # by GET, before the first event goes to a URL


class SmsHook(MailHook):
    """The SMSHook."""

    retry_delays: tuple[Seconds, ...] = (180.0, 600.0, 1800.0, 3600.0, 21_600.0, 43_200.0, 86_400.0)
    secret: str = "sc_app_sandbox_sms"  # noqa: S105 (guards nothing)
    encoding: Literal["form", "json"] = "json"
    names: Literal["old", "new"] = "new"


class AuroraSendCloudSettings(ProviderSettings):
    """All of them: the table `[aurorasendcloud]` of a settings file. `webhook` is e-mail's."""

    api_users: dict[str, ApiUser] = Field(default_factory=dict)  # empty: every user with a key is good, and in `region`
    sms_users: dict[str, SmsUser] = Field(default_factory=dict)  # likewise
    region: Region = "sg"  # of users that nothing is said of
    ratelimit: RateLimit = RateLimit()
    http_errors: bool = False  # failures bear 400, 401, 403 or 500, and the body repeats that number
    templates: dict[str, Template] = Field(default_factory=lambda: {"order_confirmation": Template()})
    sms_templates: dict[str, SmsTemplate] = Field(default_factory=lambda: {"29999": SmsTemplate(variables=("code",))})
    verified_domains: tuple[str, ...] = ("*",)  # globs of senders' domains
    address_lists: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # alias → members
    task_seconds: Seconds = 1.0  # that a send to address lists takes
    account: Account = Account()
    sms: Sms = Sms()
    webhook: MailHook = MailHook()
    sms_webhook: SmsHook = SmsHook()
    duplicates_within: Seconds = 3600.0  # of the same sendRequestId
    status_cached_for: Seconds = 600.0
    status_days: Annotated[int, Field(ge=1)] = 3  # longest range of a status query; some pages say 30
    mail_failures: dict[str, int] = Field(
        default_factory=dict
    )  # recipient glob → sub-status of a failed mail, else 409
    sms_failures: dict[str, int] = Field(default_factory=dict)  # likewise, else 590
    clicked: tuple[str, ...] = ()  # globs of recipients who click in what they read
    unknown_fields: Literal["refuse", "ignore"] = "refuse"

    def failure_of(self, channel: str, recipient: str) -> int:
        """The code with which a message to this recipient fails."""
        known, default = (self.mail_failures, 409) if channel == "mail" else (self.sms_failures, 590)
        return next((code for glob, code in known.items() if fnmatchcase(recipient, glob)), default)

"""Who calls AuroraSendCloud: credentials among the form's fields, in two spellings, good in one region."""

from dataclasses import dataclass

from sandbox.aurorasendcloud.forms import Form
from sandbox.aurorasendcloud.settings import ApiUser, AuroraSendCloudSettings
from sandbox.call import fingerprint


@dataclass(frozen=True, slots=True)
class Caller:
    """Who presents credentials, good or bad."""

    user: str
    mark: str  # how the ledger names them; empty where none were presented
    code: int = 0  # of the refusal; 0: they are good here
    permissions: tuple[str, ...] = ("*",)
    region: str = "sg"

    def may(self, group: str) -> bool:
        """Whether the user has the permission for a group of calls."""
        return "*" in self.permissions or group in self.permissions


def mail_caller(form: Form, region: str, settings: AuroraSendCloudSettings) -> Caller:
    """The API user. `region` is that of the address which was called, empty for one that serves all."""
    user, key = form.first("api_user", "apiUser"), form.first("api_key", "apiKey")
    mark = _mark("mail", user, key)
    known = settings.api_users.get(user)
    if known is None and not settings.api_users:
        known = ApiUser(key=key, region=settings.region)
    good = bool(user and key) and known is not None and known.key == key and region in ("", known.region)
    return Caller(user, mark, 0 if good else 40005, known.permissions if known else (), known.region if known else "sg")


def sms_caller(form: Form, settings: AuroraSendCloudSettings) -> Caller:
    """The SMS user."""
    user, key = form.get("smsUser"), form.get("smsKey")
    mark = _mark("sms", user, key)
    if not user:
        return Caller(user, mark, 472)
    known = settings.sms_users.get(user)
    if settings.sms_users and known is None:
        return Caller(user, mark, 471)
    return Caller(user, mark, 0 if key and (known is None or known.key == key) else 40005)


def _mark(channel: str, user: str, key: str) -> str:
    return f"{channel}:{fingerprint(f'{user} {key}')}" if user or key else ""

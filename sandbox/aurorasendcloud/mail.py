"""AuroraSendCloud's mails, judged as strictly as its API reference allows: each limit with a code of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from sandbox.aurorasendcloud.answers import Refused
from sandbox.aurorasendcloud.forms import ADDRESS, DOMAIN, Form, addresses, json_object
from sandbox.aurorasendcloud.settings import APPROVED, AuroraSendCloudSettings

MOST_RECIPIENTS, MOST_REPLY_TO, MOST_LISTS, MOST_TAGS = 100, 3, 5, 5
LONGEST_LABEL, LONGEST_TAG, LONGEST_REQUEST_ID = 255, 50, 128  # characters
TRACKING = ("subscription_tracking", "open_tracking", "click_tracking")
LARGEST_SUMMARY, LARGEST_ATTACHMENTS, LARGEST_XSMTPAPI = 200, 10_485_760, 1_048_576  # bytes

CREDENTIALS = ("api_user", "api_key", "apiUser", "apiKey")
COMMON_FIELDS = (
    *CREDENTIALS, "from", "fromName", "to", "subject", "cc", "bcc", "replyTo", "labelName", "sendTags", "headers",
    "xsmtpapi", "sendRequestId", "respEmailId", "useNotification", "useAddressList", "contentSummary",
)  # fmt: skip
MAIL_FIELDS = (*COMMON_FIELDS, "html", "plain")
TEMPLATE_FIELDS = (*COMMON_FIELDS, "templateInvokeName")


@dataclass(frozen=True, slots=True)
class Mail:
    """What is accepted: a mail to each of `recipients`, or to the members of address lists."""

    recipients: list[str]
    lists: list[str] = field(default_factory=list)
    label: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # those that come back
    tells_ids: bool = True


def read_mail(form: Form, settings: AuroraSendCloudSettings) -> Mail:
    """Judges a basic send; raises `Refused`."""
    _check_fields(form, MAIL_FIELDS, settings)
    _check_sender(form, settings)
    smtp = _xsmtpapi(form)
    lists = _lists(form, settings)
    recipients = [] if lists else _smtp_recipients(smtp) if "to" in smtp else _recipients(form)
    _check_subject(form.get("subject"))
    if not (form.get("html") or form.get("plain")):
        raise Refused(40870)
    if form.get("contentSummary") and not form.get("html"):
        raise Refused(400, "contentSummary: only with html")
    _check_files(form)
    return _mail(form, recipients, lists)


def read_template(form: Form, settings: AuroraSendCloudSettings) -> Mail:
    """Judges a template send; raises `Refused`. Recipients come from `xsmtpapi.to`, or from address lists."""
    _check_fields(form, TEMPLATE_FIELDS, settings)
    _check_sender(form, settings)
    name = form.get("templateInvokeName")
    if not name:
        raise Refused(40201)
    template = settings.templates.get(name)
    if template is None:
        raise Refused(40823)
    if template.stat != APPROVED:
        raise Refused(40824)
    if not (form.get("subject") or template.subject):
        raise Refused(40826)
    lists = _lists(form, settings)
    smtp = _xsmtpapi(form)
    if not lists and "to" not in smtp:
        raise Refused(40815)
    _check_files(form)
    return _mail(form, [] if lists else _smtp_recipients(smtp), lists)


def _mail(form: Form, recipients: list[str], lists: list[str]) -> Mail:
    for name, code_malformed, code_many in (("cc", 40853, 40854), ("bcc", 40856, 40857)):
        if len(addresses(form.get(name), code_malformed)) > MOST_RECIPIENTS:
            raise Refused(code_many)
    if len(addresses(form.get("replyTo"), 40811)) > MOST_REPLY_TO:
        raise Refused(40879)
    _check_extras(form)
    return Mail(
        recipients,
        lists,
        label=form.get("labelName"),
        headers=_headers(form),
        tells_ids=form.flag("respEmailId", True, 40859),
    )


def _check_fields(form: Form, known: tuple[str, ...], settings: AuroraSendCloudSettings) -> None:
    if settings.unknown_fields == "refuse":
        form.check_known(known)
    if any(name != "attachments" for name, _, _ in form.files):
        raise Refused(400, "files are attachments")


def _check_sender(form: Form, settings: AuroraSendCloudSettings) -> None:
    sender, name = form.get("from"), form.get("fromName")
    if not sender:
        raise Refused(40801)
    if not ADDRESS.fullmatch(sender):
        raise Refused(40802)
    if not _is_line(name):
        raise Refused(40804)
    domain = sender.partition("@")[2].lower()
    if not any(fnmatchcase(domain, glob) for glob in settings.verified_domains):
        raise Refused(41014)


def _recipients(form: Form) -> list[str]:
    if not form.get("to"):
        raise Refused(40805)
    found = addresses(form.get("to"), 40806)
    if len(found) > MOST_RECIPIENTS:
        raise Refused(40807)
    return found


def _xsmtpapi(form: Form) -> dict[str, Any]:
    text = form.get("xsmtpapi")
    if len(text.encode()) > LARGEST_XSMTPAPI:
        raise Refused(40813)
    smtp = json_object(text, 40813) if text else {}
    if smtp.keys() - {"to", "sub", "pubsub", "filters", "settings", "send_domain"}:
        raise Refused(40813)
    if "pubsub" in smtp:
        _check_names(smtp["pubsub"], lambda value: isinstance(value, str | int | float))
    _check_filters(smtp.get("filters", {}))
    if "settings" in smtp and not _names_a_page(smtp["settings"]):
        raise Refused(40813)
    if "send_domain" in smtp and not (isinstance(smtp["send_domain"], str) and DOMAIN.fullmatch(smtp["send_domain"])):
        raise Refused(40813)
    return smtp


def _check_filters(filters: object) -> None:
    if not isinstance(filters, dict) or filters.keys() - set(TRACKING):
        raise Refused(40813)
    if any(each not in ({"settings": {"enable": "0"}}, {"settings": {"enable": "1"}}) for each in filters.values()):
        raise Refused(40813)


def _names_a_page(settings: object) -> bool:
    match settings:
        case {"unsubscribe": {"page_id": int() | [*_] as page, **more}, **other} if not (more or other):
            return all(isinstance(each, int) and each > 0 for each in (page if isinstance(page, list) else [page]))
    return False


def _smtp_recipients(smtp: dict[str, Any]) -> list[str]:
    to = smtp["to"]
    if not isinstance(to, list):
        raise Refused(40813)
    if not to:
        raise Refused(40816)
    if len(to) > MOST_RECIPIENTS:
        raise Refused(40827)
    if not all(isinstance(each, str) and ADDRESS.fullmatch(each) for each in to):
        raise Refused(40880)
    if "pubsub" not in smtp:  # beside it `sub` is ignored
        _check_names(smtp.get("sub", {}), lambda value: isinstance(value, list) and len(value) == len(to))
    return to


def _check_names(values: object, fits: Callable[[object], bool]) -> None:
    if not isinstance(values, dict):
        raise Refused(40813)
    for name, value in values.items():
        if len(name) < 3 or name[0] != "%" or name[-1] != "%" or not fits(value):
            raise Refused(40813)


def _lists(form: Form, settings: AuroraSendCloudSettings) -> list[str]:
    if not form.flag("useAddressList", False, 40874):
        return []
    found = form.get("to").split(";")
    if not all(found):
        raise Refused(40862)
    if len(found) > MOST_LISTS:
        raise Refused(40864)
    if not all(alias in settings.address_lists for alias in found):
        raise Refused(40863)
    return found


def _check_subject(subject: str) -> None:
    if not subject:
        raise Refused(40808)
    if not _is_line(subject):
        raise Refused(40809)


def _check_files(form: Form) -> None:
    if sum(len(content) for _, _, content in form.files) > LARGEST_ATTACHMENTS:
        raise Refused(40819)


def _check_extras(form: Form) -> None:
    tags = form.get("sendTags").split(";")
    if "labelName" in form.fields and not 1 <= len(form.get("labelName")) <= LONGEST_LABEL:
        raise Refused(40105)
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        raise Refused(400, "sendTags: at most 5 of at most 50 characters")
    if len(form.get("contentSummary").encode()) > LARGEST_SUMMARY:
        raise Refused(40878)
    if len(form.get("sendRequestId")) > LONGEST_REQUEST_ID:
        raise Refused(400, "sendRequestId: at most 128 characters")
    form.flag("useNotification", False, 400)


def _headers(form: Form) -> dict[str, str]:
    text = form.get("headers")
    found = json_object(text, 40869) if text else {}
    for name, value in found.items():
        if not (name and name.isascii() and not any(c in " :\r\n" for c in name)):
            raise Refused(40869)
        if not isinstance(value, str) or not _is_line(value):
            raise Refused(40869)
    return {name: value for name, value in found.items() if name.startswith("SC-Custom-")}


def _is_line(text: str) -> bool:
    return not any(character in text for character in "\r\n\0")

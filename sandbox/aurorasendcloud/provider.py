"""AuroraSendCloud: who may call what, how often, and what each call does; both services behind one prefix."""

from collections.abc import Callable, Mapping
from http.client import responses
from typing import Any, ClassVar

from sandbox.aurorasendcloud import answers, mail, query, sms
from sandbox.aurorasendcloud.answers import Refused
from sandbox.aurorasendcloud.events import HookSender, Inbound, injected, seal
from sandbox.aurorasendcloud.forms import Form, json_object, read
from sandbox.aurorasendcloud.keys import Caller, mail_caller, sms_caller
from sandbox.aurorasendcloud.message import Channel, Message, bare_date, bare_time, mail_ids, sms_id
from sandbox.aurorasendcloud.settings import AuroraSendCloudSettings
from sandbox.aurorasendcloud.tally import Tally
from sandbox.aurorasendcloud.traffic import Traffic
from sandbox.call import Answer, Call, Trace, json_body
from sandbox.clock import Clock
from sandbox.ledger import Ledger
from sandbox.model import parse
from sandbox.provider import Provider, ProviderSettings
from sandbox.webhooks import Event
from sandbox.windows import Limit, RateLimits

REGIONS = ("sg", "us", "hk")
Endpoint = Callable[[Call, Form, Caller], Answer]
# Both spellings of the paths, and a third that an authentication sample prints.
PATHS: Mapping[str, tuple[str, ...]] = {
    "send": ("/mail/send", "/api/mail/send", "/email/send"),
    "template": ("/mail/sendtemplate", "/api/mail/sendtemplate"),
    "status": ("/api/data/emailStatus", "/data/emailStatus"),
    "task": ("/api/mail/taskinfo", "/mail/taskinfo"),
    "user": ("/api/userinfo/get", "/userinfo/get"),
    "sms": ("/smsapi/send",),
}


class AuroraSendCloud(Provider):
    """The provider `aurorasendcloud`: `aurorasendcloud-email` and `aurorasendcloud-sms`.

    Its prefix serves every region; the addresses of single regions are below it, /sg, /us and /hk.
    """

    name: ClassVar[str] = "aurorasendcloud"
    root: ClassVar[str] = ""
    max_body: ClassVar[int] = 33_554_432  # bytes: attachments that are too large get a code of their own

    def __init__(self, settings: AuroraSendCloudSettings, ledger: Ledger, clock: Clock, seed: int) -> None:
        super().__init__(settings, ledger, clock, seed)
        self._settings = settings
        self.webhooks: HookSender = HookSender(settings.webhook, self.faults, clock)
        self.sms_webhooks = HookSender(settings.sms_webhook, self.faults, clock)
        self.sms_webhooks.attempts, self.sms_webhooks.counts = self.webhooks.attempts, self.webhooks.counts
        self._rates = RateLimits(settings.ratelimit.window, settings.ratelimit.by_group())
        self._traffic = Traffic(settings, seed, clock, self.webhooks, self.sms_webhooks)
        self._tasks: dict[int, tuple[str, float, list[str], int]] = {}
        self._labels: dict[str, int] = {}  # their numbers; a label is created where it is first named
        self._tally = Tally()
        self._endpoints: Mapping[str, tuple[str, Endpoint]] = {
            "send": ("send", self._send_mail),
            "template": ("send", self._send_template),
            "status": ("status", self._find_status),
            "task": ("query", self._read_task),
            "user": ("query", self._read_user),
            "sms": ("sms", self._send_sms),
        }
        self._routes = {path: name for name, paths in PATHS.items() for path in paths}

    @property
    def settings(self) -> AuroraSendCloudSettings:
        """The settings in force."""
        return self._settings

    def change(self, settings: ProviderSettings) -> None:
        """Puts new settings in force; messages, and windows whose limit stays, are kept."""
        assert isinstance(settings, AuroraSendCloudSettings)
        super().change(settings)
        self._settings = settings
        self.sms_webhooks.settings = settings.sms_webhook
        self._rates.change(settings.ratelimit.window, settings.ratelimit.by_group())
        self._traffic.change(settings)

    def start(self) -> None:
        """Begins to work, on the running event loop."""
        super().start()
        self.sms_webhooks.start()
        self._traffic.start()

    async def stop(self) -> None:
        """Stops working."""
        self._traffic.stop()
        await self.sms_webhooks.stop()
        await super().stop()

    def clear(self) -> None:
        """Forgets everything but the settings."""
        super().clear()
        self.sms_webhooks.clear()
        self._rates.clear()
        self._traffic.clear()
        self._tasks.clear()
        self._labels.clear()
        self._tally = Tally()

    def limits(self) -> Mapping[str, Limit]:
        """The limit of each endpoint group."""
        return self._rates.limits

    def statuses(self) -> Mapping[str, int]:
        """How many messages stand at each status."""
        return self._traffic.statuses

    # Requests

    def trace(self, call: Call) -> Trace:
        """The credentials' fingerprint, the group, and the recipient and sendRequestId that the form names."""
        _, name = self._find(call)
        if not name:
            return Trace()
        try:
            form = read(call)
        except Refused:
            return Trace(group=self._endpoints[name][0])
        return Trace(
            self._caller(name, "", form).mark,
            self._endpoints[name][0],
            form.get("phone") or _recipient(form),
            form.get("sendRequestId"),
        )

    def answer(self, call: Call) -> Answer:
        """Judges in this order: path, form, credentials and region, rate, permission, duplicate, content."""
        region, name = self._find(call)
        if not name:
            return answers.not_found()
        group, endpoint = self._endpoints[name]
        try:
            form = read(call)
            caller = self._caller(name, region, form)
            self._admit(caller, group, call.at)
            return endpoint(call, form, caller)
        except Refused as refused:
            return answers.failed(refused.code, refused.more, http_errors=self._settings.http_errors)

    def _admit(self, caller: Caller, group: str, at: float) -> None:
        if caller.code:
            raise Refused(caller.code)
        if not self._rates.hit(caller.mark, group, at).admitted:
            raise Refused(50000)
        if not caller.may(group):
            raise Refused(6001)

    def refusal(self, status: int, code: str | None = None) -> Answer:
        """A body whose code repeats the HTTP status, or names the code that a fault gives."""
        sentence = responses.get(status, f"Status {status}")
        if code is None or not code.isdecimal():
            return answers.by_status(status, sentence)
        return Answer(status, answers.failed(int(code)).body)

    def _find(self, call: Call) -> tuple[str, str]:
        _, first, *rest = call.path.split("/", 2)
        region = first if first in REGIONS else ""
        name = self._routes.get(f"/{''.join(rest)}" if region else call.path, "")
        # SMS has one address, Singapore's; sends are posted, and queries may be asked with GET.
        misplaced = name == "sms" and region not in ("", "sg")
        wrong = call.method != "POST" and (call.method != "GET" or name not in ("status", "task", "user"))
        return region, "" if misplaced or wrong else name

    def _caller(self, name: str, region: str, form: Form) -> Caller:
        return sms_caller(form, self._settings) if name == "sms" else mail_caller(form, region, self._settings)

    # Endpoints

    def _send_mail(self, call: Call, form: Form, caller: Caller) -> Answer:
        return self._once(call, form, caller, lambda: self._mail(call, caller, mail.read_mail(form, self._settings)))

    def _send_template(self, call: Call, form: Form, caller: Caller) -> Answer:
        return self._once(
            call, form, caller, lambda: self._mail(call, caller, mail.read_template(form, self._settings))
        )

    def _send_sms(self, call: Call, form: Form, caller: Caller) -> Answer:
        return self._once(call, form, caller, lambda: self._text(call, form, caller))

    def _once(self, call: Call, form: Form, caller: Caller, accept: Callable[[], Answer]) -> Answer:
        """What was accepted under the same sendRequestId within the hour is answered again, and not done again."""
        request_id = form.get("sendRequestId")
        stored = self._tally.stored(caller.mark, request_id, call.at, self._settings.duplicates_within)
        if stored is not None:
            return Answer(200, stored.body, message_id=stored.message_id)
        answer = accept()
        self._tally.store(caller.mark, request_id, call.at, answer)
        return answer

    def _mail(self, call: Call, caller: Caller, read_: mail.Mail) -> Answer:
        lists = self._settings.address_lists
        if read_.lists and not caller.may("lists"):
            raise Refused(40820)
        recipients = read_.recipients or list(dict.fromkeys(one for alias in read_.lists for one in lists[alias]))
        account = self._settings.account
        day = bare_date(call.at)
        self._tally.check_quota(caller.mark, day, len(recipients), account.daily_quota)
        self._tally.spend("mail", caller.mark, len(recipients), account.mail_balance, 40912)
        self._tally.count_quota(caller.mark, day, len(recipients))
        ids = mail_ids(call.at, caller.region, recipients)
        for id_ in ids:
            message = self._traffic.take("mail", caller.mark, caller.user, id_, call.at)
            message.label, message.headers = read_.label, read_.headers
            if read_.label:
                message.label_id = self._labels.setdefault(read_.label, len(self._labels) + 1)
            self._traffic.begin(message)
        if read_.lists:
            number = 267_131 + len(self._tasks)
            self._tasks[number] = (caller.user, call.at, read_.lists, len(ids))
            return answers.succeeded({"maillistTaskId": [number]}, 40821, str(number), accepted=True)
        info = {"emailIdList": ids} if read_.tells_ids else {}
        return answers.succeeded(info, message_id=ids[0], accepted=True)

    def _text(self, call: Call, form: Form, caller: Caller) -> Answer:
        read_ = sms.read_sms(form, self._settings, call.at)
        rules = self._settings.sms
        for phone in read_.phones:
            self._tally.check_number(caller.mark, phone, call.at, rules.per_minute, rules.per_day)
        self._tally.spend("sms", caller.mark, len(read_.phones), self._settings.account.sms_balance, 499)
        ids = [sms_id(call.at, read_.template, phone) for phone in read_.phones]
        for phone, id_ in zip(read_.phones, ids, strict=True):
            self._tally.count_number(caller.mark, phone, call.at)
            message = self._traffic.take("sms", caller.mark, caller.user, id_, call.at)
            message.template, message.headers = read_.template, read_.custom_args
            self._traffic.begin(message)
        items = [{"phone": phone, "message": "the number is refused"} for phone in read_.refused]
        info = {"successCount": len(ids), "failedCount": len(items), "items": items, "smsIds": ids}
        body: dict[str, Any] = {"result": bool(ids), "statusCode": 200, "message": "success", "info": info}
        if items:
            body["statusCode"] = 311 if ids else 312
            body["message"] = answers.SENTENCES[body["statusCode"]]
        if not rules.states_result:
            del body["result"]
        return Answer(200, json_body(body), message_id=ids[0] if ids else "", accepted=bool(ids))

    def _find_status(self, call: Call, form: Form, caller: Caller) -> Answer:
        question = json_body(sorted(form.fields.items()))
        lifetime = self._settings.status_cached_for
        known = self._tally.cached(question, call.at, lifetime)
        if known is None:
            messages = self._wanted(form, caller)
            known = answers.succeeded(query.find(form, messages, self._settings, call.at)).body
            self._tally.cache(question, call.at, known, lifetime)
        return Answer(200, known)

    def _wanted(self, form: Form, caller: Caller) -> list[Message]:
        ids = form.get("emailIds")
        if not ids:
            return list(self._traffic.by_key.get(caller.mark, ()))
        found = (self._traffic.by_id.get(id_) for id_ in ids.split(";"))
        return [message for message in found if message is not None and message.key == caller.mark]

    def _read_task(self, call: Call, form: Form, caller: Caller) -> Answer:
        number = form.get("maillistTaskId")
        user, at, lists, members = self._tasks.get(int(number) if number.isdecimal() else 0, ("", 0.0, [], 0))
        if user != caller.user:
            raise Refused(400, "maillistTaskId: there is no such task")
        done = call.at >= at + self._settings.task_seconds
        data = {
            "maillistTaskId": int(number),
            "apiUser": user,
            "addressList": ";".join(lists),
            "memberCount": members,
            "gmtCreated": bare_time(at),
            "gmtUpdated": bare_time(at + self._settings.task_seconds if done else at),
            "status": 2 if done else 1,
        }
        return answers.succeeded({"data": data})

    def _read_user(self, call: Call, _: Form, caller: Caller) -> Answer:
        account = self._settings.account
        used = self._tally.quota_used(caller.mark, bare_date(call.at))
        data = {"userName": caller.user, "quota": account.daily_quota, "todayUsedQuota": used}
        return answers.succeeded({"data": data | {"balance": account.mail_balance}})

    # Events

    def sign(self, event: Event, secret: str, attempt: int) -> dict[str, str]:
        """All headers of one attempt; the signature goes into the body."""
        return seal(event, secret, attempt)

    def inject(self, data: object) -> dict[str, Any]:
        """Has an event happen, such as `{"event": "unsubscribe", "data": {"recipient": …}}`, or one of the SMSHook with
        `"hook": "sms"`; returns its fields without the signature.

        Raises:
            SettingsError: it is not of that form.
        """
        inbound = parse(Inbound, data, "event")
        by_sms = inbound.hook == "sms"
        settings = self._settings.sms_webhook if by_sms else self._settings.webhook
        event = injected(inbound, self.clock.now(), settings)
        (self.sms_webhooks if by_sms else self.webhooks).send(event)
        return dict(event.fields)

    def restore(self) -> None:
        """Takes over the messages of earlier runs, and what their ids protect from being sent again.

        Of a request with several recipients the ledger names the first alone, and of no message its user.
        """
        until = max((entry.at for entry in self.ledger), default=0.0)
        for entry in self.ledger:
            if not entry.accepted or "$" not in entry.message_id:
                continue
            channel: Channel = "sms" if entry.group == "sms" else "mail"
            message = self._traffic.take(channel, entry.key, "", entry.message_id, entry.at)
            name = "smsIds" if channel == "sms" else "emailIdList"
            if channel == "sms":
                message.template = entry.message_id.split("_")[3]
            answer = answers.succeeded({name: [entry.message_id]}, message_id=entry.message_id, accepted=True)
            self._tally.store(entry.key, entry.dispatch_id, entry.at, answer)
            self._traffic.resume(message, until)


def _recipient(form: Form) -> str:
    """Whom a mail is for, as far as the ledger is concerned."""
    try:
        to = json_object(form.get("xsmtpapi") or "{}", 40813).get("to")
    except Refused:
        to = None
    named = ";".join(each for each in to if isinstance(each, str)) if isinstance(to, list) else ""
    return named or form.get("to")

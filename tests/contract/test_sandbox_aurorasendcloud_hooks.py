"""The sandbox's AuroraSendCloud webhooks, as a real receiver gets them: two kinds, two spellings, two encodings."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.aurorasendcloud_support import ANA, NAME, PHONE, PLENTY, Hook, Receiver, mail, receiver, sms
from tests.contract.sandbox_support import wait_until

FAST = {"sent_after": 0, "delivered_after": 0.01, "read_after": 0.02, "read_share": 1}
MAIL_SECRET, SMS_SECRET = "sc_app_9d2f6b7c41e8", "sc_app_for_sms"


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as kept:
        yield kept


def settings(hooks: Receiver, hook: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    patient = {"url": hooks.url, "timeout": 60}
    webhook = {**patient, "secret": MAIL_SECRET} | (hook or {})
    text = {**patient, "secret": SMS_SECRET} | (hook or {})
    return {NAME: {"ratelimit": PLENTY, "lifecycle": FAST, "webhook": webhook, "sms_webhook": text} | more}


def signature(fields: dict[str, Any], secret: str) -> str:
    return hmac.new(secret.encode(), f"{fields['timestamp']}{fields['token']}".encode(), hashlib.sha256).hexdigest()


def by_event(hooks: list[Hook], *names: str) -> list[dict[str, Any]]:
    """Their fields in this order: events that follow each other closely may overtake each other."""
    return sorted((hook.fields for hook in hooks), key=lambda fields: names.index(fields["event"]))


def test_a_mails_way_is_told_in_signed_forms(hooks: Receiver) -> None:
    with SandboxServer(settings(hooks, clicked=["ana@*"])) as sandbox:
        message = mail(sandbox, labelName="orders", headers='{"SC-Custom-dispatch-id":"dsp_1","X-Own":"x"}').id
        told = hooks.wait_for(4)
        wait_until(lambda: sandbox.summary(NAME)["webhooks"]["acknowledged"] == 4, "all are acknowledged")
        assert sandbox.summary(NAME)["webhooks"]["url_tests"] == hooks.tested == 1

    fields = {hook.fields["event"]: hook.fields for hook in told}
    assert set(fields) == {"request", "deliver", "open", "click"}
    for hook in told:
        assert hook.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert hook.fields["signature"] == signature(hook.fields, MAIL_SECRET)
        assert re.fullmatch(r"[A-Za-z0-9]{50}", hook.fields["token"])
        assert re.fullmatch(r"[0-9]{13}", hook.fields["timestamp"])  # milliseconds
        assert json.loads(hook.fields["userHeaders"]) == {"SC-Custom-dispatch-id": "dsp_1"}
        assert (hook.fields["apiUser"], hook.fields["labelName"]) == ("acme_api", "orders")
    assert len({hook.fields["token"] for hook in told}) == 4
    assert json.loads(fields["request"]["emailIds"]) == [message]
    assert "emailId" not in fields["request"]
    assert (fields["deliver"]["emailId"], fields["deliver"]["recipient"]) == (message, ANA)
    assert fields["click"]["url"].startswith("https://")
    # The order of the reference's example.
    assert list(fields["deliver"]) == [
        *("event", "message", "apiUser", "category", "emailId", "recipient", "outIp", "labelId", "labelName"),
        *("timestamp", "token", "userHeaders", "signature"),
    ]


@pytest.mark.parametrize(
    ("names", "code", "event", "field"),
    [
        ("old", 404, "invalid", "substat"),
        ("old", 503, "soft_bounce", "substat"),
        ("new", 404, "invalid_email", "subStat"),
        ("new", 503, "soft_bounce", "subStat"),
    ],
)
def test_a_mail_that_fails_has_a_sub_status_in_the_spelling_of_its_generation(
    hooks: Receiver, names: str, code: int, event: str, field: str
) -> None:
    hook = {"names": names, "encoding": "json", "events": ["invalid", "soft_bounce"]}
    life = FAST | {"failed_share": 1}
    with SandboxServer(settings(hooks, hook, lifecycle=life, mail_failures={"*": code})) as sandbox:
        mail(sandbox)
        [told] = hooks.wait_for(1)

    assert told.headers["Content-Type"] == "application/json"
    assert (told.fields["event"], told.fields[field]) == (event, code)
    assert isinstance(told.fields["timestamp"], int)
    assert told.fields["signature"] == signature(told.fields, MAIL_SECRET)


def test_an_sms_is_told_by_its_own_hook_and_secret(hooks: Receiver) -> None:
    with SandboxServer(settings(hooks)) as sandbox:
        message = sms(sandbox, customArgs='{"dispatch_id":"dsp_1"}').id
        requested, delivered = by_event(hooks.wait_for(2), "Requested", "Delivered")
        sandbox.advance(10)
        assert {"delivered": 1}.items() <= sandbox.summary(NAME)["messages"].items()  # nobody learns of its reading

    assert (requested["event"], requested["eventType"], requested["smsIds"]) == ("Requested", 1, [message])
    assert (delivered["event"], delivered["eventType"], delivered["smsId"]) == ("Delivered", 20, message)
    assert (delivered["phone"], delivered["templateId"], delivered["smsUser"]) == (PHONE, 29999, "acme_sms")
    assert json.loads(delivered["customArgs"]) == {"dispatch_id": "dsp_1"}
    assert delivered["signature"] == signature(delivered, SMS_SECRET) != signature(delivered, MAIL_SECRET)


@pytest.mark.parametrize(("code", "event", "kind"), [(430, "workererror", 4), (510, "delivererror", 5)])
def test_an_sms_that_fails_has_a_code_and_the_older_spelling_is_a_setting(
    hooks: Receiver, code: int, event: str, kind: int
) -> None:
    life = FAST | {"failed_share": 1}
    with SandboxServer(settings(hooks, {"names": "old"}, lifecycle=life, sms_failures={"*": code})) as sandbox:
        message = sms(sandbox).id
        requested, failed = by_event(hooks.wait_for(2), "request", event)

    assert (requested["event"], requested["smsIds"]) == ("request", json.dumps([message]))
    assert (failed["event"], failed["eventType"], failed["statusCode"]) == (event, kind, code)


@pytest.mark.usefixtures("still")
def test_what_is_not_answered_200_is_retried_by_the_ladder_with_the_same_bytes(hooks: Receiver) -> None:
    hooks.answers = [500, 204, 302, 404, 401, 500]
    only = {"events": ["deliver"], "names": "old"}
    with SandboxServer(settings(hooks, only)) as sandbox:
        mail(sandbox)
        sandbox.advance(1)  # it is delivered
        for number, minutes in enumerate((1, 2, 4, 8, 16), 1):
            wait_until(lambda n=number: len(sandbox.webhooks(NAME)) == n, f"attempt {number} was made")  # type: ignore[misc]
            sandbox.advance(minutes * 60 - 1)
            assert sandbox.summary(NAME)["webhooks"]["waiting"] == 1
            assert len(hooks.hooks) == number
            sandbox.advance(1)
        wait_until(lambda: sandbox.summary(NAME)["webhooks"]["dropped"] == 1, "it was dropped")
        assert [it.answer for it in sandbox.webhooks(NAME)] == [500, 204, 302, 404, 401, 500]

    assert len({hook.body for hook in hooks.hooks}) == 1


def test_the_sms_ladder_lasts_for_two_days() -> None:
    with SandboxServer() as sandbox:
        shown = sandbox.settings(NAME)
    assert shown["sms_webhook"]["retry_delays"] == [180, 600, 1800, 3600, 21_600, 43_200, 86_400]
    assert shown["webhook"]["retry_delays"] == [60, 120, 240, 480, 960]
    assert (shown["webhook"]["timeout"], shown["sms_webhook"]["ack_statuses"]) == (3.0, [200])


def test_events_wait_until_the_url_answers_a_get(hooks: Receiver) -> None:
    hooks.tests = [405, 503]
    with SandboxServer(settings(hooks, {"retry_delays": [3600, 3600]})) as sandbox:
        mail(sandbox)
        hooks.wait_until(lambda: hooks.tested == 1)
        wait_until(lambda: sandbox.summary(NAME)["webhooks"]["waiting"] == 3, "all three events wait")
        wait_until(lambda: _advanced(sandbox, hooks, 2), "the second test was made")
        assert hooks.hooks == []
        wait_until(lambda: _advanced(sandbox, hooks, 3), "the third test was made")
        assert len(hooks.wait_for(3)) == 3


def _advanced(sandbox: SandboxServer, hooks: Receiver, tested: int) -> bool:
    # The next test falls due an hour after the answer to the last one was read.
    sandbox.advance(0 if hooks.tested == tested else 360)
    return hooks.tested == tested


def test_a_url_that_never_passes_gets_nothing_and_may_go_untested(hooks: Receiver) -> None:
    hooks.tests = [404]
    with SandboxServer(settings(hooks, {"retry_delays": []}, lifecycle={"outcomes": {"*": "queued"}})) as sandbox:
        mail(sandbox, to="ben@example.org")
        wait_until(lambda: sandbox.summary(NAME)["webhooks"]["lost"] == 1, "its one event was dropped")
        sandbox.settings(NAME, {"webhook": {"test_url": False}})
        mail(sandbox)
        [hook] = hooks.wait_for(1)

    assert ANA in hook.fields["recipientArray"]
    assert hooks.tested == 1


def test_each_address_is_tested_and_what_waits_for_one_that_was_changed_goes_to_the_new(hooks: Receiver) -> None:
    """Given an address that fails its test, when a user has another one, then each is tested for itself; and when the
    first is put right, what waited for it goes there."""
    hooks.tests = [503]
    first, second, third = (f"{hooks.url}{which}" for which in ("1", "2", "3"))
    own = {"url": second, "secret": "of two"}
    hook = {"url": first, "retry_delays": [3600], "events": ["deliver"], "endpoints": {"two": own}}
    with SandboxServer(settings(hooks, hook)) as sandbox:
        mail(sandbox)
        hooks.wait_until(lambda: hooks.tested == 1)
        mail(sandbox, api_user="two")
        [one] = hooks.wait_for(1)
        assert (one.path[-1], one.fields["apiUser"]) == ("2", "two")
        assert one.fields["signature"] == signature(one.fields, "of two")

        sandbox.settings(NAME, {"webhook": {"url": third}})
        sandbox.advance(3600)
        other = hooks.wait_for(2)[1]
    assert (other.path[-1], hooks.tested) == ("3", 3)


def test_faults_spoil_signatures_and_double_events(hooks: Receiver) -> None:
    with SandboxServer(settings(hooks, {"events": ["deliver"]})) as sandbox:
        sandbox.fault(NAME, "webhook_signature", count=1)
        sandbox.fault(NAME, "webhook_duplicate", count=1, copies=2)
        mail(sandbox)
        first, second = hooks.wait_for(2)

    wrong = [hook for hook in (first, second) if hook.fields["signature"] != signature(hook.fields, MAIL_SECRET)]
    assert len(wrong) == 1
    assert first.fields["token"] == second.fields["token"]


def test_events_can_be_had_at_will(hooks: Receiver) -> None:
    with SandboxServer(settings(hooks)) as sandbox:
        made = sandbox.inject(NAME, {"event": "unsubscribe", "data": {"emailId": "x", "recipient": ANA}})
        sandbox.inject(NAME, {"hook": "sms", "event": "templateVerify", "data": {"eventType": 8, "verfiyResult": 1}})
        hooks.wait_for(2)

    told = {hook.fields["event"]: hook.fields for hook in hooks.hooks}
    assert made["recipient"] == told["unsubscribe"]["recipient"] == ANA
    assert told["unsubscribe"]["signature"] == signature(told["unsubscribe"], MAIL_SECRET)
    assert told["templateVerify"]["verfiyResult"] == 1
    assert told["templateVerify"]["signature"] == signature(told["templateVerify"], SMS_SECRET)

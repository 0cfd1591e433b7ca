"""The sandbox as AuroraSendCloud's e-mail: every limit with its own code, spellings, regions, quotas, repetitions."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from sandbox import SandboxServer
from tests.contract.aurorasendcloud_support import (
    ANA,
    FORM,
    KEYS,
    MAIL,
    NAME,
    PLENTY,
    STILL,
    ask,
    mail,
    sms,
    status,
    template,
)

SETTINGS = STILL | {
    "templates": {
        "order_confirmation": {},
        "waiting": {"stat": 0},
        "rejected": {"stat": -1},
        "bare": {"subject": ""},
    },
    "verified_domains": ["mail.example.com"],
    "address_lists": {"readers": [ANA, "ben@example.org"], "writers": ["ben@example.org"]}
    | {f"l{n}": [] for n in range(6)},
}
MANY = ";".join(f"r{number}@example.org" for number in range(101))
A_HUNDRED = MANY.rpartition(";")[0]


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer({NAME: SETTINGS}) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.clear(NAME)
    return server


def smtp(**members: Any) -> str:
    return json.dumps({"to": [ANA]} | members)


# Who calls, and where


def test_a_mail_is_answered_with_its_id_in_the_references_envelope(sandbox: SandboxServer) -> None:
    answer = mail(sandbox)

    assert (answer.status, list(answer.json)) == (200, ["result", "statusCode", "message", "info"])
    assert (answer.json["result"], answer.code) == (True, 200)
    assert re.fullmatch(r"\d{13}_\d+_\d+_\w+\.sg-10_1_253_1-inbound0\$ana@example\.org", answer.id)
    [entry] = sandbox.ledger(NAME)
    assert (entry.group, entry.recipient, entry.message_id, entry.accepted) == ("send", ANA, answer.id, True)


@pytest.mark.parametrize("path", ["/mail/send", "/api/mail/send", "/email/send", "/sg/mail/send", "/sg/api/mail/send"])
@pytest.mark.parametrize("style", [("api_user", "api_key"), ("apiUser", "apiKey")])
def test_every_spelling_of_path_and_credentials_is_taken(
    sandbox: SandboxServer, path: str, style: tuple[str, str]
) -> None:
    assert ask(sandbox, path, dict(zip(style, ("acme_api", "k_demo"), strict=True)) | MAIL).code == 200


def test_the_wrong_region_looks_like_a_wrong_key() -> None:
    users = {"acme_api": {"key": "k_demo", "region": "us"}}
    with SandboxServer({NAME: STILL | {"api_users": users}}) as sandbox:
        right, anywhere = mail(sandbox, "/us/mail/send"), mail(sandbox)
        assert (right.code, anywhere.code) == (200, 200)
        assert ".us-10" in right.id
        for path, fields in (("/sg/mail/send", {}), ("/hk/mail/send", {}), ("/us/mail/send", {"api_key": "wrong"})):
            answer = mail(sandbox, path, **fields)
            assert (answer.status, answer.code, answer.json["result"], answer.json["info"]) == (200, 40005, False, {})
        assert mail(sandbox, api_user="other").code == 40005


@pytest.mark.parametrize("missing", ["api_user", "api_key"])
def test_credentials_must_be_there(sandbox: SandboxServer, missing: str) -> None:
    assert mail(sandbox, **{missing: ""}).code == 40005


def test_a_user_may_lack_a_permission() -> None:
    users = {"acme_api": {"key": "k_demo", "permissions": ["send"]}}
    lists = {"readers": [ANA]}
    with SandboxServer({NAME: STILL | {"api_users": users, "address_lists": lists}}) as sandbox:
        assert mail(sandbox).code == 200
        assert status(sandbox).code == 6001
        assert mail(sandbox, to="readers", useAddressList="true").code == 40820


def test_failures_may_bear_http_statuses_and_then_repeat_them() -> None:
    with SandboxServer({NAME: STILL | {"http_errors": True}}) as sandbox:
        answer = mail(sandbox, api_key="")
        assert (answer.status, answer.code, answer.json["result"]) == (401, 401, False)
        assert "info" not in answer.json
        assert (mail(sandbox, subject="").status, mail(sandbox).status) == (400, 200)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/mail/send"), ("POST", "/mail/sent"), ("POST", "/eu/mail/send"), ("PUT", "/mail/send")],
)
def test_nothing_is_behind_other_paths_and_methods(sandbox: SandboxServer, method: str, path: str) -> None:
    answer = ask(sandbox, path, KEYS | MAIL, method=method)

    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html")


# Forms


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (b'{"api_user":"a"}', "application/json"),
        (urlencode(KEYS | MAIL).encode() + b"&to=ben%40example.org", FORM),
        (urlencode(KEYS | MAIL).encode() + b"&plain=%name%", FORM),
        (urlencode(KEYS | MAIL).encode() + b"&plain=%ff", FORM),
        (urlencode(KEYS | MAIL).encode() + b"&plain", FORM),
        (urlencode(KEYS | MAIL).encode() + "&plain=é".encode(), FORM),
        (urlencode(KEYS | MAIL | {"recipient": ANA}).encode(), FORM),
        (b"--x\r\n\r\n--x--\r\n", "multipart/form-data"),
        (b'--x\r\nContent-Disposition: form-data; name="to"\r\n\r\na\r\n', "multipart/form-data; boundary=x"),
        (b"--x\r\nX: y\r\n\r\na\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ],
)
def test_a_form_is_read_strictly(sandbox: SandboxServer, body: bytes, type_: str) -> None:
    answer = ask(sandbox, "/mail/send", body, type_=type_)

    assert (answer.status, answer.code, answer.json["result"]) == (200, 400, False)
    assert not sandbox.ledger(NAME)[0].accepted


def multipart(*files: bytes, name: str = "attachments") -> bytes:
    parts = [f'form-data; name="{key}"\r\n\r\n'.encode() + value.encode() for key, value in (KEYS | MAIL).items()]
    parts += [f'form-data; name="{name}"; filename="a"\r\n\r\n'.encode() + content for content in files]
    return b"".join(b"--x\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + b"--x--\r\n"


def test_attachments_travel_as_files_and_have_a_limit_together(sandbox: SandboxServer) -> None:
    kind = "multipart/form-data; boundary=x"
    half = bytes(5_242_880)

    assert ask(sandbox, "/mail/send", multipart(half, half), type_=kind).code == 200
    assert ask(sandbox, "/mail/send", multipart(half, half + b"x"), type_=kind).code == 40819
    assert ask(sandbox, "/mail/send", multipart(b"x", name="file"), type_=kind).code == 400
    assert mail(sandbox, attachments="x").code == 400


# Each rule with its code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"html": "", "plain": "Hi"}, 200),
        ({"to": A_HUNDRED, "cc": A_HUNDRED, "bcc": A_HUNDRED, "replyTo": "a@b.org;c@d.org;e@f.org"}, 200),
        ({"labelName": "é" * 255, "sendTags": ";".join(["é" * 50] * 5), "contentSummary": "é" * 100}, 200),
        ({"headers": '{"SC-Custom-a":"b"}', "sendRequestId": "x" * 128, "respEmailId": "true"}, 200),
        ({"xsmtpapi": smtp(pubsub={"%a%": "b"}, sub={"%a%": []}), "to": ""}, 200),
        ({"from": ""}, 40801),
        ({"from": "news"}, 40802),
        ({"from": "news@other.example.com"}, 41014),
        ({"fromName": "a\r\nb"}, 40804),
        ({"to": ""}, 40805),
        ({"to": "ana@example"}, 40806),
        ({"to": f"{ANA},ben@example.org"}, 40806),
        ({"to": MANY}, 40807),
        ({"subject": ""}, 40808),
        ({"subject": "a\nb"}, 40809),
        ({"html": ""}, 40870),
        ({"replyTo": "a"}, 40811),
        ({"replyTo": "a@b.org;c@d.org;e@f.org;g@h.org"}, 40879),
        ({"cc": "a"}, 40853),
        ({"cc": MANY}, 40854),
        ({"bcc": "a"}, 40856),
        ({"bcc": MANY}, 40857),
        ({"contentSummary": "é" * 101}, 40878),
        ({"labelName": "x" * 256}, 40105),
        ({"sendTags": "a;b;c;d;e;f"}, 400),
        ({"sendTags": "x" * 51}, 400),
        ({"headers": "[]"}, 40869),
        ({"headers": "{"}, 40869),
        ({"headers": '{"a b":"c"}'}, 40869),
        ({"headers": '{"a":"b\\nc"}'}, 40869),
        ({"headers": '{"a":1}'}, 40869),
        ({"sendRequestId": "x" * 129}, 400),
        ({"respEmailId": "yes"}, 40859),
        ({"useNotification": "1"}, 400),
        ({"useAddressList": "1"}, 40874),
        ({"xsmtpapi": "{"}, 40813),
        ({"xsmtpapi": smtp(x="y" * 1_048_576)}, 40813),
        ({"xsmtpapi": '{"to":[]}'}, 40816),
        ({"xsmtpapi": '{"to":"a@b.org"}'}, 40813),
        ({"xsmtpapi": smtp(to=MANY.split(";"))}, 40827),
        ({"xsmtpapi": smtp(to=["a"])}, 40880),
        ({"xsmtpapi": smtp(sub={"%a%": ["b", "c"]})}, 40813),
        ({"xsmtpapi": smtp(sub={"a": ["b"]})}, 40813),
        ({"xsmtpapi": smtp(sub={"%a%": "b"})}, 40813),
        ({"xsmtpapi": smtp(pubsub={"%a%": ["b"]})}, 40813),
        ({"useAddressList": "true", "to": "readers;;writers"}, 40862),
        ({"useAddressList": "true", "to": "strangers"}, 40863),
        ({"useAddressList": "true", "to": "l0;l1;l2;l3;l4;l5"}, 40864),
    ],
)
def test_each_rule_of_a_mail_has_its_code(sandbox: SandboxServer, fields: dict[str, str], code: int) -> None:
    answer = mail(sandbox, **fields)

    assert (answer.status, answer.code, answer.json["result"]) == (200, code, code == 200)
    assert sandbox.ledger(NAME)[0].accepted is (code == 200)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 200),
        ({"subject": "Own", "templateInvokeName": "bare"}, 200),
        ({"templateInvokeName": ""}, 40201),
        ({"templateInvokeName": "nowhere"}, 40823),
        ({"templateInvokeName": "waiting"}, 40824),
        ({"templateInvokeName": "rejected"}, 40824),
        ({"templateInvokeName": "bare"}, 40826),
        ({"xsmtpapi": "", "to": ANA}, 40815),
        ({"xsmtpapi": '{"sub":{}}'}, 40815),
        ({"html": "<p>Hi</p>"}, 400),
    ],
)
def test_each_rule_of_a_template_mail_has_its_code(sandbox: SandboxServer, fields: dict[str, str], code: int) -> None:
    assert template(sandbox, **fields).code == code


def test_several_recipients_have_ids_of_their_own_and_the_ids_can_be_declined(sandbox: SandboxServer) -> None:
    both = mail(sandbox, to=f"{ANA};ben@example.org").json["info"]["emailIdList"]

    assert [id_.rpartition("inbound")[2] for id_ in both] == ["0$ana@example.org", "1$ben@example.org"]
    assert mail(sandbox, respEmailId="false").json["info"] == {}


@pytest.mark.usefixtures("still")
def test_address_lists_make_a_task_that_is_polled(sandbox: SandboxServer) -> None:
    answer = mail(sandbox, to="readers;writers", useAddressList="true")
    assert (answer.code, answer.json["result"]) == (40821, True)
    [number] = answer.json["info"]["maillistTaskId"]

    def task(**fields: str) -> Any:
        question = urlencode(KEYS | {"maillistTaskId": str(number)} | fields)
        return ask(sandbox, f"/api/mail/taskinfo?{question}", method="GET").json

    begun = task()["info"]["data"]
    assert (begun["addressList"], begun["memberCount"], begun["status"]) == ("readers;writers", 2, 1)
    sandbox.advance(1)
    assert task()["info"]["data"]["status"] == 2
    assert task(maillistTaskId="1")["statusCode"] == 400
    assert sandbox.summary(NAME)["messages"] == {"queued": 2}


# Repetitions, limits, quotas


@pytest.mark.usefixtures("still")
def test_a_repetition_within_the_hour_is_answered_and_not_sent(sandbox: SandboxServer) -> None:
    first = mail(sandbox, sendRequestId="dsp_1")
    sandbox.advance(3599)
    again = mail(sandbox, sendRequestId="dsp_1", subject="Other")
    assert again.body == first.body
    assert template(sandbox, sendRequestId="dsp_1").body == first.body
    assert (
        ask(sandbox, "/mail/send", KEYS | {"api_user": "other"} | MAIL | {"sendRequestId": "dsp_1"}).body != first.body
    )
    sandbox.advance(1)
    assert mail(sandbox, sendRequestId="dsp_1").id != first.id
    assert [entry.accepted for entry in sandbox.ledger(NAME)] == [True, False, False, True, True]


def test_a_failure_does_not_occupy_its_id(sandbox: SandboxServer) -> None:
    assert mail(sandbox, sendRequestId="dsp_1", subject="").code == 40808
    assert mail(sandbox, sendRequestId="dsp_1").code == 200
    try:
        sandbox.settings(NAME, {"sms": {"refused": ["*"]}})
        assert sms(sandbox, sendRequestId="dsp_1").code == 312
    finally:
        sandbox.settings(NAME, {"sms": None})
    assert sms(sandbox, sendRequestId="dsp_1").code == 200


@pytest.mark.usefixtures("still")
def test_too_many_are_told_so_with_a_lower_case_c() -> None:
    limits = {"mail": "2/minute", "status": "1/minute", "sms": "1/minute"}
    with SandboxServer({NAME: STILL | {"ratelimit": PLENTY | limits}}) as sandbox:
        assert [mail(sandbox).code for _ in range(3)] == [200, 200, 50000]
        assert [status(sandbox).code for _ in range(2)] == [200, 50000]
        assert [sms(sandbox).code for _ in range(2)] == [200, 50000]
        answer = mail(sandbox)
        assert answer.status == 200
        assert answer.json == {
            "result": False, "statuscode": 50000, "message": "interface frequency limited", "info": {},
        }  # fmt: skip
        assert "Retry-After" not in answer.headers
        sandbox.advance(60)
        assert mail(sandbox).code == 200


@pytest.mark.usefixtures("still")
def test_the_days_quota_and_the_balances_run_out_and_can_be_filled() -> None:
    with SandboxServer({NAME: STILL | {"account": {"daily_quota": 3}}}) as sandbox:
        assert [mail(sandbox, to=to).code for to in (f"{ANA};ben@example.org", f"{ANA};b@c.org", ANA, ANA)] == [
            200, 40913, 200, 40913,
        ]  # fmt: skip
        read = ask(sandbox, "/api/userinfo/get", KEYS).json["info"]["data"]
        assert (read["quota"], read["todayUsedQuota"]) == (3, 3)
        sandbox.advance(86_400)
        assert mail(sandbox).code == 200
        sandbox.settings(NAME, {"account": {"daily_quota": None, "mail_balance": 4, "sms_balance": 1}})
        assert mail(sandbox).code == 40912
        assert [sms(sandbox).code for _ in range(2)] == [200, 499]
        sandbox.settings(NAME, {"account": {"mail_balance": 5, "sms_balance": 2}})
        assert (mail(sandbox).code, sms(sandbox).code) == (200, 200)


def test_faults_speak_as_the_provider_does(sandbox: SandboxServer) -> None:
    sandbox.fault(NAME, "status", count=1, status=503)
    sandbox.fault(NAME, "status", count=1, status=200, code="40901")
    sandbox.fault(NAME, "status", count=1, status=200, code="50000")
    try:
        down, failed, busy = mail(sandbox), mail(sandbox), mail(sandbox)
    finally:
        sandbox.clear_faults(NAME)

    assert (down.status, down.code, "info" in down.json) == (503, 503, False)
    assert (failed.status, failed.code, failed.json["result"]) == (200, 40901, False)
    assert busy.json["statuscode"] == 50000


def test_a_restarted_sandbox_still_knows_what_it_took(tmp_path: Any) -> None:
    file = tmp_path / "ledger"
    with SandboxServer({NAME: STILL}, ledger_file=file) as sandbox:
        first, text = mail(sandbox, sendRequestId="a"), sms(sandbox, sendRequestId="b")
    with SandboxServer({NAME: STILL}, ledger_file=file) as sandbox:
        assert (mail(sandbox, sendRequestId="a").id, sms(sandbox, sendRequestId="b").id) == (first.id, text.id)
        assert sandbox.summary(NAME)["messages"] == {"queued": 2}
        assert status(sandbox, emailIds=first.id).json["info"]["total"] == "1"

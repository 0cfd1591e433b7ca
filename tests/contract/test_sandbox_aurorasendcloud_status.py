"""The sandbox as AuroraSendCloud's delivery status query: what it finds, how it prints it, its cache and its rules."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from sandbox import SandboxServer
from tests.contract.aurorasendcloud_support import (
    KEYS,
    NAME,
    PLENTY,
    STILL,
    ask,
    mail,
    status,
)
from tests.contract.sandbox_support import wait_until


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer({NAME: STILL}) as server:
        yield server


def test_the_status_query_finds_mails_and_prints_them_as_documented() -> None:
    life = {"sent_after": 0, "delivered_after": 5, "read_share": 0, "outcomes": {"bad*": "failed", "soft*": "failed"}}
    failures = {"soft*": 503, "bad*": 404}
    with SandboxServer({NAME: {"ratelimit": PLENTY, "lifecycle": life, "mail_failures": failures}}) as sandbox:
        good = mail(sandbox, labelName="orders").id
        bad, soft = mail(sandbox, to="bad@example.org").id, mail(sandbox, to="soft@example.org").id
        sandbox.advance(10)
        wait_until(lambda: sandbox.summary(NAME)["messages"].get("failed") == 2, "both have failed")
        info = status(sandbox, emailIds=f"{good};{bad};{soft};unknown").json["info"]
        assert (info["total"], info["voListSize"]) == ("3", 3)
        assert [(it["emailId"], it["status"], it["subStatus"]) for it in info["voList"]] == [
            (good, "delivered", 0), (bad, "invalid", 404), (soft, "soft_bounce", 503),
        ]  # fmt: skip
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", info["voList"][0]["requestTime"])
        queries = [({"email": "bad@example.org"}, 1), ({"labelName": "orders"}, 1), ({"status": "5"}, 1),
                   ({"subStatus": "404;503"}, 2), ({"start": "1"}, 2), ({"limit": "1"}, 1), ({"apiUserList": "x"}, 0),
                   ({"labelId": "1"}, 1), ({"labelId": "1", "labelName": "other"}, 1), ({"labelId": "2"}, 0),
                   ({"emailIds": good, "api_user": "other"}, 0)]  # fmt: skip
        for fields, count in queries:
            assert status(sandbox, **fields).json["info"]["voListSize"] == count, fields


@pytest.mark.usefixtures("still")
def test_an_answer_is_cached_for_ten_minutes() -> None:
    life = {"sent_after": 0, "delivered_after": 5, "read_share": 0}
    with SandboxServer({NAME: {"lifecycle": life}}) as sandbox:
        one = mail(sandbox).id
        asked = status(sandbox, emailIds=one)
        assert asked.json["info"]["voList"][0]["status"] == "sending"
        sandbox.advance(599)
        assert status(sandbox, emailIds=one).body == asked.body
        sandbox.advance(1)
        assert status(sandbox, emailIds=one).json["info"]["voList"][0]["status"] == "delivered"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"days": "1"}, 200),
        ({"days": "0"}, 40006),
        ({"days": "x"}, 40006),
        ({"days": "4"}, 40006),
        ({"days": ""}, 40007),
        ({"days": "", "startDate": "2026-04-11", "endDate": "2026-04-13"}, 200),
        ({"days": "", "startDate": "2026-04-10", "endDate": "2026-04-13"}, 40007),
        ({"days": "", "startDate": "2026-04-14", "endDate": "2026-04-13"}, 40007),
        ({"days": "", "startDate": "20260413", "endDate": "2026-04-13"}, 40007),
        ({"days": "", "startDate": "2026-04-13", "endDate": "2026-02-30"}, 40008),
        ({"limit": "101"}, 40004),
        ({"limit": "x"}, 40004),
        ({"start": "-1"}, 40002),
        ({"page": "1"}, 400),
    ],
)
def test_each_rule_of_the_status_query_has_its_code(sandbox: SandboxServer, fields: dict[str, str], code: int) -> None:
    assert status(sandbox, **fields).code == code


def test_queries_may_be_asked_with_get(sandbox: SandboxServer) -> None:
    assert ask(sandbox, f"/api/data/emailStatus?{urlencode(KEYS | {'days': '1'})}", method="GET").code == 200

"""AuroraSendCloud's questions: where mails stand and what is left, asked of the sandbox over real HTTP."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import pytest

from paceline.capabilities import Call, Capabilities, check_call
from paceline.errors import InvalidMessage
from paceline.messages import Email
from providers import registry
from providers.base import Account, Done, Job, Misconfigured, Refused, Response, Scope, Submission, Throttled, Unknown
from sandbox import SandboxServer
from tests.contract.aurorasendcloud_support import ANA, NAME, STILL
from tests.contract.test_aurorasendcloud_live import account, send

PROVIDER = registry.get("aurorasendcloud-email")
QUERY, QUOTA = PROVIDER.operations["mail_status"], PROVIDER.operations["quota"]
OFFERED = Capabilities({}, calls={"mail_status": Call(QUERY.arguments)})
GIVEN = Account("main", PROVIDER.base_url, {"api_user": "acme_api", "api_key": "k_demo"}, {})


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer({NAME: STILL | {"account": {"daily_quota": 9}}}) as server:
        yield server


def checked(arguments: Mapping[str, Any]) -> None:
    check_call(OFFERED, "main", "mail_status", arguments)
    QUERY.check(GIVEN, arguments)


def asked(sandbox: SandboxServer, operation: Any, arguments: Mapping[str, Any]) -> Any:
    own, job = account(PROVIDER, sandbox), Job("job", arguments)
    return operation.read(own, job, send(operation.build(own, job)))


def test_where_mails_stand_is_told_with_times_in_unix_seconds(sandbox: SandboxServer) -> None:
    own = account(PROVIDER, sandbox)
    mail = Email(ANA, "Hi", text="Hi")
    outcome: Any = PROVIDER.parse_response(own, send(PROVIDER.build_request(own, Submission("id", mail))))
    [entry] = sandbox.ledger(NAME)

    found = asked(sandbox, QUERY, {"email": ANA, "days": 1, "limit": 10, "start": 0, "status": "18"})

    at = float(int(entry.at))
    told = {"id": outcome.provider_message_id, "to": ANA, "status": "sending", "sub_status": 0}
    assert found == Done({"total": 1, "mails": [told | {"requested_at": at, "modified_at": at}]})
    assert asked(sandbox, QUERY, {"email": "ben@example.org", "days": 1}) == Done({"total": 0, "mails": []})


def test_what_is_left_of_the_day_is_told(sandbox: SandboxServer) -> None:
    assert asked(sandbox, QUOTA, {}) == Done({"quota": 9, "used_today": 0})


def test_a_question_is_a_form_at_a_path_that_is_a_setting() -> None:
    arguments = {"emailIds": "a;b", "startDate": "2026-04-11", "endDate": "2026-04-13", "subStatus": "404;406"}
    arguments |= {"labelId": "7", "apiUserList": "acme_api;other"}
    moved = Account("main", PROVIDER.base_url, GIVEN.credentials, {"paths.emailStatus": "/s", "paths.userinfo": "/u"})

    request = QUERY.build(moved, Job("job", arguments))

    assert (request.method, request.url) == ("POST", "https://api.aurorasendcloud.com/s")
    assert dict(parse_qsl(request.body.decode())) == {"apiUser": "acme_api", "apiKey": "k_demo"} | arguments
    assert QUOTA.build(moved, Job("job", {})).url == "https://api.aurorasendcloud.com/u"
    assert (QUERY.lane_class, QUERY.fresh_for, QUOTA.lane_class) == ("status", 600.0, "status")


@pytest.mark.parametrize(
    "arguments",
    [
        {"days": 3},
        {"days": 3, "labelId": "7", "apiUserList": "acme_api;other"},
        {"days": 1, "email": ANA, "labelName": "x" * 255, "start": 0, "limit": 100},
        {"startDate": "2026-02-27", "endDate": "2026-03-01"},
    ],
)
def test_what_the_reference_allows_can_be_asked(arguments: dict[str, Any]) -> None:
    checked(arguments)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({}, "days: or startDate and endDate are required"),
        ({"startDate": "2026-04-13"}, "days: or startDate and endDate are required"),
        ({"days": 4}, "days: must be at most 3"),
        ({"days": 0}, "days: must be at least 1"),
        ({"days": 1.5}, "days: must be a whole number"),
        ({"days": 1, "endDate": "2026-04-13"}, "endDate: goes without days"),
        ({"startDate": "2026-04-10", "endDate": "2026-04-13"}, "endDate: must be startDate or at most 2 days later"),
        ({"startDate": "2026-04-14", "endDate": "2026-04-13"}, "endDate: must be startDate or at most 2 days later"),
        ({"startDate": "2026-02-30", "endDate": "2026-03-01"}, "startDate: and endDate must be days that there are"),
        ({"startDate": "13.4.2026", "endDate": "2026-03-01"}, "startDate: must be a day such as 2026-04-13"),
        ({"days": 1, "limit": 101}, "limit: must be at most 100"),
        ({"days": 1, "email": "ana"}, "email: must be an e-mail address"),
        ({"days": 1, "status": "2"}, "status: must be one of 1, 4, 5, 18"),
        ({"days": 1, "labelId": "orders"}, "labelId: must be the number of a label"),
        ({"days": 1, "subStatus": "4"}, "subStatus: must be sub-statuses"),
    ],
)
def test_what_it_forbids_is_refused_at_the_door(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        checked(arguments)

    assert str(refused.value).startswith(rule)


def answer(body: object, status: int = 200) -> Response:
    return Response(status, {}, json.dumps(body).encode(), 1_776_090_600.0)


def test_refusals_are_those_of_a_send_and_other_answers_are_not_understood() -> None:
    for operation in (QUERY, QUOTA):
        assert operation.read(GIVEN, Job("job", {}), answer({"result": False, "statuscode": 50000})) == Throttled(
            None, "50000"
        )
        refused = operation.read(GIVEN, Job("job", {}), answer({"result": False, "statusCode": 40006}))
        assert refused == Refused("40006 days not a positive integer", "40006")
        denied = operation.read(GIVEN, Job("job", {}), answer({"result": False, "statusCode": 6001}))
        assert isinstance(denied, Misconfigured)
        assert denied.scope is Scope.LANE
        strange: list[object] = [[], {"result": True}, {"result": True, "info": {"voList": {}, "data": []}}]
        for body in strange:
            assert operation.read(GIVEN, Job("job", {}), answer(body)) == Unknown("unreadable_answer")
    assert isinstance(QUERY.read(GIVEN, Job("job", {}), answer([], 502)), Unknown)


def test_what_is_not_as_documented_is_left_out() -> None:
    item = {"emailId": 7, "status": f"{ANA} is gone!", "subStatus": "x", "requestTime": "soon", "modifiedTime": None}
    strange = {"result": True, "info": {"total": "many", "voList": [item, "x"]}}

    empty = {"id": "", "to": "", "status": "", "sub_status": None, "requested_at": None, "modified_at": None}
    assert QUERY.read(GIVEN, Job("job", {}), answer(strange)) == Done({"total": None, "mails": [empty]})


@pytest.mark.parametrize(("zone", "at"), [("GMT+8", 1_776_061_800.0), ("GMT+0", 1_776_090_600.0)])
def test_bare_times_are_read_in_the_zone_of_the_setting(zone: str, at: float) -> None:
    there = Account("main", PROVIDER.base_url, GIVEN.credentials, {"timezone": zone})
    mails = {"result": True, "info": {"total": "1", "voList": [{"requestTime": "2026-04-13 14:30:00"}]}}

    found = QUERY.read(there, Job("job", {}), answer(mails))

    assert isinstance(found, Done)
    assert found.result["mails"][0]["requested_at"] == at

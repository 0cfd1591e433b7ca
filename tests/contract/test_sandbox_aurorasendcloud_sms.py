"""The sandbox as AuroraSendCloud's SMS: every rule with its code, users of its own, numbers one by one."""

import re
from collections.abc import Iterator

import pytest

from sandbox import SandboxServer
from tests.contract.aurorasendcloud_support import (
    KEYS,
    NAME,
    SMS,
    SMS_KEYS,
    STILL,
    ask,
    sms,
)


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer({NAME: STILL}) as server:
        yield server


def test_an_sms_is_answered_with_its_id(sandbox: SandboxServer) -> None:
    answer = sms(sandbox, sendRequestId="dsp_1", customArgs='{"a":"b"}', senderID="ACME")

    assert re.fullmatch(r"\d{13}_\d+_2_29999_\w+\$\+447700900123", answer.id)
    assert answer.json["info"] == {"successCount": 1, "failedCount": 0, "items": [], "smsIds": [answer.id]}
    assert sms(sandbox, sendRequestId="dsp_1").id == answer.id
    [entry, _] = sandbox.ledger(NAME)
    assert (entry.group, entry.recipient, entry.dispatch_id) == ("sms", "+447700900123", "dsp_1")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"smsUser": ""}, 472),
        ({"smsKey": ""}, 40005),
        ({"phone": ""}, 411),
        ({"phone": " 447700900123"}, 412),  # a plus that was not encoded
        ({"phone": "+447700900123;+447700900124"}, 412),
        ({"phone": "+447700900123,+447700900123"}, 413),
        ({"phone": ",".join(f"+4477009{n:05}" for n in range(2000))}, 200),
        ({"phone": ",".join(f"+4477009{n:05}" for n in range(2001))}, 412),
        ({"templateId": ""}, 433),
        ({"templateId": "1"}, 431),
        ({"templateId": "2"}, 432),
        ({"vars": ""}, 441),
        ({"vars": "[]"}, 441),
        ({"vars": '{"code":1}'}, 441),
        ({"vars": '{"code":"' + "x" * 32 + '"}'}, 200),
        ({"vars": '{"code":"' + "x" * 33 + '"}'}, 483),
        ({"senderID": "AC"}, 400),
        ({"sendRequestId": "x" * 129}, 400),
        ({"customArgs": '{"a":"' + "x" * 121 + '"}'}, 400),
        ({"customArgs": "x"}, 400),
        ({"timestamp": "1"}, 461),
        ({"to": "+447700900123"}, 400),
    ],
)
def test_each_rule_of_an_sms_has_its_code(fields: dict[str, str], code: int) -> None:
    templates = {"29999": {"variables": ["code"]}, "2": {"stat": 0}}
    with SandboxServer({NAME: STILL | {"sms_templates": templates}}) as sandbox:
        assert sms(sandbox, **fields).code == code


def test_sms_has_one_address_and_users_of_its_own() -> None:
    with SandboxServer({NAME: STILL | {"sms_users": {"acme_sms": {"key": "k_demo"}}}}) as sandbox:
        assert ask(sandbox, "/sg/smsapi/send", SMS_KEYS | SMS).code == 200
        assert ask(sandbox, "/us/smsapi/send", SMS_KEYS | SMS).status == 404
        assert ask(sandbox, "/smsapi/send", KEYS | SMS).code == 472
        assert sms(sandbox, smsUser="other").code == 471
        assert sms(sandbox, smsKey="wrong").code == 40005


@pytest.mark.usefixtures("still")
def test_numbers_are_judged_one_by_one_and_counted_by_minute_and_day() -> None:
    rules = {"refused": ["+44*"], "per_minute": 2, "per_day": 3}
    with SandboxServer({NAME: STILL | {"sms": rules}}) as sandbox:
        assert sms(sandbox).code == 312
        both = sms(sandbox, phone="+447700900123,+33612345678")
        assert (both.code, both.json["result"], len(both.json["info"]["items"])) == (311, True, 1)
        french = {"phone": "+33612345678"}
        assert [sms(sandbox, **french).code for _ in range(2)] == [200, 496]
        assert sms(sandbox, phone="+33612345679").code == 200
        sandbox.advance(61)
        assert [sms(sandbox, **french).code for _ in range(2)] == [200, 498]
        sandbox.advance(86_400)
        assert sms(sandbox, **french).code == 200


def test_result_may_be_left_out_of_sms_answers() -> None:
    with SandboxServer({NAME: STILL | {"sms": {"states_result": False}}}) as sandbox:
        assert list(sms(sandbox).json) == ["statusCode", "message", "info"]

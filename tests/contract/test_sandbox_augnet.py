"""The sandbox as Augnet: credentials, bodies, parts, senders, rates and errors, row by row of its documentation."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import SandboxServer
from sandbox.model import SettingsError
from tests.contract.augnet_support import API_KEY, OTHER, PROJECT, STILL, TO, basic, bill, callbacks, post, text, words
from tests.contract.sandbox_support import ask, wait_until

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer({"augnet": STILL}) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.clear("augnet")
    return server


# Credentials


def test_the_base_url_is_the_providers_prefix_and_the_path_of_its_own(sandbox: SandboxServer) -> None:
    assert sandbox.base_url("augnet") == sandbox.url + "/augnet/api/v2"


def test_a_good_send_is_answered_with_its_sid(sandbox: SandboxServer) -> None:
    answer = post(sandbox, text())

    assert (answer.status, list(answer.json), answer.headers["Content-Type"]) == (200, ["sid"], "application/json")
    assert UUID.fullmatch(answer.json["sid"])
    [entry] = sandbox.ledger("augnet")
    assert (entry.accepted, entry.recipient, entry.message_id, entry.group) == (True, TO, answer.json["sid"], "send")
    assert entry.key.startswith(PROJECT + ":")
    assert API_KEY not in entry.key


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(PROJECT, ""),
        basic("not-a-uuid"),
        {"Authorization": "Basic " + base64.b64encode(PROJECT.encode()).decode()},
        {"Authorization": basic()["Authorization"].replace("Basic", "Bearer")},
        {"Authorization": basic()["Authorization"].replace("Basic ", "Basic  ")},
        {"Authorization": basic()["Authorization"].replace("Basic ", "")},
        {"Authorization": "Basic ****"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
    ],
)
def test_anything_but_good_credentials_is_unauthorized(sandbox: SandboxServer, headers: dict[str, str]) -> None:
    answer = post(sandbox, text(), headers)

    assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})
    assert sandbox.ledger("augnet")[0].accepted is False


def test_only_listed_projects_are_good_where_projects_are_listed() -> None:
    with SandboxServer({"augnet": {**STILL, "projects": {PROJECT: {"api_key": API_KEY}}}}) as sandbox:
        assert post(sandbox, text()).status == 200
        assert post(sandbox, text(), basic(PROJECT, "another")).status == 401
        assert post(sandbox, text(), basic(OTHER)).status == 401


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/message"), ("POST", "/messages"), ("POST", "/message/"), ("GET", "/message/x")]
)
def test_there_is_one_call_and_no_other(sandbox: SandboxServer, method: str, path: str) -> None:
    answer = ask(sandbox.base_url("augnet"), method, path, text(), key="", headers=basic())

    assert (answer.status, answer.json) == (404, {"message": "Not Found"})


# Bodies


@pytest.mark.parametrize(
    "data",
    [
        text(statusCallback=None) | {"statusCallback": None},
        text(statusCallback="http://127.0.0.1:9/hooks?m=1"),
        text(**{"from": "+441743555010"}),
        text(to="+" + "1" * 15),
        text(body="x" * 10_000),
        text(body="🐢"),
    ],
)
def test_what_the_documentation_allows_is_taken(sandbox: SandboxServer, data: dict[str, Any]) -> None:
    assert post(sandbox, data).status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (text(body=None), 400),
        (text(body=""), 400),
        (text(body=5), 400),
        (text(body=["x"]), 400),
        (text(**{"from": None}), 400),
        (text(**{"from": ""}), 400),
        (text(**{"from": 60300}), 400),
        (text(to=None), 400),
        (text(to=447700900123), 400),
        (text(to="447700900123"), 422),
        (text(to="+44 7700 900123"), 422),
        (text(to="%2B447700900123"), 422),
        (text(to=""), 422),
        (text(statusCallback=5), 400),
        (text(statusCallback="hooks.example.com"), 400),
        (text(statusCallback="ftp://hooks.example.com/"), 400),
        (text(statusCallback="https://"), 400),
        (text(statusCallback="https://user:pass@hooks.example.com/"), 400),
        (text(statusCallback="https://hooks.example.com/a b"), 400),
        (text(statusCallback="https://[::1/"), 400),
        (text(sender="ABCTAXI"), 400),  # a field that nobody documents
        ([], 400),
        (b"{", 400),
        (b"body=Hi&from=A&to=%2B447700900123", 400),
    ],
)
def test_what_it_does_not_is_refused(sandbox: SandboxServer, data: object, status: int) -> None:
    answer = post(sandbox, data)

    assert (answer.status, list(answer.json)) == (status, ["message"])
    assert bill(sandbox) == {}


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_not_read(sandbox: SandboxServer, content_type: str) -> None:
    answer = post(sandbox, text(), {**basic(), "Content-Type": content_type})

    assert (answer.status, list(answer.json)) == (415, ["message"])


def test_undocumented_fields_can_be_ignored_instead() -> None:
    with SandboxServer({"augnet": {**STILL, "unknown_fields": "ignore"}}) as sandbox:
        assert post(sandbox, text(schedule="later")).status == 200


def test_two_identical_posts_are_two_messages_and_two_bills(sandbox: SandboxServer) -> None:
    first, second = (post(sandbox, text()).json["sid"] for _ in range(2))

    assert first != second
    assert bill(sandbox)[PROJECT]["parts"] == 2
    assert sandbox.summary("augnet")["duplicates"]["surplus"] == 1


# Parts and senders


@pytest.mark.parametrize(
    ("segmentation", "body", "parts"),
    [
        ("documented", "x" * 160, 1),
        ("documented", "x" * 161, 2),
        ("documented", "ж" * 320, 2),
        ("gsm0338", "x" * 160, 1),
        ("gsm0338", "x" * 161, 2),
        ("gsm0338", "x" * 307, 3),
        ("gsm0338", "€" * 81, 2),
        ("gsm0338", "x" * 152 + "€" + "x" * 152, 3),
        ("gsm0338", "ж" * 70, 1),
        ("gsm0338", "ж" * 135, 3),
        ("gsm0338", "🐢" * 36, 2),
    ],
)
def test_every_part_is_billed(sandbox: SandboxServer, segmentation: str, body: str, parts: int) -> None:
    sandbox.settings("augnet", {"segmentation": segmentation})
    try:
        assert post(sandbox, text(body=body)).status == 200
    finally:
        sandbox.settings("augnet", {"segmentation": None})

    assert bill(sandbox) == {PROJECT: {"messages": 1, "parts": parts, "replaced": 0, "by_parts": {str(parts): 1}}}


def test_each_project_has_its_own_bill(sandbox: SandboxServer) -> None:
    post(sandbox, text(body="x" * 400))
    post(sandbox, text())
    post(sandbox, text(), basic(OTHER))

    assert {project: (each["messages"], each["parts"]) for project, each in bill(sandbox).items()} == {
        PROJECT: (2, 4),
        OTHER: (1, 1),
    }


def test_a_sender_that_is_not_whitelisted_is_replaced_without_a_word() -> None:
    projects = {PROJECT: {"api_key": API_KEY, "senders": ["+4417*"]}, OTHER: {"api_key": API_KEY}}
    with (
        callbacks() as hooks,
        SandboxServer({"augnet": {**STILL, "senders": ["ABC*"], "projects": projects}}) as sandbox,
    ):
        addressed = {"statusCallback": hooks.url}
        assert post(sandbox, text(**addressed)).status == 200
        assert post(sandbox, text(**{"from": "+441743555010"}, **addressed)).status == 200
        assert post(sandbox, text(**addressed), basic(OTHER)).status == 200
        senders = sorted(str(hook.json["From"]) for hook in hooks.wait_for(3))
        assert senders == ["+441743555010", "ABCTAXI", "infomessage"]
        assert (bill(sandbox)[PROJECT]["replaced"], bill(sandbox)[OTHER]["replaced"]) == (1, 0)


# Rates


def test_no_rate_is_enforced_unless_asked_for(sandbox: SandboxServer) -> None:
    assert [post(sandbox, text()).status for _ in range(15)] == [200] * 15
    [window] = sandbox.summary("augnet")["windows"]
    assert (window["group"], window["limit"], window["requests"]) == ("send", "10/1s", 15)


@pytest.mark.usefixtures("still")
def test_a_limit_is_a_projects_own_and_names_the_wait() -> None:
    limit = {"enforced": True, "send": "2/1h", "window": "sliding"}
    with SandboxServer({"augnet": {**STILL, "ratelimit": limit}}) as sandbox:
        assert [post(sandbox, text()).status for _ in range(2)] == [200, 200]
        over = post(sandbox, text(), basic(api_key="another"))
        assert (over.status, list(over.json)) == (429, ["message"])
        assert post(sandbox, text(), basic(OTHER)).status == 200
        sandbox.advance(int(over.headers["Retry-After"]))
        assert post(sandbox, text()).status == 200
        sandbox.settings("augnet", {"ratelimit": {"send": "1/1s"}})
        post(sandbox, text())
        assert post(sandbox, text()).headers["Retry-After"] == "1"


# Errors


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 415, 422, 429, 500, 502, 503, 504])
def test_every_error_can_be_had_on_request(sandbox: SandboxServer, status: int) -> None:
    sandbox.fault("augnet", kind="status", status=status, count=1)

    answer = post(sandbox, text())

    assert (answer.status, list(answer.json)) == (status, ["message"])
    assert post(sandbox, text()).status == 200
    assert bill(sandbox)[PROJECT]["messages"] == 1


@pytest.mark.parametrize(("form", "written"), [("seconds", "7"), ("http-date", None)])
def test_an_error_can_name_a_wait_in_both_forms(sandbox: SandboxServer, form: str, written: str | None) -> None:
    sandbox.fault("augnet", kind="status", status=429, count=1, retry_after=7, retry_after_form=form)

    named = post(sandbox, text()).headers["Retry-After"]

    assert named == written if written else named.endswith(" GMT")


def test_a_send_can_be_accepted_and_its_answer_lack_the_sid(sandbox: SandboxServer) -> None:
    sandbox.fault("augnet", kind="status", status=200, body={}, accept=True, count=1)

    assert post(sandbox, text()).json == {}
    assert bill(sandbox)[PROJECT]["messages"] == 1


# Restarts and settings


def test_a_new_run_goes_on_with_callbacks_and_bills(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    with callbacks() as hooks:
        settings = {
            "augnet": {"lifecycle": {"sent_after": 0.01, "delivered_after": 3600}, "senders": ["XYZ"]},
        }
        with SandboxServer(settings, ledger_file=file) as first:
            post(first, text(statusCallback=hooks.url, body="x" * 161))
            hooks.wait_for(2)
            assert post(first, {}).status == 400  # a later request: the run is known to have lived that long
            before = bill(first)
        with SandboxServer(settings, ledger_file=file) as second:
            assert bill(second) == before
            second.advance(3600)
            told = hooks.wait_for(3)
            wait_until(lambda: second.summary("augnet")["messages"]["delivered"] == 1, "it is delivered")
    assert sorted(words(told)) == ["delivered", "queued", "sent"]
    assert {hook.json["From"] for hook in told} == {"infomessage"}
    assert {hook.json["AccountSid"] for hook in told} == {PROJECT}


@pytest.mark.parametrize(
    "settings",
    [
        {"projects": {"not-a-uuid": {"api_key": "k"}}},
        {"projects": {PROJECT: {}}},
        {"lifecycle": {"outcomes": {"*": "read"}}},
        {"lifecycle": {"read_share": 0.5}},
        {"segmentation": "iso"},
        {"signing_key_encoding": "hex"},  # the default key is not
        {"signing_key_encoding": "base64", "webhook": {"secret": "?"}},
        {"webhook": {"url": "ftp://a"}},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="augnet"):
        SandboxServer({"augnet": settings})

"""The sandbox as Political Comms: lists, media, repetition, the states of projects, and webhooks."""

import hashlib
import hmac
import http.server
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_politicalcomms_support import (
    BRAND,
    CSV,
    FREE,
    IMPORT,
    KEY,
    MEDIA,
    PROJECT,
    SCHEDULE,
    SETTINGS,
    call,
    code,
    good,
    project,
    ready_list,
)
from tests.contract.sandbox_support import Receiver, receiver, wait_until

pytestmark = pytest.mark.usefixtures("still")  # what takes a while is over when the test says so


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer({"politicalcomms": FREE}) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.settings("politicalcomms", dict.fromkeys(SETTINGS))
    server.settings("politicalcomms", {"imports": FREE["imports"]})
    server.clear("politicalcomms")
    return server


# Lists and media


def test_a_list_is_read_as_the_reference_says(sandbox: SandboxServer) -> None:
    begun = good(call(sandbox, "POST", "/contact-lists/import", IMPORT), 202)
    assert begun["status"] == "processing"
    early = good(call(sandbox, "GET", f"/contact-lists/{begun['list_id']}"))
    assert (early["import"]["status"], early["import"]["total_contacts"]) == ("processing", None)

    sandbox.advance(2)

    found = good(call(sandbox, "GET", f"/contact-lists/{begun['list_id']}"))
    counts = {name: found["import"][f"{name}_count"] for name in ("duplicate", "bad_number", "opted_out")}
    assert (found["import"]["total_contacts"], found["import"]["clean_contacts"]) == (4, 2)
    assert counts == {"duplicate": 1, "bad_number": 1, "opted_out": 0}
    assert found["available_merge_tags"] == ["first_name", "shoe_size"]
    original = call(sandbox, "GET", f"/contact-lists/{begun['list_id']}/download?type=original")
    assert original.headers["Content-Type"] == "text/csv"
    assert original.body.decode() == CSV


def test_with_merge_tags_exactly_those_columns_have_tags(sandbox: SandboxServer) -> None:
    tags = {"first_name": "First Name", "custom_fields": [{"csv_column": "Shoe size", "merge_tag": "size"}]}
    begun = good(call(sandbox, "POST", "/contact-lists/import", IMPORT | {"merge_tags": tags}), 202)
    sandbox.advance(2)

    assert good(call(sandbox, "GET", f"/contact-lists/{begun['list_id']}"))["available_merge_tags"] == [
        "first_name",
        "size",
    ]


@contextmanager
def files(content: bytes) -> Iterator[str]:
    """Serves one file over HTTP."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/a.csv"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def imported(sandbox: SandboxServer, body: Mapping[str, Any]) -> Any:
    begun = good(call(sandbox, "POST", "/contact-lists/import", body), 202)
    sandbox.advance(2)
    path = f"/contact-lists/{begun['list_id']}"
    wait_until(lambda: good(call(sandbox, "GET", path))["import"]["status"] != "processing", "the import ends")
    return good(call(sandbox, "GET", path))["import"]


def test_a_file_is_fetched_over_http(sandbox: SandboxServer) -> None:
    with files(CSV.encode()) as url:
        assert imported(sandbox, IMPORT | {"source_url": url})["clean_contacts"] == 2
        sandbox.settings("politicalcomms", {"imports": {"max_bytes": 20}})
        assert imported(sandbox, IMPORT | {"source_url": url})["status"] == "failed"


def test_what_cannot_be_fetched_fails_or_is_made_up(sandbox: SandboxServer) -> None:
    nowhere = IMPORT | {"source_url": "http://127.0.0.1:9/a.csv", "phone_column": "cell"}

    assert imported(sandbox, nowhere)["status"] == "failed"
    sandbox.settings("politicalcomms", {"imports": {"unreachable_rows": 7}})
    assert imported(sandbox, nowhere)["clean_contacts"] == 7


@pytest.mark.parametrize("wrong", [{"phone_column": "mobile"}, {"merge_tags": {"zip": "ZIP"}}])
def test_a_file_without_the_columns_fails(sandbox: SandboxServer, wrong: dict[str, Any]) -> None:
    assert imported(sandbox, IMPORT | wrong)["status"] == "failed"


def test_too_many_rows_fail(sandbox: SandboxServer) -> None:
    sandbox.settings("politicalcomms", {"imports": {"max_rows": 3}})

    assert imported(sandbox, IMPORT)["status"] == "failed"


def test_an_analysis_is_charged_once_and_blocks_projects_meanwhile(sandbox: SandboxServer) -> None:
    id_ = ready_list(sandbox)
    path = f"/contact-lists/{id_}"
    assert code(call(sandbox, "GET", f"{path}/download?type=analyzed")) == (409, "ANALYSIS_NOT_COMPLETE")
    ordered = good(call(sandbox, "POST", f"{path}/analyze"), 202)
    assert (ordered["cost_cents"], ordered["analysis"]["numbers_queued"]) == (1.0, 2)
    assert good(call(sandbox, "POST", f"{path}/analyze"), 202)["cost_cents"] == 0
    body = PROJECT | {"contact_list_ids": [id_]}
    assert code(call(sandbox, "POST", "/projects", body, again="k")) == (409, "LIST_ANALYSIS_IN_PROGRESS")

    sandbox.advance(2)

    assert good(call(sandbox, "POST", f"{path}/analyze"))["cost_cents"] == 0
    assert good(call(sandbox, "GET", path))["analysis"]["breakdown"]["mobile"] == 2
    assert call(sandbox, "GET", f"{path}/download?type=analyzed").body.splitlines()[0].endswith(b"line_type")
    good(call(sandbox, "POST", "/projects", body, again="k"), 201)  # a refusal that passes is not kept


def test_media_are_optimised_while_others_wait(sandbox: SandboxServer) -> None:
    made = good(call(sandbox, "POST", "/media", MEDIA | {"name": "hero"}), 202)
    assert (made["status"], made["file_size_bytes"]) == ("optimizing", 0)
    assert good(call(sandbox, "GET", f"/media/{made['media_id']}"))["url"] is None
    project_id = project(sandbox)
    change = {"media_ids": [made["media_id"]]}
    sandbox.settings("politicalcomms", {"media": {"seconds": 100}})
    slow = good(call(sandbox, "POST", "/media", MEDIA), 202)["media_id"]
    assert code(call(sandbox, "PATCH", f"/projects/{project_id}", {"media_ids": [slow]})) == (400, "VALIDATION_ERROR")

    assert good(call(sandbox, "GET", f"/media/{made['media_id']}"))["url"].startswith("https://")
    good(call(sandbox, "PATCH", f"/projects/{project_id}", change))
    assert code(call(sandbox, "DELETE", f"/media/{made['media_id']}")) == (409, "MEDIA_IN_USE")
    assert good(call(sandbox, "DELETE", f"/media/{slow}"))["deleted"] is True
    wrong = MEDIA | {"usage": "email_asset", "brand_id": BRAND}
    assert code(call(sandbox, "POST", "/media", wrong)) == (400, "VALIDATION_ERROR")


# Repetition


def test_the_same_key_replays_the_original_answer(sandbox: SandboxServer) -> None:
    body = {"text": "Polls are open."}
    path, key = "/conversations/conv_sandbox1/messages", str(uuid.uuid4())
    first = call(sandbox, "POST", path, body, again=key)
    again = call(sandbox, "POST", path, body, again=key)

    assert (again.status, again.body) == (202, first.body)
    assert again.headers["Idempotent-Replay"] == "true"
    assert "Idempotent-Replay" not in first.headers
    assert [entry.accepted for entry in sandbox.ledger("politicalcomms")] == [True, False]
    assert code(call(sandbox, "POST", path, {"text": "Other"}, again=key)) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (
        good(call(sandbox, "POST", path, body, again=key + "x"), 202)["message_id"] != first.json["data"]["message_id"]
    )
    sandbox.advance(86_401)
    assert good(call(sandbox, "POST", path, body, again=key), 202)["message_id"] != first.json["data"]["message_id"]
    assert code(call(sandbox, "POST", path, body, again="x" * 256)) == (400, "VALIDATION_ERROR")


def test_definitive_refusals_are_replayed_and_passing_ones_are_not(sandbox: SandboxServer) -> None:
    path = "/conversations/conv_sandbox1/messages"
    wrong = call(sandbox, "POST", path, {"text": ""}, again="a")
    assert call(sandbox, "POST", path, {"text": ""}, again="a").headers["Idempotent-Replay"] == "true"
    assert wrong.status == 400
    for settings in ({"balance_cents": 0}, {"sending_paused": "platform"}, {"keys": {KEY: {"write": False}}}):
        sandbox.settings("politicalcomms", settings)
        assert call(sandbox, "POST", path, {"text": "Hi"}, again="b").status in (402, 403, 409)
        sandbox.settings("politicalcomms", dict.fromkeys(settings))
    good(call(sandbox, "POST", path, {"text": "Hi"}, again="b"), 202)


def test_an_answer_that_was_lost_is_replayed(sandbox: SandboxServer) -> None:
    path, body = "/conversations/conv_sandbox1/messages", {"text": "Hi"}
    sandbox.fault("politicalcomms", "status", status=500, accept=True, count=1)

    assert call(sandbox, "POST", path, body, again="k").status == 500
    good(call(sandbox, "POST", path, body, again="k"), 202)

    assert sum(entry.accepted for entry in sandbox.ledger("politicalcomms")) == 1


# Projects and webhooks


def test_the_states_of_a_project(sandbox: SandboxServer) -> None:
    id_ = project(sandbox)
    path = f"/projects/{id_}"
    later = SCHEDULE | {"scheduled_at": "2126-01-01T09:00:00-05:00"}

    def status() -> str:
        return str(good(call(sandbox, "GET", path))["status"])

    assert status() == "draft"
    assert code(call(sandbox, "POST", f"{path}/pause")) == (409, "CONFLICT")
    good(call(sandbox, "POST", f"{path}/test", {"test_contacts": [{"phone": "+15555550100"}]}), 202)
    assert status() == "awaiting_test"
    good(call(sandbox, "POST", f"{path}/schedule", later))
    assert code(call(sandbox, "PATCH", path, {"name": "x"})) == (409, "CONFLICT")
    assert good(call(sandbox, "POST", f"{path}/unschedule"))["status"] == "draft"
    good(call(sandbox, "POST", f"{path}/schedule", later))
    assert good(call(sandbox, "POST", f"{path}/pause", {"reason": "rain"}))["pause_reason"] == "rain"
    assert good(call(sandbox, "POST", f"{path}/pause", {"reason": "snow"}))["pause_reason"] == "rain"
    good(call(sandbox, "POST", f"{path}/schedule", SCHEDULE))
    sandbox.advance(60)
    assert status() == "completed"
    assert code(call(sandbox, "POST", f"{path}/schedule", SCHEDULE)) == (409, "CONFLICT")
    assert good(call(sandbox, "POST", f"{path}/copy"), 201)["name"] == "Spring_v2"


@pytest.fixture
def hooks(sandbox: SandboxServer) -> Iterator[Receiver]:
    with receiver() as kept:
        sandbox.settings("politicalcomms", {"webhook": {"url": kept.url, "secret": "s3cret"}})
        yield kept
        sandbox.settings("politicalcomms", {"webhook": None, "lifecycle": None, "audience": None})


def test_every_recipient_is_simulated_and_told_of(sandbox: SandboxServer, hooks: Receiver) -> None:
    outcomes = {"outcomes": {"+15555550102": "failed"}}
    sandbox.settings("politicalcomms", {"lifecycle": outcomes, "audience": {"opt_outs": 1.0, "clicks": 1.0}})
    id_ = project(sandbox)
    good(call(sandbox, "POST", f"/projects/{id_}/schedule", SCHEDULE))
    sandbox.advance(60)

    came = hooks.wait_until(lambda found: {"message.delivered", "message.failed", "message.replied", "link.clicked"}
                            <= {hook.json["event_type"] for hook in found})  # fmt: skip

    by_name = {hook.json["event_type"]: hook for hook in came}
    failed = by_name["message.failed"].json["data"]
    assert (failed["error_code"], failed["to"], failed["project_id"]) == ("012", "+15555550102", id_)
    assert by_name["message.replied"].json["data"]["text"] == "STOP"
    assert by_name["message.replied"].json["data"]["from"] == "+15555550101"
    for hook in came:
        expected = "sha256=" + hmac.new(b"s3cret", hook.body, hashlib.sha256).hexdigest()
        assert hook.headers["X-Webhook-Signature"] == expected
        assert hook.headers["X-Event-Type"] == hook.json["event_type"]
        assert hook.headers["X-Event-ID"] == hook.json["event_id"]
        assert abs(int(hook.headers["X-Timestamp"]) - hook.at) < 1e6
    metrics = good(call(sandbox, "GET", f"/projects/{id_}/stats"))["metrics"]
    assert (metrics["delivered"], metrics["undeliverable"], metrics["opt_outs"]) == (1, 1, 1)
    # Who opted out is in no audience any more.
    again = good(call(sandbox, "POST", f"/projects/{project(sandbox)}/schedule", SCHEDULE))
    sandbox.advance(60)
    assert good(call(sandbox, "GET", f"/projects/{again['project_id']}/stats"))["metrics"]["sent"] <= 1


def test_another_keys_events_go_to_its_own_endpoint(sandbox: SandboxServer, hooks: Receiver) -> None:
    """Given a second key with an endpoint of its own, when each key's project sends, then each hears of its own."""
    other = KEY[:-1] + "1"
    with receiver() as second:
        own = {"url": second.url, "secret": "another"}
        sandbox.settings("politicalcomms", {"webhook": {"endpoints": {other: own}}})
        for key, where in ((KEY, hooks), (other, second)):
            made = project(sandbox, key=key)
            good(call(sandbox, "POST", f"/projects/{made}/schedule", SCHEDULE, key=key))
            sandbox.advance(60)
            came = where.wait_until(lambda found: any(hook.json["event_type"] == "message.sent" for hook in found))
            assert {hook.json["data"]["project_id"] for hook in came} == {made}


def test_an_analysis_is_told_of(sandbox: SandboxServer, hooks: Receiver) -> None:
    id_ = ready_list(sandbox)
    good(call(sandbox, "POST", f"/contact-lists/{id_}/analyze"), 202)
    sandbox.advance(2)

    [hook] = hooks.wait_for(1)
    assert (hook.json["event_type"], hook.json["data"]["list_id"]) == ("contact_list.analyzed", id_)


def test_without_money_a_project_pauses_and_can_go_on(sandbox: SandboxServer) -> None:
    id_ = project(sandbox)
    sandbox.settings("politicalcomms", {"balance_cents": 2, "prices": {"sms": 1.0}, "sending": {"per_second": 10}})
    good(call(sandbox, "POST", f"/projects/{id_}/schedule", SCHEDULE))
    sandbox.settings("politicalcomms", {"balance_cents": 0, "sending": None})
    sandbox.advance(60)

    found = good(call(sandbox, "GET", f"/projects/{id_}"))
    assert (found["status"], found["auto_paused"]) == ("paused", True)
    assert found["pause_reason"] == "insufficient_funds_auto_recharge_failed"
    assert code(call(sandbox, "POST", f"/projects/{id_}/schedule", SCHEDULE)) == (402, "INSUFFICIENT_BALANCE")
    sandbox.settings("politicalcomms", {"balance_cents": 100})
    good(call(sandbox, "POST", f"/projects/{id_}/schedule", SCHEDULE))
    sandbox.advance(60)
    assert good(call(sandbox, "GET", f"/projects/{id_}"))["status"] == "completed"

"""The control API over HTTP: everything that tests in the same process can do, another process can do too."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import SandboxServer
from sandbox.registry import PROVIDERS
from tests.contract.sandbox_support import ANA, Answered, ask, receiver, text


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


def control(sandbox: SandboxServer, method: str, path: str, data: object = None) -> Answered:
    return ask(sandbox.url + "/_control", method, path, data, key="")


def send(sandbox: SandboxServer, **more: Any) -> Answered:
    return ask(sandbox.base_url("aurogy"), "POST", "/messages/text", text(**more))


def test_it_says_which_providers_there_are_and_what_time_it_is(still: float, sandbox: SandboxServer) -> None:
    answer = control(sandbox, "GET", "").json
    assert answer["providers"] == list(PROVIDERS)
    assert answer["now"] == still


def test_the_ledger_is_read_in_pages_and_forgotten(sandbox: SandboxServer) -> None:
    for number in range(5):
        send(sandbox, metadata={"dispatch_id": f"dsp_{number}"})
    page = control(sandbox, "GET", "/aurogy/ledger?limit=3").json
    assert [entry["dispatch_id"] for entry in page["entries"]] == ["dsp_0", "dsp_1", "dsp_2"]
    assert page["total"] == 5
    assert set(page["entries"][0]) >= {"seq", "at", "monotonic", "provider", "key", "method", "path", "group"}
    rest = control(sandbox, "GET", f"/aurogy/ledger?after={page['entries'][-1]['seq']}").json
    assert [entry["dispatch_id"] for entry in rest["entries"]] == ["dsp_3", "dsp_4"]

    assert control(sandbox, "DELETE", "/aurogy/ledger").status == 200
    assert control(sandbox, "GET", "/aurogy/ledger").json == {"entries": [], "total": 0}


def test_the_summary_counts(sandbox: SandboxServer) -> None:
    send(sandbox)
    send(sandbox, to="auro_usr_unknown")
    summary = control(sandbox, "GET", "/aurogy/summary").json
    assert (summary["requests"], summary["accepted"], summary["statuses"]) == (2, 1, {"200": 1, "400": 1})
    assert sum(summary["messages"].values()) == 1


def test_settings_are_read_and_changed_in_part(sandbox: SandboxServer) -> None:
    before = control(sandbox, "GET", "/aurogy/settings").json
    after = control(sandbox, "PUT", "/aurogy/settings", {"ratelimit": {"send": "1/1h", "window": "sliding"}}).json
    assert after == before | {"ratelimit": before["ratelimit"] | {"send": "1/3600s", "window": "sliding"}}
    assert [send(sandbox).status for _ in range(2)] == [200, 429]


def test_bodies_are_kept_when_asked_for(sandbox: SandboxServer) -> None:
    control(sandbox, "PUT", "/aurogy/settings", {"keep_bodies": True})
    send(sandbox)
    assert '"text": "Parcel 7719' in control(sandbox, "GET", "/aurogy/ledger").json["entries"][0]["body"]


def test_faults_are_switched_on_listed_and_switched_off(sandbox: SandboxServer) -> None:
    first = control(sandbox, "POST", "/aurogy/faults", {"kind": "status", "status": 503}).json["id"]
    second = control(sandbox, "POST", "/aurogy/faults", {"kind": "status", "status": 500}).json["id"]
    assert send(sandbox).status == 503
    assert control(sandbox, "DELETE", f"/aurogy/faults/{first}").status == 200
    assert send(sandbox).status == 500
    listed = control(sandbox, "GET", "/aurogy/faults").json["faults"]
    assert [(item["id"], item["struck"], item["fault"]["status"]) for item in listed] == [(second, 1, 500)]
    control(sandbox, "DELETE", "/aurogy/faults")
    assert send(sandbox).status == 200


def test_events_are_injected_and_attempts_shown(sandbox: SandboxServer) -> None:
    with receiver() as hooks:
        control(sandbox, "PUT", "/aurogy/settings", {"webhook": {"url": hooks.url}})
        event = {"event": "conversation.started", "data": {"from": ANA}}
        body = control(sandbox, "POST", "/aurogy/events", event).json
        assert hooks.wait_for(1)[0].json == body
        assert set(body["data"]) == {"conversation_id", "from", "timestamp"}
    attempts = control(sandbox, "GET", "/aurogy/webhooks").json["attempts"]
    assert all(set(item) >= {"at", "event", "attempt", "answer", "outcome"} for item in attempts)


def test_the_clock_moves_forward(still: float, sandbox: SandboxServer) -> None:
    send(sandbox)
    assert control(sandbox, "POST", "/clock", {"advance": 86_400}).json["advanced"] == 86_400
    answer = send(sandbox)
    assert int(answer.headers["X-RateLimit-Reset"]) > still + 86_400
    first, second = sandbox.ledger("aurogy")
    assert second.at - first.at == 86_400
    assert second.monotonic - first.monotonic == 86_400


def test_everything_can_be_forgotten_but_the_settings(sandbox: SandboxServer) -> None:
    control(sandbox, "PUT", "/aurogy/settings", {"ratelimit": {"send": "1/1h", "window": "sliding"}})
    sent = send(sandbox).json
    control(sandbox, "POST", "/aurogy/faults", {"kind": "status", "status": 503, "path": "/v1/profile"})
    assert control(sandbox, "DELETE", "/aurogy").status == 200
    base = sandbox.base_url("aurogy")
    assert ask(base, "GET", f"/messages/{sent['id']}").status == 404
    assert ask(base, "GET", "/conversations").json["conversations"] == []
    assert ask(base, "GET", "/profile").status == 200
    assert [send(sandbox).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "sentence"),
    [
        ("GET", "/nobody/ledger", None, 404, "no GET /_control/nobody/ledger"),
        ("GET", "/aurogy/nothing", None, 404, "no GET"),
        ("GET", "/aurogy/ledger/1", None, 404, "no GET"),
        ("DELETE", "/aurogy/faults/99", None, 404, "no fault 99"),
        ("GET", "/aurogy/ledger?after=x", None, 400, "`after` is a whole number"),
        ("POST", "/clock", {"advance": -1}, 400, "must not be negative"),
        ("POST", "/clock", {"hours": 1}, 400, "The clock takes"),
        ("POST", "/aurogy/faults", {"kind": "status"}, 400, "fault.status.status: Field required"),
        ("POST", "/aurogy/faults", b"{", 400, "not JSON"),
        ("PUT", "/aurogy/settings", {"limits": {}}, 400, "aurogy.limits: Extra inputs"),
        ("POST", "/aurogy/events", {"event": "message.received"}, 400, "event.data.from"),
        ("POST", "/aurogy/events", {}, 400, "event.event: Field required"),
    ],
)
def test_what_makes_no_sense_is_answered_with_a_sentence(
    sandbox: SandboxServer, method: str, path: str, data: object, status: int, sentence: str
) -> None:
    answer = control(sandbox, method, path, data)
    assert answer.status == status
    assert sentence in answer.json["error"]


def test_a_path_below_no_provider_is_answered_with_the_providers(sandbox: SandboxServer) -> None:
    answer = ask(sandbox.url, "GET", "/v1/messages/text")
    assert answer.status == 404
    assert answer.json["error"].startswith("Nothing is served here: providers are below /aurogy,")
    assert all(f"/{name}" in answer.json["error"] for name in PROVIDERS)


def test_control_requests_are_no_arrivals(sandbox: SandboxServer) -> None:
    control(sandbox, "GET", "/aurogy/summary")
    assert sandbox.ledger("aurogy") == []

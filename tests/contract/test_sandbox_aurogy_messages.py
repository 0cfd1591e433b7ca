"""The sandbox as Aurogy: texts, media, templates and what becomes of them, row by row of its API reference."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_support import ANA, INSTANT, KEY, MEDIA, STILL, TEMPLATE, ask, get, post, text, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(STILL) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.clear("aurogy")
    return server


def wait_for_status(sandbox: SandboxServer, status: str, count: int) -> None:
    wait_until(lambda: sandbox.summary("aurogy")["messages"].get(status) == count, f"{count} messages are {status}")


# Text


def test_a_text_is_queued(sandbox: SandboxServer) -> None:
    answer = post(sandbox, "text", text(reply_to="msg_x", metadata={"dispatch_id": "dsp_01HZX3", "kind": "shipping"}))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json) == ["id", "status", "to", "created_at"]
    assert re.fullmatch(r"msg_[a-z0-9]+", answer.json["id"])
    assert (answer.json["status"], answer.json["to"]) == ("queued", ANA)
    assert INSTANT.fullmatch(answer.json["created_at"])
    # And the ledger knows whose it was.
    [entry] = sandbox.ledger("aurogy")
    assert (entry.message_id, entry.recipient, entry.dispatch_id) == (answer.json["id"], ANA, "dsp_01HZX3")
    assert (entry.accepted, entry.status, entry.group, entry.path) == (True, 200, "send", "/v1/messages/text")
    assert KEY not in repr(entry)


def test_metadata_without_a_dispatch_id_is_kept_whole_in_the_ledger(sandbox: SandboxServer) -> None:
    post(sandbox, "text", text(metadata={"kind": "shipping"}))
    assert sandbox.ledger("aurogy")[0].dispatch_id == '{"kind":"shipping"}'


@pytest.mark.parametrize(
    "body",
    [
        text(),
        {"to": ANA, "text": "x" * 4096},
        {"to": ANA, "text": "\U0001f600" * 4096},  # characters, not bytes or UTF-16 units
        text("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        text(metadata={f"k{i}": "v" for i in range(10)}),
        text(metadata={"k" * 256: "v" * 256}),
        text(metadata={}),
    ],
)
def test_texts_at_the_limits_are_accepted(sandbox: SandboxServer, body: dict[str, Any]) -> None:
    assert post(sandbox, "text", body).status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"text": "x"}, "invalid_request"),
        ({"to": ANA}, "invalid_request"),
        ({"to": 5, "text": "x"}, "invalid_request"),
        ({"to": "", "text": "x"}, "invalid_request"),
        ({"to": None, "text": "x"}, "invalid_request"),
        ({"to": ANA, "text": ""}, "invalid_request"),
        ({"to": ANA, "text": 5}, "invalid_request"),
        ({"to": ANA, "text": "x" * 4097}, "invalid_request"),
        (text(reply_to=5), "invalid_request"),
        (text(reply_to=None), "invalid_request"),
        (text(metadata=[]), "invalid_request"),
        (text(metadata={"k": 5}), "invalid_request"),
        (text(metadata={f"k{i}": "v" for i in range(11)}), "invalid_request"),
        (text(metadata={"k" * 257: "v"}), "invalid_request"),
        (text(metadata={"k": "v" * 257}), "invalid_request"),
        (text(surplus=1), "invalid_request"),
        ([], "invalid_request"),
        (b"{", "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (b"", "invalid_request"),
        (b"[" * 100_000, "invalid_request"),
        (text("auro_usr_unknown_1"), "invalid_recipient"),
        (text("+447700900123"), "invalid_recipient"),
        (text("447700900123"), "invalid_recipient"),
        (text("auro usr"), "invalid_recipient"),
    ],
)
def test_texts_beyond_the_limits_are_refused_and_create_nothing(
    sandbox: SandboxServer, body: object, code: str
) -> None:
    answer = post(sandbox, "text", body)
    assert (answer.status, answer.code) == (400, code)
    assert answer.headers["X-RateLimit-Limit"] == "100000"
    assert sandbox.ledger("aurogy")[0].accepted is False
    assert sandbox.summary("aurogy")["messages"] == {}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_is_not_called_json_is_refused(sandbox: SandboxServer, content_type: str) -> None:
    answer = post(sandbox, "text", text(), headers={"Content-Type": content_type})
    assert (answer.status, answer.code) == (400, "invalid_request")


def test_a_charset_beside_the_content_type_is_fine(sandbox: SandboxServer) -> None:
    assert post(sandbox, "text", text(), headers={"Content-Type": "Application/JSON; charset=utf-8"}).status == 200


def test_unknown_fields_can_be_ignored_instead() -> None:
    with SandboxServer({"aurogy": {"unknown_fields": "ignore"}}) as sandbox:
        assert post(sandbox, "text", text(surplus=1)).status == 200


def test_the_same_body_twice_makes_two_messages(sandbox: SandboxServer) -> None:
    first, second = post(sandbox, "text", text()), post(sandbox, "text", text())
    assert first.json["id"] != second.json["id"]
    assert sandbox.summary("aurogy")["duplicates"]["surplus"] == 1


def test_a_body_of_more_than_a_mebibyte_is_refused(sandbox: SandboxServer) -> None:
    assert post(sandbox, "text", text("x" * 1_100_000)).status == 413
    assert sandbox.ledger("aurogy")[0].status == 413


# Media


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "video/mp4", "audio/ogg", "application/pdf"])
def test_each_media_type_of_the_list_is_queued_with_a_content_id(sandbox: SandboxServer, kind: str) -> None:
    answer = post(sandbox, "media", MEDIA | {"media_type": kind, "caption": "c" * 1024, "filename": "f" * 255})
    assert answer.status == 200
    assert list(answer.json) == ["id", "status", "to", "media_cid", "created_at"]
    assert re.fullmatch(r"bafybei[a-z2-7]+", answer.json["media_cid"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"media_url": None}, "invalid_request"),
        ({"media_url": "http://files.example.com/a.pdf"}, "invalid_request"),
        ({"media_url": "https://"}, "invalid_request"),
        ({"media_url": "https://a b/"}, "invalid_request"),
        ({"media_url": "https://[bad/"}, "invalid_request"),
        ({"media_type": "image/gif"}, "invalid_request"),
        ({"media_type": "IMAGE/PNG"}, "invalid_request"),
        ({"caption": "c" * 1025}, "invalid_request"),
        ({"filename": "f" * 256}, "invalid_request"),
        ({"metadata": {}}, "invalid_request"),  # documented for texts only
        ({"to": "auro_usr_unknown"}, "invalid_recipient"),
        ({"media_url": "https://files.example.com/huge.mp4"}, "media_too_large"),
    ],
)
def test_media_that_breaks_a_rule_is_refused(sandbox: SandboxServer, change: dict[str, Any], code: str) -> None:
    answer = post(sandbox, "media", MEDIA | change)
    assert (answer.status, answer.code) == (400, code)


def test_media_of_exactly_the_largest_size_is_accepted(sandbox: SandboxServer) -> None:
    assert post(sandbox, "media", MEDIA | {"media_url": "https://files.example.com/edge.mp4"}).status == 200


# Templates


@pytest.mark.parametrize("language", ["en", "pt-BR", "zh-Hant-TW"])
def test_an_approved_template_is_queued(sandbox: SandboxServer, language: str) -> None:
    answer = post(sandbox, "template", TEMPLATE | {"language": language})
    assert answer.status == 200
    assert list(answer.json) == ["id", "status", "to", "template", "created_at"]
    assert answer.json["template"] == "order_confirmation"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"template": "never_heard_of"}, "invalid_template"),
        ({"template": "waiting"}, "invalid_template"),
        ({"template": "german"}, "invalid_template"),
        ({"template": ""}, "invalid_request"),
        ({"language": "english"}, "invalid_request"),
        ({"language": "EN"}, "invalid_request"),
        ({"language": "en_US"}, "invalid_request"),
        ({"language": None}, "invalid_request"),
        ({"variables": {}}, "invalid_request"),  # `order` is missing
        ({"variables": {"order": 7719}}, "invalid_request"),
        ({"variables": {"order": "1"} | {f"v{i}": "x" for i in range(256)}}, "invalid_request"),
        ({"to": "auro_usr_unknown"}, "invalid_recipient"),
    ],
)
def test_a_template_that_breaks_a_rule_is_refused(sandbox: SandboxServer, change: dict[str, Any], code: str) -> None:
    answer = post(sandbox, "template", TEMPLATE | change)
    assert (answer.status, answer.code) == (400, code)


def test_a_surplus_variable_is_ignored(sandbox: SandboxServer) -> None:
    assert post(sandbox, "template", TEMPLATE | {"variables": {"order": "1", "other": "2"}}).status == 200


# Status


def test_a_message_can_be_read_from_the_moment_it_was_accepted(sandbox: SandboxServer) -> None:
    sent = post(sandbox, "text", text(metadata={"a": "b"})).json
    read = get(sandbox, f"/messages/{sent['id']}")
    assert read.status == 200
    assert read.json == {
        "id": sent["id"],
        "status": "queued",
        "to": ANA,
        "created_at": sent["created_at"],
        "delivered_at": None,
        "read_at": None,
    }


@pytest.mark.parametrize("path", ["/messages/msg_never", "/messages/", "/messages", "/messages/a/b", "/nothing", "/"])
def test_what_does_not_exist_is_not_found(sandbox: SandboxServer, path: str) -> None:
    answer = get(sandbox, path)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
def test_other_methods_are_not_found_either(sandbox: SandboxServer, method: str) -> None:
    assert ask(sandbox.base_url("aurogy"), method, "/messages/text", text()).code == "not_found"


@pytest.mark.usefixtures("still")
def test_a_message_goes_through_its_lifecycle_with_its_times() -> None:
    lifecycle = {"sent_after": 1, "delivered_after": 2, "read_after": 4, "read_share": 1}
    with SandboxServer({"aurogy": {"lifecycle": lifecycle}}) as sandbox:
        sent = post(sandbox, "text", text()).json
        seen = []
        for seconds, status in ((0, "queued"), (1, "sent"), (1, "delivered"), (2, "read")):
            sandbox.advance(seconds)
            wait_for_status(sandbox, status, 1)
            seen.append(get(sandbox, f"/messages/{sent['id']}").json)
        assert [item["status"] for item in seen] == ["queued", "sent", "delivered", "read"]
        assert [bool(item["delivered_at"]) for item in seen] == [False, False, True, True]
        assert [bool(item["read_at"]) for item in seen] == [False, False, False, True]
        accepted = sandbox.ledger("aurogy")[0].at
        times = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(accepted + after)) for after in (2, 4)]
        assert [seen[-1]["delivered_at"], seen[-1]["read_at"]] == times


def test_a_failed_message_has_neither_a_time_nor_a_reason() -> None:
    lifecycle = {"delivered_after": 0.01, "sent_after": 0, "outcomes": {"auro_usr_bad*": "failed"}}
    with SandboxServer({"aurogy": {"lifecycle": lifecycle}}) as sandbox:
        sent = post(sandbox, "text", text("auro_usr_bad")).json
        wait_for_status(sandbox, "failed", 1)
        read = get(sandbox, f"/messages/{sent['id']}").json
        assert set(read) == {"id", "status", "to", "created_at", "delivered_at", "read_at"}
        assert (read["status"], read["delivered_at"], read["read_at"]) == ("failed", None, None)


def test_messages_of_test_keys_live_the_same_life_unless_told_otherwise() -> None:
    lifecycle = {"sent_after": 0, "delivered_after": 0, "read_share": 0}
    still = {"lifecycle": lifecycle, "test_keys": {"lifecycle": False}}
    for settings, delivered in (({"lifecycle": lifecycle}, 2), (still, 1)):
        with SandboxServer({"aurogy": settings}) as sandbox:
            post(sandbox, "text", text(), key="auro_test_sk_abcd1234")
            post(sandbox, "text", text())
            wait_for_status(sandbox, "delivered", delivered)
            assert sandbox.summary("aurogy")["messages"].get("queued", 0) == 2 - delivered

"""The sandbox as Aurogy, row by row of its API reference, over HTTP."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_support import ANA, KEY, Answered, ask, text, wait_until

FREE = {"send": "100000/minute", "status": "100000/minute", "conversations": "100000/minute"} | {
    "profile": "100000/minute",
    "profile_read": "100000/minute",
}
QUIET = {"outcomes": {"*": "queued"}}
MEDIA = {"to": ANA, "media_url": "https://files.example.com/a.pdf", "media_type": "application/pdf"}
TEMPLATE = {"to": ANA, "template": "order_confirmation", "language": "en", "variables": {"order": "7719"}}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    templates = {
        "order_confirmation": {"variables": ["order"]},
        "waiting": {"approved": False},
        "german": {"languages": ["de", "de-AT"]},
    }
    media = {"sizes": {"huge.mp4": 104_857_601, "edge.mp4": 104_857_600, "avatar.png": 5_242_881}}
    settings = {"ratelimit": FREE, "lifecycle": QUIET, "templates": templates, "media": media}
    with SandboxServer({"aurogy": settings}) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.clear("aurogy")
    return server


def post(sandbox: SandboxServer, kind: str, data: object, **more: Any) -> Answered:
    return ask(sandbox.base_url("aurogy"), "POST", f"/messages/{kind}", data, **more)


def get(sandbox: SandboxServer, path: str, **more: Any) -> Answered:
    return ask(sandbox.base_url("aurogy"), "GET", path, **more)


def wait_for_status(sandbox: SandboxServer, status: str, count: int) -> None:
    wait_until(lambda: sandbox.summary("aurogy")["messages"].get(status) == count, f"{count} messages are {status}")


# Keys


def test_the_base_url_is_the_providers_prefix_and_the_path_of_its_own(sandbox: SandboxServer) -> None:
    assert sandbox.base_url("aurogy") == sandbox.url + "/aurogy/v1"


@pytest.mark.parametrize("key", ["auro_live_sk_abcd1234", "auro_test_sk_" + "A_9" * 40, KEY])
def test_a_well_formed_key_is_good(sandbox: SandboxServer, key: str) -> None:
    assert post(sandbox, "text", text(), key=key).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer auro_live_sk_short",
        "Bearer auro_live_sk_" + "a" * 129,
        "Bearer auro_prod_sk_abcd1234",
        "Bearer auro_live_sk_abcd-1234",
        "Bearer  auro_live_sk_abcd1234",
        "Basic auro_live_sk_abcd1234",
        "auro_live_sk_abcd1234",
    ],
)
def test_any_other_key_is_unauthorized_and_gets_no_rate_headers(sandbox: SandboxServer, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = post(sandbox, "text", text(), key="", headers=headers)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]
    assert sandbox.ledger("aurogy")[0].accepted is False


def test_only_listed_keys_are_good_where_keys_are_listed_and_each_for_its_own() -> None:
    rules = {KEY: {"groups": ["send"]}, "auro_live_sk_other_01": {"business": "other"}}
    with SandboxServer({"aurogy": {"keys": rules}}) as sandbox:
        sent = post(sandbox, "text", text())
        assert sent.status == 200
        # Not permitted: 403, though authenticated, hence with rate headers.
        denied = get(sandbox, "/conversations")
        assert (denied.status, denied.code) == (403, "forbidden")
        assert denied.headers["X-RateLimit-Limit"] == "60"
        # An unlisted key is unknown.
        assert get(sandbox, "/conversations", key="auro_live_sk_abcd1234").code == "unauthorized"
        # Another business sees nothing of it.
        other = get(sandbox, f"/messages/{sent.json['id']}", key="auro_live_sk_other_01")
        assert (other.status, other.code) == (404, "not_found")


def test_plain_http_can_be_refused() -> None:
    with SandboxServer({"aurogy": {"require_https": True}}) as sandbox:
        answer = post(sandbox, "text", text())
        assert (answer.status, answer.code) == (403, "forbidden")


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


def test_a_message_goes_through_its_lifecycle_with_its_times() -> None:
    lifecycle = {"sent_after": 1, "delivered_after": 2, "read_after": 4, "read_share": 1}
    with SandboxServer({"aurogy": {"lifecycle": lifecycle}}) as sandbox:
        sent = post(sandbox, "text", text()).json
        seen = []
        for seconds, status in ((0, "queued"), (1.1, "sent"), (1.0, "delivered"), (2.0, "read")):
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


# Conversations


def test_conversations_are_paged_from_the_most_recent_on(sandbox: SandboxServer) -> None:
    for number in range(45):
        post(sandbox, "text", text(f"auro_usr_p{number:02}"))
    seen: list[str] = []
    sizes, cursor = [], ""
    while True:
        page = get(sandbox, f"/conversations?limit=20{cursor}").json
        assert set(page) == {"conversations", "next_cursor", "has_more"}
        seen += [item["participant"] for item in page["conversations"]]
        sizes.append(len(page["conversations"]))
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == [f"auro_usr_p{number:02}" for number in reversed(range(45))]
    assert sizes == [20, 20, 5]
    assert page["next_cursor"] is None


def test_a_conversation_has_the_documented_members(sandbox: SandboxServer) -> None:
    post(sandbox, "text", text())
    sandbox.inject("aurogy", {"event": "message.received", "data": {"from": ANA}})
    [item] = get(sandbox, "/conversations").json["conversations"]
    assert list(item) == ["id", "participant", "last_message_at", "unread_count", "status"]
    assert re.fullmatch(r"conv_[a-z0-9]+", item["id"])
    assert (item["participant"], item["unread_count"], item["status"]) == (ANA, 1, "active")
    assert INSTANT.fullmatch(item["last_message_at"])


@pytest.mark.parametrize("limit", ["1", "100"])
def test_a_limit_within_bounds_is_taken(sandbox: SandboxServer, limit: str) -> None:
    assert get(sandbox, f"/conversations?limit={limit}").status == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=1000000", "limit=-1", "limit=ten", "limit=", "status=open", "cursor=abc"]
)
def test_a_wrong_query_is_refused(sandbox: SandboxServer, query: str) -> None:
    assert get(sandbox, f"/conversations?{query}").code == "invalid_request"


def test_conversations_are_filtered_by_status(sandbox: SandboxServer) -> None:
    sandbox.settings("aurogy", {"archived_participants": ["auro_usr_old*"]})
    for participant in ("auro_usr_old", "auro_usr_new"):
        post(sandbox, "text", text(participant))
    try:
        listed = {
            query: [item["participant"] for item in get(sandbox, f"/conversations{query}").json["conversations"]]
            for query in ("", "?status=active", "?status=archived", "?status=all")
        }
        assert listed[""] == listed["?status=active"] == ["auro_usr_new"]
        assert listed["?status=archived"] == ["auro_usr_old"]
        assert listed["?status=all"] == ["auro_usr_new", "auro_usr_old"]
    finally:
        sandbox.settings("aurogy", {"archived_participants": []})


# Profile


def put(sandbox: SandboxServer, data: object) -> Answered:
    return ask(sandbox.base_url("aurogy"), "PUT", "/profile", data)


def test_the_profile_has_the_documented_members(sandbox: SandboxServer) -> None:
    profile = get(sandbox, "/profile").json
    assert list(profile) == ["id", "name", "description", "avatar_url", "verified", "created_at"]
    assert re.fullmatch(r"biz_[a-z0-9]+", profile["id"])


def test_an_update_is_partial_and_its_answer_is_not_the_whole_profile(sandbox: SandboxServer) -> None:
    before = get(sandbox, "/profile").json
    answer = put(sandbox, {"description": "Widgets and more"})
    assert list(answer.json) == ["id", "name", "description", "updated_at"]
    assert get(sandbox, "/profile").json == before | {"description": "Widgets and more"}
    # The avatar is served from Aurogy's address: the URL read is not the URL written.
    assert put(sandbox, {"avatar_url": "https://files.example.com/me.png"}).status == 200
    assert get(sandbox, "/profile").json["avatar_url"] == before["avatar_url"]


@pytest.mark.parametrize("data", [{"name": "n" * 128}, {"description": "d" * 512}, {"description": ""}])
def test_profile_fields_at_their_limits_are_taken(sandbox: SandboxServer, data: dict[str, str]) -> None:
    assert put(sandbox, data).status == 200


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": "n" * 129},
        {"name": 5},
        {"description": "d" * 513},
        {"avatar_url": "http://files.example.com/me.png"},
        {"avatar_url": "https://files.example.com/avatar.png"},  # over 5 MB
        {"verified": True},
    ],
)
def test_profile_fields_beyond_them_are_refused(sandbox: SandboxServer, data: dict[str, Any]) -> None:
    assert put(sandbox, data).code == "invalid_request"


# Rates


def test_each_group_has_its_own_limit_and_headers() -> None:
    with SandboxServer() as sandbox:
        limits = [
            post(sandbox, "text", text()).headers["X-RateLimit-Limit"],
            get(sandbox, "/messages/msg_never").headers["X-RateLimit-Limit"],
            get(sandbox, "/conversations").headers["X-RateLimit-Limit"],
            put(sandbox, {"name": "n"}).headers["X-RateLimit-Limit"],
            get(sandbox, "/profile").headers["X-RateLimit-Limit"],
        ]
        assert limits == ["100", "300", "60", "10", "60"]


def test_the_three_sends_share_one_bucket_of_their_key() -> None:
    with SandboxServer({"aurogy": {"ratelimit": {"send": "3/1h"}, "templates": {"order_confirmation": {}}}}) as sandbox:
        answers = [post(sandbox, "text", text()), post(sandbox, "media", MEDIA), post(sandbox, "template", TEMPLATE)]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0"]
        over = post(sandbox, "text", text())
        assert (over.status, over.code) == (429, "rate_limited")
        # The reset is an instant, the wait a duration, and both mean the end of the hour.
        reset = int(over.headers["X-RateLimit-Reset"])
        assert reset % 3600 == 0
        assert 0 < reset - time.time() <= 3600
        assert time.time() + int(over.headers["Retry-After"]) == pytest.approx(reset, abs=2.0)
        assert post(sandbox, "text", text(), key="auro_live_sk_another1").status == 200


@pytest.mark.parametrize("kind", ["fixed", "first-hit", "sliding", "bucket"])
def test_waiting_for_retry_after_is_always_enough(kind: str) -> None:
    with SandboxServer({"aurogy": {"ratelimit": {"send": "5/40s", "window": kind}}}) as sandbox:
        statuses = [post(sandbox, "text", text()).status for _ in range(11)]
        assert statuses.count(200) in (5, 10)  # ten if the end of a fixed window came between
        wait = int(post(sandbox, "text", text()).headers["Retry-After"])
        sandbox.advance(wait)
        assert post(sandbox, "text", text()).status == 200


def test_refused_requests_are_in_the_ledger_and_in_the_busiest_window() -> None:
    with SandboxServer({"aurogy": {"ratelimit": {"send": "5/1h", "window": "sliding"}}}) as sandbox:
        for _ in range(8):
            post(sandbox, "text", text())
        summary = sandbox.summary("aurogy")
        assert (summary["requests"], summary["accepted"], summary["throttled"]) == (8, 5, 3)
        [window] = summary["windows"]
        assert (window["group"], window["limit"], window["highest"], window["exceeded"]) == ("send", "5/3600s", 8, True)
        assert window["key"] == sandbox.ledger("aurogy")[0].key


# Paths


def test_the_inferred_paths_can_be_moved() -> None:
    paths = {"template": "/templates/send", "status": "/status/{message_id}", "profile": "/business"}
    with SandboxServer({"aurogy": {"paths": paths, "templates": {"order_confirmation": {}}}}) as sandbox:
        sent = ask(sandbox.base_url("aurogy"), "POST", "/templates/send", TEMPLATE)
        assert sent.status == 200
        assert get(sandbox, f"/status/{sent.json['id']}").status == 200
        assert get(sandbox, "/business").status == 200
        assert post(sandbox, "template", TEMPLATE).code == "not_found"

"""The sandbox as Aurogy: keys, conversations, profile, rates and paths, row by row of its API reference."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_support import (
    ANA,
    INSTANT,
    KEY,
    MEDIA,
    STILL,
    TEMPLATE,
    Answered,
    ask,
    get,
    post,
    text,
)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(STILL) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.clear("aurogy")
    return server


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


def test_the_three_sends_share_one_bucket_of_their_key(still: float) -> None:
    with SandboxServer({"aurogy": {"ratelimit": {"send": "3/1h"}, "templates": {"order_confirmation": {}}}}) as sandbox:
        answers = [post(sandbox, "text", text()), post(sandbox, "media", MEDIA), post(sandbox, "template", TEMPLATE)]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0"]
        over = post(sandbox, "text", text())
        assert (over.status, over.code) == (429, "rate_limited")
        # The reset is an instant, the wait a duration, and both mean the end of the hour.
        reset = int(over.headers["X-RateLimit-Reset"])
        assert reset % 3600 == 0
        assert 0 < reset - still <= 3600
        assert still + int(over.headers["Retry-After"]) == reset
        assert post(sandbox, "text", text(), key="auro_live_sk_another1").status == 200


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("kind", ["fixed", "first-hit", "sliding", "bucket"])
def test_waiting_for_retry_after_is_always_enough(kind: str) -> None:
    with SandboxServer({"aurogy": {"ratelimit": {"send": "5/40s", "window": kind}}}) as sandbox:
        statuses = [post(sandbox, "text", text()).status for _ in range(11)]
        assert statuses == [200] * 5 + [429] * 6
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

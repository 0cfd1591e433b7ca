"""Aurogy's conversations and profile as an application and an operator ask for them, by the sandbox's answers."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from paceline import InvalidMessage, MessageNotFound
from paceline.cli import run
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, turn, until
from worker.service import Service

Build = Callable[..., Installation]
Working = Callable[[Service], None]


@pytest.fixture
def built(build: Build, working: Working) -> Installation:
    """An installation whose worker works."""
    made = build()
    working(made.service())
    return made


def received(sandbox: SandboxServer, count: int) -> list[str]:
    """Let so many write to the business; their ids, the latest first."""
    senders = [f"auro_usr_{number:010}" for number in range(count)]
    for sender in senders:
        sandbox.inject("aurogy", {"event": "message.received", "data": {"from": sender, "text": "When?"}})
    return senders[::-1]


def test_conversations_come_page_by_page(built: Installation, sandbox: SandboxServer) -> None:
    senders = received(sandbox, 5)
    aurogy = built.client.aurogy(ACCOUNT)

    page = aurogy.conversations(limit=2)
    rest = aurogy.conversations(limit=3, cursor=page.next_cursor)

    assert [item.participant for item in page.conversations + rest.conversations] == senders
    assert (page.has_more, rest.has_more, rest.next_cursor) == (True, False, None)
    first = page.conversations[0]
    assert (first.unread_count, first.status) == (1, "active")
    assert first.last_message_at is not None
    assert abs((datetime.now(UTC) - first.last_message_at).total_seconds()) < 60
    assert senders[0] not in repr(page)


def test_all_conversations_asks_for_a_page_when_it_needs_one(built: Installation, sandbox: SandboxServer) -> None:
    senders = received(sandbox, 5)
    everything = built.client.aurogy(ACCOUNT).all_conversations(limit=2)

    assert next(everything).participant == senders[0]
    assert len(sandbox.ledger("aurogy")) == 1
    assert [item.participant for item in everything] == senders[1:]
    assert len(sandbox.ledger("aurogy")) == 3


def test_the_profile_is_read_and_changed_in_part(built: Installation, sandbox: SandboxServer) -> None:
    aurogy = built.client.aurogy(ACCOUNT)
    before = aurogy.profile()

    changed = aurogy.update_profile(description="Widgets and more")

    assert (changed.name, changed.description) == (before.name, "Widgets and more")
    after = aurogy.profile()
    assert (after.id, after.name, after.description) == (before.id, "Acme Corp", "Widgets and more")
    assert after.verified
    assert after.created_at == datetime(2026, 1, 15, 9, tzinfo=UTC)
    with pytest.raises(InvalidMessage, match="name: or description or avatar_url must be given"):
        aurogy.update_profile()
    with pytest.raises(InvalidMessage, match="name: must have at most 128 characters"):
        aurogy.update_profile(name="x" * 129)


def test_a_messages_status_is_asked_by_either_id(built: Installation, sandbox: SandboxServer) -> None:
    receipt = built.text()
    until(lambda: built.client.status(receipt.id).provider_message_id)
    theirs = str(built.client.status(receipt.id).provider_message_id)
    aurogy = built.client.aurogy(ACCOUNT)

    ours = aurogy.message_status(receipt.id)

    assert ours.id == theirs == aurogy.message_status(theirs).id
    assert ours.status in ("queued", "sent", "delivered", "read")
    with pytest.raises(MessageNotFound):
        aurogy.message_status("01a1fad2-29fe-73b9-8d3a-9afa6b74869e")


def test_a_message_without_their_name_cannot_be_asked_about(build: Build) -> None:
    built = build()
    receipt = built.text()

    with pytest.raises(InvalidMessage, match="message_id: must be of a message that the provider has accepted"):
        built.client.aurogy(ACCOUNT).message_status(receipt.id)


def test_another_providers_account_is_told_apart(build: Build) -> None:
    built = build()

    with pytest.raises(InvalidMessage, match="must name an account of politicalcomms; aurogy-main is one of aurogy"):
        built.client.politicalcomms(ACCOUNT)


# The commands


def ask(built: Installation, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """What a command answers: its exit code, stdout and stderr."""
    capsys.readouterr()
    code = run([*arguments, "--config", str(built.settings_file)])
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if not line.startswith("20")]  # the worker's own, beside us
    return code, "\n".join(lines), said.err


def test_the_commands_of_aurogy(
    built: Installation, sandbox: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    senders = received(sandbox, 3)

    code, out, _ = ask(built, capsys, "aurogy", "conversations", ACCOUNT, "--limit", "2", "--json")
    page = json.loads(out)
    assert (code, [item["participant"] for item in page["conversations"]]) == (0, senders[:2])
    assert page["conversations"][0]["last_message_at"].endswith("Z")

    code, out, _ = ask(built, capsys, "aurogy", "all-conversations", ACCOUNT, "--limit", "2")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:]] == senders

    code, out, _ = ask(built, capsys, "aurogy", "update-profile", ACCOUNT, "--name", "Acme", "--json")
    assert (code, json.loads(out)["name"]) == (0, "Acme")
    code, out, _ = ask(built, capsys, "aurogy", "profile", ACCOUNT)
    assert code == 0
    assert "Acme" in out

    code, _, err = ask(built, capsys, "aurogy", "message-status", ACCOUNT, "msg_nobody")
    assert code == 1
    assert err.startswith("paceline: message_status ended failed: not_found")
    code, _, err = ask(built, capsys, "aurogy", "conversations", ACCOUNT, "--limit", "200")
    assert (code, err) == (1, "paceline: limit: must be at most 100\n")


def test_the_commands_of_jobs(build: Build, capsys: pytest.CaptureFixture[str], sandbox: SandboxServer) -> None:
    built = build()
    job = built.client.start(ACCOUNT, "conversations", limit=7)

    code, out, _ = ask(built, capsys, "jobs", "show", job, "--json")
    shown = json.loads(out)
    assert (code, shown["status"], shown["operation"]) == (0, "queued", "conversations")
    assert "aurogy-main/conversations" in shown["waiting_for"]
    code, out, _ = ask(built, capsys, "jobs", "list", "--json")
    assert [each["id"] for each in json.loads(out)] == [job]
    assert ask(built, capsys, "jobs", "list")[1].splitlines()[1].startswith(job)
    assert ask(built, capsys, "jobs", "cancel", job) == (0, f"{job} is cancelled.", "")
    service = built.service()
    done = built.client.start(ACCOUNT, "profile")
    until(lambda: turn(service) and built.client.job(done).status.final)
    code, _, err = ask(built, capsys, "jobs", "cancel", done)
    assert (code, err) == (1, f"paceline: {done} is done: only a job that is queued can be cancelled.\n")
    assert "Acme Corp" in ask(built, capsys, "jobs", "show", done)[1]
    assert ask(built, capsys, "jobs", "show", "nobody")[0] == 1


def test_lanes_show_jobs_beside_the_backlog(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    built = build()
    for _ in range(3):
        built.client.start(ACCOUNT, "profile")

    code, out, _ = ask(built, capsys, "lanes", "--json")

    shown = {lane["lane"]: (lane["backlog"], lane["jobs"]) for lane in json.loads(out)}
    assert code == 0
    assert shown[f"{ACCOUNT}/profile"] == (0, 3)
    assert shown[f"{ACCOUNT}/send"] == (0, 0)

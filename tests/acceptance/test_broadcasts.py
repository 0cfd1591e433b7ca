"""`paceline broadcast` on a real installation: the example that docs/broadcasts.md walks through, and mistakes."""

import json
import re
import shutil
from pathlib import Path

import pytest

from paceline import Client
from tests.acceptance.commands_support import ACCOUNT, ROOT, until, up
from tests.acceptance.test_commands import Command, command

__all__ = ["command"]  # the fixture

FILE = ROOT / "examples" / "broadcast.toml"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example, in a place where it may write."""
    for name in ("broadcast.toml", "broadcast-people.csv"):
        shutil.copy(ROOT / "examples" / name, tmp_path / name)
    return tmp_path / "broadcast.toml"


def changed(example: Path, before: str, after: str) -> str:
    example.write_text(example.read_text().replace(before, after))
    return str(example)


def test_the_example_is_foretold_started_and_steered(command: Command, example: Path) -> None:
    # given a look at it, which stores nothing
    foretold = command("broadcast", "forecast", str(example))
    assert (foretold.code, foretold.err) == (0, "")
    first, second = foretold.out.splitlines()
    assert first == "60 of 62 recipients (left out: 1 duplicates, 1 invalid), 60 parts"
    assert re.fullmatch(r"done by \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", second)
    assert command("broadcast", "list", "--json").json == []
    said = (example.parent / "broadcast-rejects.csv").read_text().splitlines()
    assert said[:2] == ["line,kind,reason", "62,duplicate,to: stands in an earlier line too"]
    assert said[2].startswith('63,invalid,"to: must be an Aurogy id')

    # when it is started, paused so that it stays
    started = command("broadcast", "start", str(example), "--paused")
    assert started.out.splitlines()[0] == first
    shown = command("broadcast", "show", "spring-sale", "--json").json
    assert {"id", "name", "status", "counts", "forecast"} <= shown.keys()
    assert (shown["name"], shown["status"], shown["counts"]["queued"]) == ("spring-sale", "paused", 60)
    assert {"finish_at", "messages", "parts", "limited_by", "late"} <= shown["forecast"].keys()
    assert (shown["forecast"]["finish_at"], shown["forecast"]["limited_by"]) == (None, "it is paused")

    # then the same again is the same, and it is steered by its name or its id
    again = command("broadcast", "start", str(example), "--json").json
    assert again["id"] == shown["id"]
    assert command("broadcast", "resume", shown["id"]).out == "spring-sale is running.\n"
    assert command("broadcast", "pause", "spring-sale").out == "spring-sale is paused.\n"
    assert command("broadcast", "retry", "spring-sale", "--reason", "RATE").out == "0 messages are queued again.\n"
    assert [row["name"] for row in command("broadcast", "list", "--json").json] == ["spring-sale"]
    assert "spring-sale" in command("broadcast", "list").out
    assert command("broadcast", "cancel", "spring-sale", "--json").json["status"] == "cancelled"
    refused = command("broadcast", "resume", "spring-sale")
    assert (refused.code, refused.err) == (
        1, "paceline: The broadcast 'spring-sale' is cancelled: it cannot be resumed any more.\n",
    )  # fmt: skip


def test_a_test_goes_to_ones_own_address(command: Command, example: Path) -> None:
    sent = command("broadcast", "test", str(example), "--to", "auro_usr_8f3k29d1a7")
    assert sent.code == 0, sent.err
    assert command("show", sent.out.strip(), "--json").json["status"] == "queued"


MISTAKES = [
    ('name = "spring-sale"', "nmae = 1", "nmae: is not a key of a broadcast's file"),
    ('via = "aurogy-main"', "", "via: is required in broadcast.toml"),
    ('via = "aurogy-main"', 'via = "sms"', "via: must name an account or a route; there are aurogy-main"),
    ('via = "aurogy-main"', "via = 1", "via: must be text"),
    ('"broadcast-people.csv"', '"nobody.csv"', "recipients: cannot be opened (FileNotFoundError): check the path"),
    ("{first_name}", "{frist_name}", "recipients: line 2 has no frist_name, which text needs"),
    ('"broadcast-people.csv"', '"https://example.com/p.csv"', "recipients: must be a file here: only a provider that"),
    ('kind = "text"', 'kind = "fax"', "kind: must be one of text, media, template, email"),
    ("# sending_hours", "sending_hours", "sending_hours: needs a timezone: an IANA name"),
    ("[message]", "[message", "file: broadcast.toml is not TOML"),
    (
        'rejects = "',
        'send_at = 2020-01-01T00:00:00+00:00\nrejects = "',
        "send_at: must lie in the future; leave it out",
    ),
    ('rejects = "', 'expires_at = 2099-01-01T00:00:00\nrejects = "', "expires_at: must have an offset, such as +01:00"),
    ('rejects = "', 'send_at = "tomorrow"\nrejects = "', "send_at: must be a date and time, unquoted"),
]


@pytest.mark.parametrize(("before", "after", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence_and_queues_nothing(
    command: Command, example: Path, before: str, after: str, sentence: str
) -> None:
    refused = command("broadcast", "start", changed(example, before, after))
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert refused.err.startswith(f"paceline: {sentence}")
    assert command("broadcast", "list", "--json").json == []
    assert command("list", "--json").json == []


def test_what_is_not_there_is_said(command: Command) -> None:
    for step in ("show", "pause", "resume", "cancel", "forecast", "retry"):
        missing = command("broadcast", step, "nobody")
        assert (missing.code, missing.err) == (1, "paceline: No broadcast has this name or id.\n")


def test_a_number_may_be_banned_which_is_said_once_before_it_starts(command: Command, tmp_path: Path) -> None:
    config = tmp_path / "paceline.toml"
    config.write_text(
        config.read_text() + f'[accounts.wa]\nprovider = "aulm"\napi_key = "alm_sk_test_{"0" * 64}"\n'
        'session_id = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"\n'
    )
    assert command("migrate").code == 0, command("migrate").err
    (tmp_path / "p.csv").write_text("phone\n+15550100\n")
    file = tmp_path / "b.toml"
    file.write_text('name = "b"\nvia = "wa"\nrecipients = "p.csv"\n[message]\nto = "{phone}"\ntext = "Hi"\n')
    started = command("broadcast", "start", str(file), "--paused")
    assert started.code == 0, started.err
    assert started.err.startswith("paceline: WhatsApp may ban a number that writes to many who do not know it")
    assert "ramp_up = { first = 50, growth = 2 }" in started.err


def test_one_that_its_provider_sends_is_looked_at_kept_back_and_cancelled(command: Command, tmp_path: Path) -> None:
    # given an account whose provider sends broadcasts itself, and a file that names a URL
    config = tmp_path / "paceline.toml"
    config.write_text(
        config.read_text() + '[accounts.pc]\nprovider = "politicalcomms"\napi_key = "pc_live_0123456789"\n'
        'organization_id = "01JV0ORG0000000000000000A1"\nwebhook_secret = "whsec_0123456789"\n'
    )
    assert command("migrate").code == 0
    file = tmp_path / "b.toml"
    file.write_text(
        'name = "b"\nvia = "pc"\nrecipients = "https://files.example.com/people.csv"\ntimezone = "America/New_York"\n'
        '[message]\nto = "{phone}"\ntext = "Hi {first_name}"\n[options]\n'
        'phone_number_ids = ["01JV0NUM0000000000000000D1"]\nbrand_id = "01JV0BRD0000000000000000A1"\n'
        'campaign_id = "01JV0CMP0000000000000000A1"\n'
    )

    # then a look says what can be told, and that the provider counts the recipients
    looked = command("broadcast", "forecast", str(file))
    assert looked.code == 0
    assert looked.err.startswith("paceline: the recipients are counted by the provider")
    told = looked.out.splitlines()
    assert told[0] == "no end can be told: the provider's own pace"
    assert told[1].startswith("its 4 requests share 100/hour of pc/api, so it begins at ")

    # and its tests are the provider's own
    tested = command("broadcast", "test", str(file), "--to", "+15555560001")
    assert (tested.code, tested.out) == (1, "")
    assert tested.err.startswith(
        "paceline: to: cannot be tested from here: this account's provider sends its own tests"
    )

    # when it is started and kept back, nothing is asked of the provider before it is cancelled
    started = command("broadcast", "start", str(file), "--paused", "--json").json
    assert (started["status"], started["job_id"], started["forecast"]["limited_by"]) == ("paused", None, "it is paused")
    assert command("broadcast", "cancel", "b").out == "b is cancelled.\n"
    assert command("jobs", "list", "--json").json == []


def test_from_start_to_finish_with_everything_running(tmp_path: Path, example: Path) -> None:
    # given everything running, with the sandbox as the provider
    with up(tmp_path) as running:
        # when the example is started and followed
        done = running.paceline("broadcast", "start", str(example), "--watch", "--json")
        assert done.code == 0, done.err
        shown = json.loads(done.out[done.out.index("{") :])

        # then it is finished, everybody is accounted for, and the forecast is what was
        counts = shown["counts"]
        assert shown["status"] == "finished"
        assert sum(counts[name] for name in ("accepted", "sent", "delivered", "read", "failed", "unknown")) == 60
        assert shown["forecast"]["finish_at"]
        with Client(tmp_path / "paceline.toml", environ={}) as client:
            until(lambda: [each for each in client.events() if each.data.get("status") == "finished"])
            assert client.get_broadcast("spring-sale").via == ACCOUNT


def test_a_file_that_is_not_there_is_said_to_be_a_file(command: Command) -> None:
    looked = command("broadcast", "forecast", "nowhere.toml")
    assert (looked.code, looked.out) == (1, "")
    assert looked.err == "paceline: file: nowhere.toml cannot be opened (FileNotFoundError): check the path\n"


def test_the_page_shows_what_the_command_says(command: Command, example: Path) -> None:
    page = (ROOT / "docs" / "broadcasts.md").read_text()
    assert command("broadcast", "forecast", str(example)).out.splitlines()[0] in page
    for line in (example.parent / "broadcast-rejects.csv").read_text().splitlines():
        assert line in page

"""The producers' and the operators' commands on a real installation: answers, JSON, exit codes, one-sentence errors."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
import structlog
from sqlalchemy import select

from paceline import tables
from paceline.cli import SERVICE, run
from paceline.connection import engine, resolve
from tests.acceptance.commands_support import ACCOUNT, RECIPIENT, ROOT, Ran, clean_environment, configure

Command = Callable[..., Ran]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Runs commands in a directory with a migrated installation, in this process."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    configure(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("PACELINE_CONFIG", "PACELINE_DATABASE_URL", "PACELINE_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PACELINE_SANDBOX", "1")

    def ran(*arguments: str) -> Ran:
        code = run(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    migrated = ran("migrate")
    assert migrated.out == "The database stands at version 0001; published: accounts 1, routes 0.\n"
    yield ran
    structlog.reset_defaults()  # a command's logging goes to a stream that ends with its test
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def send(command: Command, *more: str) -> str:
    sent = command("send", ACCOUNT, "--to", RECIPIENT, "--text", "Your parcel leaves today.", *more)
    assert sent.code == 0, sent.err
    return sent.out.strip()


def settle(status: str) -> None:
    """Give every message a status, as a worker would."""
    opened = engine(resolve())
    message = tables.columns(tables.Message)
    with opened.begin() as connection:
        connection.execute(message.update().values(status=status))
    opened.dispose()


def test_a_message_is_sent_shown_and_listed(command: Command) -> None:
    # given a message with everything on it
    sent = send(
        command, "--priority", "high", "--metadata", "order=4821", "--idempotency-key", "order-4821",
        "--send-at", "2099-01-01T00:00:00+02:00",
    )  # fmt: skip

    # then it is shown by id and by key, with the keys that are promised
    shown = command("show", sent, "--json").json
    assert shown == command("show", "--idempotency-key", "order-4821", "--json").json
    assert shown["id"] == sent
    assert shown["status"] == "queued"
    assert shown["priority"] == "high"
    assert shown["metadata"] == {"order": "4821"}
    assert shown["send_at"] == "2098-12-31T22:00:00.000Z"
    assert shown["waiting_for"] == "It is scheduled for 2098-12-31T22:00:00.000Z."
    assert {"reason", "via", "account", "provider_message_id", "created_at", "attempts", "events"} <= shown.keys()

    # and listed by what it is
    assert [
        each["id"] for each in command("list", "--status", "queued", "--via", ACCOUNT, "--since", "1h", "--json").json
    ] == [sent]
    assert command("list", "--status", "failed", "--json").json == []
    assert sent in command("list").out
    assert "metadata" in command("show", sent).out


def test_the_same_key_sends_nothing_new(command: Command) -> None:
    first = send(command, "--idempotency-key", "k")
    again = command(
        "send", ACCOUNT, "--to", RECIPIENT, "--text", "Your parcel leaves today.", "--idempotency-key", "k", "--json"
    )
    assert again.json == {"id": first, "replayed": True}
    other = command("send", ACCOUNT, "--to", RECIPIENT, "--text", "Another text.", "--idempotency-key", "k")
    assert (other.code, other.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        ("--kind", "media", "--url", "https://shop.example.com/a.png", "--media-type", "image/png", "--caption", "A"),
        ("--kind", "template", "--template", "order_confirmation", "--language", "en", "--variable", "name=Ada"),
    ],
)
def test_every_kind_can_be_sent(command: Command, fields: tuple[str, ...]) -> None:
    sent = command("send", ACCOUNT, "--to", RECIPIENT, *fields)
    assert sent.code == 0, sent.err
    assert command("show", sent.out.strip()).code == 0


MAIL = """
[accounts.mail]
provider = "aurorasendcloud-email"
api_user = "acme_api"
api_key = "k_demo_0123456789"
sender = "news@mail.example.com"
"""


def test_a_mail_carries_files(command: Command, tmp_path: Path) -> None:
    (tmp_path / "paceline.toml").write_text((tmp_path / "paceline.toml").read_text() + MAIL)
    (tmp_path / "bill.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "large.bin").write_bytes(bytes(11_000_000))
    (tmp_path / "huge.bin").touch()
    os.truncate(tmp_path / "huge.bin", 50_000_001)
    assert command("migrate").code == 0

    def mail(*files: str) -> Ran:
        attached = [word for file in files for word in ("--attachment", file)]
        written = ("--kind", "email", "--to", "ana@example.org", "--subject", "Your bill", "--text", "Hello Ana")
        return command("send", "mail", *written, *attached)

    assert mail("bill.pdf", "bill.pdf").code == 0
    opened = engine(resolve())
    with opened.begin() as connection:
        [payload] = connection.execute(select(tables.columns(tables.Message).c.payload)).scalars()
    opened.dispose()
    bill = {"filename": "bill.pdf", "content": "JVBERi0xLjc=", "media_type": "application/pdf"}
    assert json.loads(payload)["attachments"] == [bill, bill]

    assert "attachments: must have at most 10,485,760 bytes together" in mail("large.bin").err
    assert "--attachment huge.bin has over 50,000,000 bytes" in mail("huge.bin").err
    assert "--attachment none.pdf cannot be read: No such file" in mail("none.pdf").err


def test_a_message_is_cancelled_as_long_as_it_is_queued(command: Command) -> None:
    sent = send(command)
    assert command("cancel", sent, "--json").json == {"id": sent, "cancelled": True, "status": "cancelled"}

    settle("accepted")
    late = command("cancel", sent)
    assert late.code == 1
    assert late.err == f"paceline: {sent} is accepted: only a message that is queued can be cancelled.\n"


def test_a_failed_message_is_queued_again(command: Command) -> None:
    sent = send(command)
    refused = command("retry", sent)
    assert (refused.code, refused.out) == (1, "")
    settle("failed")
    assert command("retry", sent).code == 0
    assert command("show", sent, "--json").json["status"] == "queued"


@pytest.mark.parametrize(
    ("verdict", "status"), [("delivered", "delivered"), ("failed", "failed"), ("resend", "queued")]
)
def test_an_unknown_message_is_resolved(command: Command, verdict: str, status: str) -> None:
    sent = send(command)
    settle("unknown")
    assert command("retry", sent).code == 1
    assert command("resolve", sent, "--as", verdict).code == 0
    assert command("show", sent, "--json").json["status"] == status


def test_lanes_are_shown_with_the_broker_away(command: Command) -> None:
    send(command)
    lane = command("lanes", "--json").json[0]
    assert {
        "lane",
        "open",
        "closed_until",
        "closed_reason",
        "backlog",
        "oldest_at",
        "in_flight",
        "limits",
    } <= lane.keys()
    assert (lane["lane"], lane["open"], lane["backlog"]) == (f"{ACCOUNT}/send", True, 1)
    assert lane["limits"] == [{"limit": "100/minute", "left": None, "reserved": None}]
    assert "? of 100/minute" in command("lanes").out


def test_opening_says_that_the_broker_did_not_hear_it(command: Command) -> None:
    for done in (command("close", ACCOUNT), command("open", ACCOUNT)):
        assert done.code == 1
        assert done.err.startswith("paceline: It stands in the database, but the broker does not answer")
    assert command("lanes", "--json").json[0]["open"]


def test_the_version_is_the_packages(command: Command) -> None:
    assert command("--version") == Ran(0, f"paceline {metadata.version('paceline')}\n", "")


@pytest.mark.parametrize("arguments", [("list",), ("show", "x"), ("jobs", "list"), ("lanes",), ("doctor", "--json")])
def test_whoever_only_looks_leaves_no_database(command: Command, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Given an installation that was never migrated, when somebody looks, then they are told so, and find no empty
    file there afterwards."""
    database = tmp_path / ".paceline" / "paceline.db"
    for file in database.parent.glob("paceline.db*"):
        file.unlink()

    ran = command(*arguments)

    assert ran.code == 1
    assert "run `paceline migrate`" in ran.out + ran.err
    assert not database.exists()


def test_doctor_looks_at_the_applications_broker_and_names_whom_it_cannot_ask(command: Command, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and never listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with (tmp_path / "paceline.toml").open("a") as file:
            file.write(f'\n[events]\ntask = "shop.on_message"\nbroker = "redis://:planted4711@127.0.0.1:{port}/0"\n')

        ran = command("doctor", "--json")

    found = {each["subject"]: each for each in ran.json}
    assert not found["events to shop.on_message"]["ok"]
    assert "planted4711" not in ran.out + ran.err
    assert found[f"account {ACCOUNT} at aurogy"]["found"].startswith("not asked")


def test_doctor_names_what_is_wrong_and_what_to_do(command: Command, tmp_path: Path) -> None:
    # given an embedded broker that does not run
    found = command("doctor", "--json")
    assert found.code == 1
    broken = [each for each in found.json if not each["ok"]]
    assert [each["subject"] for each in broken] == ["broker"]
    assert "`paceline up` runs it" in broken[0]["advice"]

    # and given a database that was never migrated
    (tmp_path / ".paceline" / "paceline.db").unlink()
    broken = [each for each in command("doctor", "--json").json if not each["ok"]]
    assert [each["subject"] for each in broken] == ["database", "broker"]
    assert "run `paceline migrate`" in broken[0]["advice"]

    # and given mistakes in the file
    (tmp_path / "paceline.toml").write_text('[accounts.a]\nprovider = "nobody"\n')
    assert command("doctor").out.startswith("BAD  configuration: cannot be used; paceline.toml: accounts.a.provider")


def test_init_writes_a_file_once(command: Command, tmp_path: Path) -> None:
    (tmp_path / "paceline.toml").unlink()
    assert command("init").code == 0
    written = (tmp_path / "paceline.toml").read_text()
    assert "\n[accounts.aurogy-main]" in written

    again = command("init")
    assert again.err == "paceline: paceline.toml is there already; --force writes over it.\n"
    (tmp_path / "paceline.toml").write_text("")
    assert command("init", "--force").code == 0
    assert (tmp_path / "paceline.toml").read_text() == written


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("send", ACCOUNT, "--to", "+447700900123", "--text", "x"), 1, "to: must be an Aurogy id"),
        (("send", "nobody", "--to", RECIPIENT, "--text", "x"), 1, "via: must name an account or a route"),
        (("send", ACCOUNT, "--to", RECIPIENT, "--kind", "fax"), 2, "'--kind': must be one of"),
        (
            ("send", ACCOUNT, "--to", RECIPIENT, "--text", "x", "--priority", "urgent"),
            2,
            "'--priority': must be one of",
        ),
        (("send", ACCOUNT, "--text", "x"), 2, "Missing option '--to'"),
        (("send", ACCOUNT, "--to", RECIPIENT, "--text", "x", "--metadata", "order"), 2, "--metadata takes K=V"),
        (("send", ACCOUNT, "--to", RECIPIENT, "--text", "x", "--option", "a:=b"), 2, "--option a:= takes JSON"),
        (("send", ACCOUNT, "--to", RECIPIENT, "--text", "x", "--send-at", "2099-01-01"), 2, "--send-at takes ISO 8601"),
        (("list", "--since", "yesterday"), 2, "--since takes ISO 8601"),
        (("list", "--status", "gone"), 2, "'--status': must be one of"),
        (("jobs", "list", "--status", "gone"), 2, "'--status': must be one of"),
        (("jobs",), 2, "Missing command"),
        (("aurogy",), 2, "Missing command"),
        (("broadcast",), 2, "Missing command"),
        (("suppressions",), 2, "Missing command"),
        (("aurogy", "profile", ACCOUNT, "--timeout", "nan"), 1, "timeout: must be a number of seconds"),
        (("show", "nothing"), 1, "No message has this id"),
        (("show",), 2, "give a message's ID or its --idempotency-key"),
        (("retry", "nothing"), 1, "There is no message 'nothing'"),
        (("resolve", "nothing", "--as", "gone"), 2, "'--as': 'gone' is not one of"),
        (("resolve", "nothing"), 2, "Missing option '--as'. Choose from: delivered, failed, resend;"),
        (("open", "nobody"), 1, "There is no account 'nobody'"),
        (("close", f"{ACCOUNT}/nothing"), 1, "has no class 'nothing'"),
        (("frobnicate",), 2, "No such command 'frobnicate'"),
        (("lanes", "--config", "missing.toml"), 1, "missing.toml: there is no such file"),
        (("worker",), 1, "The embedded broker does not run"),
        (("beat",), 1, "The embedded broker does not run"),
    ],
)
def test_mistakes_are_told_in_one_sentence(command: Command, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = command(*arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert RECIPIENT not in done.err


def test_a_defect_is_named_without_a_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the text of a message")

    monkeypatch.setattr("paceline.client.Client.messages", broken)
    done = command("list")
    assert done.code == 1
    assert done.err.startswith("paceline: This is a defect of Paceline (ZeroDivisionError)")
    assert "the text of a message" not in done.err


def test_where_only_the_package_is_installed_service_commands_say_where_they_are(tmp_path: Path) -> None:
    # given the package as the wheel holds it, without the checkout around it
    shutil.copytree(ROOT / "paceline", tmp_path / "site" / "paceline", ignore=shutil.ignore_patterns("__pycache__"))

    def paceline(*arguments: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "paceline.cli", *arguments],
            cwd=tmp_path,
            env=clean_environment(PYTHONPATH=str(tmp_path / "site")),
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    # then producers' commands work
    url = f"sqlite:///{tmp_path}/paceline.db"
    (tmp_path / "paceline.toml").write_text(f"[database]\nurl = {json.dumps(url)}\n")
    assert "run `paceline migrate`" in paceline("list").err

    # and the service's say in a sentence where to get it
    up = paceline("up", "--sandbox")
    assert up.code == 1
    assert up.err.startswith("paceline: `paceline up` is a command of the service")
    assert up.err.count("\n") == 1


def test_every_command_of_the_service_is_known_without_it(command: Command) -> None:
    shown = command("--help").out.partition("Commands:")[2]
    names = {line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "}
    groups = {"suppressions", "jobs", "aurogy", "politicalcomms", "broadcast"}
    assert names == {"send", "show", "list", "cancel", *groups, *SERVICE}

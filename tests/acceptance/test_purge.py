"""`paceline purge` on a real installation: counts, JSON, a dry run, and what can still be asked afterwards."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from paceline.cli import run
from paceline.connection import engine, resolve
from tests.acceptance.commands_support import ACCOUNT, RECIPIENT, START, Ran, clean_environment, configure

Command = Callable[..., Ran]
KINDS = ["contents", "messages", "events", "webhooks", "jobs", "broadcasts", "idempotency_keys", "grants"]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs commands in a directory with a migrated installation, in this process."""
    configure(tmp_path, more="")
    with (tmp_path / "paceline.toml").open("a") as file:
        file.write('[retention]\ncontent = "1h"\nmessages = "10d"\n')
    monkeypatch.chdir(tmp_path)
    for name in ("PACELINE_CONFIG", "PACELINE_DATABASE_URL", "PACELINE_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PACELINE_SANDBOX", "1")

    def ran(*arguments: str) -> Ran:
        code = run(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    assert ran("migrate").code == 0
    return ran


def failed(command: Command, days: float) -> str:
    """A message that failed so many days ago."""
    sent = command("send", ACCOUNT, "--to", RECIPIENT, "--text", "Hello!", "--metadata", "order=1").out.strip()
    opened = engine(resolve())
    with opened.begin() as connection:
        connection.execute(
            text(
                "UPDATE paceline_message SET status = 'failed', updated_at = (julianday('now') - 2440587.5 - :days)"
                " * 86400 WHERE id = :id"
            ),
            {"days": days, "id": sent},
        )
    opened.dispose()
    return sent


def test_what_is_old_is_forgotten_and_the_rest_still_answers(command: Command) -> None:
    # given one message of two days ago, whose content may go, and one that may go as a whole
    old, ancient = failed(command, 2), failed(command, 11)

    # when it is only counted, then nothing goes
    foreseen = command("purge", "--dry-run", "--json").json
    assert list(foreseen) == KINDS
    assert foreseen == {**dict.fromkeys(KINDS, 0), "contents": 2, "messages": 1}
    assert command("purge", "--dry-run").out.startswith("would be forgotten:\n  contents          2\n")
    assert command("show", ancient).code == 0

    # when it is purged, then it says as much, and once more nothing
    assert command("purge", "--json").json == foreseen
    assert command("purge").out == "forgotten:\n" + "".join(f"  {kind:<16}  0\n" for kind in KINDS)

    # and the old one still says where it stands, but cannot be sent again
    shown = command("show", old, "--json").json
    assert (shown["status"], shown["metadata"]) == ("failed", {})
    refused = command("retry", old)
    assert refused.code == 1
    assert refused.err == (
        f"paceline: The content of message {old} was erased ([retention] content), so it cannot be sent again; "
        "enqueue it anew.\n"
    )
    assert command("show", ancient).code == 1
    assert [each["id"] for each in command("list", "--json").json] == [old]


def test_workers_have_every_task_that_the_beat_calls(command: Command) -> None:
    """Given an installation, when a process loads its application as Celery does, then nothing scheduled is unknown."""
    look = (
        "from worker.app import app; app.loader.import_default_modules();"
        "print([entry['task'] for entry in app.conf.beat_schedule.values() if entry['task'] not in app.tasks],"
        " 'paceline.purge' in app.tasks)"
    )
    done = subprocess.run(
        [sys.executable, "-c", look],
        env=clean_environment(PACELINE_CONFIG=str(Path.cwd() / "paceline.toml"), PACELINE_SANDBOX="1"),
        capture_output=True, text=True, timeout=START, check=False,
    )  # fmt: skip

    assert done.stdout == "[] True\n", done.stderr

"""`paceline up`: everything answers, carries messages, survives a death, drains and leaves nothing behind."""

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from paceline import Client, Text
from tests.acceptance.commands_support import ACCOUNT, RECIPIENT, Up, configure, get, paceline, post, until, up

PARTS = {"broker", "sandbox", "paceline-1", "paceline-2", "hooks", "beat", "flower"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("up")) as found:
        yield found


def workers_in_flower(running: Up) -> set[str]:
    status, body = get(running.ports.flower, "/api/workers?refresh=1")
    return {name.partition("@")[0] for name in json.loads(body)} if status == 200 else set()


def test_when_it_says_ready_all_of_it_answers(running: Up) -> None:
    # given `paceline up --sandbox` that has printed `ready`, once and on a line of its own
    assert running.lines.count("ready") == 1

    # then every part runs, and each server answers
    assert running.children().keys() == PARTS
    assert get(running.ports.hooks, "/health")[0] == 200
    assert json.loads(get(running.ports.sandbox, "/_control")[1])["providers"]
    until(lambda: workers_in_flower(running) == {"paceline-1", "paceline-2"})


def test_a_message_is_sent_and_followed(running: Up) -> None:
    # when a message is sent from the command line
    sent = running.paceline("send", ACCOUNT, "--to", RECIPIENT, "--text", "Your parcel leaves today.")
    assert sent.code == 0, sent.err

    # then it is delivered, and says so
    until(lambda: running.status(sent.out.strip()) in ("delivered", "read"))
    shown = running.paceline("show", sent.out.strip(), "--json").json
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["accepted"]
    assert shown["waiting_for"] is None


def test_statuses_come_by_webhook_also_from_a_sandbox_that_was_started_again(running: Up) -> None:
    # given a sandbox that dies, and with it what it was told
    victim = running.children()["sandbox"]
    victim.kill()
    until(lambda: running.children().get("sandbox") not in (None, victim))

    # when a message is sent, then it tells us of it, with a signature that we believe
    sent = running.paceline("send", ACCOUNT, "--to", RECIPIENT, "--text", "Your parcel leaves today.").out.strip()
    until(lambda: running.status(sent) in ("delivered", "read"))
    until(lambda: webhooks_of_the_sandbox(running)["acknowledged"] >= 1)
    assert webhooks_of_the_sandbox(running)["dropped"] == 0


def webhooks_of_the_sandbox(running: Up) -> dict[str, int]:
    counts: dict[str, int] = json.loads(get(running.ports.sandbox, "/_control/aurogy/summary")[1])["webhooks"]
    return counts


def test_metrics_are_on_an_address_of_their_own(running: Up) -> None:
    # given a message that was sent
    sent = running.paceline("send", ACCOUNT, "--to", RECIPIENT, "--text", "Your parcel leaves today.").out.strip()
    until(lambda: running.status(sent) in ("delivered", "read"))

    # then the private address shows what became of it, and the public one nothing
    told = [
        'paceline_part_up{part="database"} 1.0',
        f'paceline_requests_total{{account="{ACCOUNT}",lane="{ACCOUNT}/send",outcome="accepted"}}',
        f'paceline_webhooks_total{{account="{ACCOUNT}",outcome="stored"}}',
    ]
    # A part counts what it did once it has written it.
    until(lambda: all(line.encode() in get(running.ports.metrics, "/metrics")[1] for line in told))
    assert get(running.ports.metrics, "/metrics")[0] == 200
    assert get(running.ports.hooks, "/metrics")[0] == 404
    assert get(running.ports.metrics, f"/hooks/{ACCOUNT}")[0] == 404


def test_an_account_that_is_closed_waits_and_one_that_is_opened_goes_on_at_once(running: Up) -> None:
    # given a closed account with a message
    assert running.paceline("close", ACCOUNT).code == 0
    sent = running.paceline("send", ACCOUNT, "--to", RECIPIENT, "--text", "Later.").out.strip()
    lane = running.paceline("lanes", "--json").json[0]
    assert (lane["lane"], lane["open"], lane["closed_until"]) == (f"{ACCOUNT}/send", False, None)
    assert lane["closed_reason"] == "closed by an operator"
    assert lane["backlog"] == 1
    assert running.status(sent) == "queued"

    # when only the lane is opened, then the key still holds it back, and that is said
    assert "key is still closed" in running.paceline("open", f"{ACCOUNT}/send").out
    assert running.status(sent) == "queued"

    # when the account is opened, then it leaves
    assert running.paceline("open", ACCOUNT).code == 0
    until(lambda: running.status(sent) in ("accepted", "sent", "delivered", "read"))
    lane = running.paceline("lanes", "--json").json[0]
    assert lane["open"]
    assert lane["limits"][0]["limit"] == "100/minute"
    assert 90 <= lane["limits"][0]["left"] < 100


def test_a_second_one_is_refused_in_one_sentence(running: Up, tmp_path: Path) -> None:
    # given another `up` on the same installation, with ports that are free
    text = (running.directory / "paceline.toml").read_text()
    other = running.directory / "other.toml"
    configure(tmp_path)
    ports = (tmp_path / "paceline.toml").read_text().partition("[worker]")[0]
    other.write_text(ports + "[worker]" + text.partition("[worker]")[2])

    # when it starts, then it says why not, and the first one goes on
    second = running.paceline("up", "--sandbox", "--config", str(other))
    assert second.code == 1
    assert second.err == f"paceline: Another `paceline up` runs in {running.directory}; stop that one first.\n"
    assert running.children().keys() == PARTS


def test_doctor_finds_nothing_wrong(running: Up) -> None:
    found = running.paceline("doctor", "--json")
    assert found.code == 0, found.out
    subjects = [finding["subject"] for finding in found.json]
    assert subjects[:3] == ["configuration", "database", "database's clock"]
    assert f"account {ACCOUNT}" in subjects
    asked = next(finding for finding in found.json if finding["subject"] == f"account {ACCOUNT} at aurogy")
    assert asked["found"].startswith("works, answered in")
    assert all(finding["ok"] for finding in found.json)


def test_a_worker_that_dies_is_started_again(running: Up) -> None:
    # given a worker that is killed
    victim = running.children()["paceline-1"]
    victim.kill()

    # then another takes its place
    until(lambda: running.children().get("paceline-1") not in (None, victim))
    until(lambda: any("worker-1 was ended by SIGKILL; it is started again" in line for line in running.lines))


def test_ctrl_c_finishes_what_is_on_the_wire_and_leaves_nothing_behind(running: Up) -> None:
    # given a provider that takes its time, and a message on its way to it
    until(lambda: running.children().keys() == PARTS)
    assert post(running.ports.sandbox, "/_control/aurogy/faults", {"kind": "delay", "seconds": 15.0}) == 200
    with Client(running.directory / "paceline.toml", environ={}) as client:
        sent = client.enqueue(Text(to=RECIPIENT, text="The last one."), via=ACCOUNT).id
        until(lambda: client.status(sent).status == "sending")
    processes = list(running.children().values())

    # when Ctrl-C is pressed
    assert running.stop(signal.SIGINT) == 0, running.said()

    # then the answer was waited for and written, and no process is left
    assert running.status(sent) == "accepted"
    assert not [each for each in processes if each.is_running()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends the children of a killed process")
def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with up(tmp_path) as running:
        processes = list(running.children().values())
        running.process.kill()
        _, alive = psutil.wait_procs(processes, timeout=60)
        assert alive == []


def test_a_port_that_is_taken_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    # given somebody else on the hooks' port
    ports = configure(tmp_path)
    with socket.create_server(("127.0.0.1", ports.hooks)):
        done = paceline(tmp_path, "up", "--sandbox")
    assert done.code == 1
    assert done.err == (
        f"paceline: paceline.toml: hooks.bind: 127.0.0.1:{ports.hooks} cannot be listened at (Address already in use); "
        "choose another address or stop what uses it\n"
    )
    assert "ready" not in done.out


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    # given a file where the private directory should be
    configure(tmp_path)
    (tmp_path / ".paceline").write_text("")
    done = paceline(tmp_path, "up", "--sandbox")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert str(tmp_path / ".paceline") in done.err


def test_a_broken_configuration_is_told_a_sentence_a_mistake(tmp_path: Path) -> None:
    configure(tmp_path, 'on_unknwon = "retry"\nreserve = "lots"\n')
    done = paceline(tmp_path, "up", "--sandbox")
    assert done.code == 1
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert any("accounts.aurogy-main.on_unknwon" in line and "did you mean on_unknown?" in line for line in lines)
    assert any("accounts.aurogy-main.reserve" in line for line in lines)

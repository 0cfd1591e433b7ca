"""A contact list as a file: by library call and by command, through the real worker, on the key's one lane."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from paceline import CallFailed, CallTimeout
from paceline.cli import run
from providers.politicalcomms import PROVIDER
from sandbox.background import SandboxServer
from tests.contract.politicalcomms_support import Driver
from tests.support.installation import Installation
from tests.support.raw_server import Peer, raw_server
from worker.service import Service
from worker.transport import ANSWER_LIMIT

PC = "pc-main"
URL = "https://files.example.com/people.csv"
# Longer than any other answer may be.
CSV = "phone,note\n" + "".join(f"+1555{number:07},{'x' * 200}\n" for number in range(5_550_000, 5_556_000))
Made = Callable[[str], Installation]


@pytest.fixture
def made(build: Callable[..., Installation], working: Callable[[Service], None]) -> Made:
    """Makes an installation with a Political Comms account at a base URL, whose worker works."""

    def at(base_url: str) -> Installation:
        fields = {each.name: each.sandbox for each in PROVIDER.credentials} | {"provider": "politicalcomms"}
        lines = [f"{name} = {json.dumps(value)}" for name, value in {**fields, "base_url": base_url}.items()]
        lines.append("retry = { schedule = [0.1, 0.1] }")
        found = build(accounts="\n".join([f"[accounts.{PC}]", *lines, ""]))
        working(found.service())
        return found

    return at


@pytest.fixture
def listed(made: Made, sandbox: SandboxServer) -> tuple[Installation, str]:
    """An installation, and a list that is ready at the sandbox."""
    sandbox.settings("politicalcomms", {"imports": {"seconds": 0, "files": {URL: CSV}}})
    driver = Driver(sandbox)
    list_id = driver.ask("import_contacts", source_url=URL, list_name="Spring", phone_column="phone")["list_id"]
    sandbox.clear_ledger("politicalcomms")
    return made(sandbox.base_url("politicalcomms")), str(list_id)


def test_a_list_is_downloaded_as_it_was_imported(
    listed: tuple[Installation, str], sandbox: SandboxServer, tmp_path: Path
) -> None:
    built, list_id = listed
    assert len(CSV) > ANSWER_LIMIT

    found = built.client.politicalcomms(PC, timeout=120).download_contact_list(list_id, tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_text() == CSV
    assert (found["bytes"], found["type"]) == (len(CSV), "original")
    # By one request of the key's own lane, of which the database and the worker's host keep nothing.
    assert [entry.path for entry in sandbox.ledger("politicalcomms")] == [f"/v1/contact-lists/{list_id}/download"]
    assert [row["lane"] for row in built.rows("SELECT lane FROM paceline_job")] == [f"{PC}/api"]
    assert list((built.settings_file.parent / "downloads").iterdir()) == []
    assert "555" not in built.rows("SELECT result FROM paceline_job")[0]["result"].replace(found["sha256"], "")


def test_a_file_that_is_longer_than_allowed_is_not_kept(
    listed: tuple[Installation, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built, list_id = listed
    target, config = tmp_path / "out.csv", str(built.settings_file)

    code = run(["politicalcomms", "download-contact-list", PC, list_id, str(target), "--max-bytes", "99", "--config",
                config])  # fmt: skip

    said = capsys.readouterr().err.splitlines()
    assert code == 1
    assert said[-1].endswith("failed: max_bytes: the file has more than 99 bytes; nothing of it was kept")
    assert not target.exists()
    assert list((built.settings_file.parent / "downloads").iterdir()) == []


def test_a_host_that_cannot_write_says_so(listed: tuple[Installation, str], tmp_path: Path) -> None:
    built, list_id = listed
    (built.settings_file.parent / "downloads").write_text("a file stands where the directory should")

    with pytest.raises(CallFailed, match=r"cannot write to worker\.downloads: look at that disk"):
        built.client.politicalcomms(PC, timeout=120).download_contact_list(list_id, tmp_path / "out.csv")


def test_an_analysis_under_way_is_waited_for_and_none_is_told(
    listed: tuple[Installation, str], sandbox: SandboxServer, tmp_path: Path
) -> None:
    built, list_id = listed
    pc = built.client.politicalcomms(PC, timeout=120)
    with pytest.raises(CallFailed, match="type: the list is not analysed; begin that with start_analyze"):
        pc.download_contact_list(list_id, tmp_path / "out.csv", type="analyzed")
    Driver(sandbox).step("analyze", "j", '{"step": "", "memory": {}}', {"list_id": list_id, "confirm": True})

    pc.download_contact_list(list_id, tmp_path / "out.csv", type="analyzed")

    header, first, *_ = (tmp_path / "out.csv").read_text().splitlines()
    assert (header, first.rpartition(",")[2]) == ("phone,note,line_type", "mobile")


def test_a_redirect_is_not_followed_with_the_key_and_closes_nothing(made: Made, tmp_path: Path) -> None:
    with raw_server(lambda peer: None) as other:

        def redirect(peer: Peer) -> None:
            while peer.read_request():
                peer.answer(b"", "HTTP/1.1 302 Found", location=f"http://127.0.0.1:{other.port}/file.csv")

        with raw_server(redirect) as server:
            built = made(f"http://127.0.0.1:{server.port}")

            with pytest.raises(
                CallFailed, match="http_302: a redirect, which is not followed, since the request bears"
            ):
                built.client.politicalcomms(PC, timeout=120).download_contact_list("l", tmp_path / "out.csv")

        assert other.peers == []
    [lane] = built.rows("SELECT closed_reason FROM paceline_lane WHERE name = :name", name=f"{PC}/api")
    assert lane["closed_reason"] is None


def test_a_file_that_breaks_off_is_asked_for_again(made: Made, tmp_path: Path) -> None:
    """Given a server whose first answer ends in the middle, then its second one is the file, and nothing else is."""

    def breaking(peer: Peer) -> None:
        while peer.read_request():
            if peer.number == 0:
                peer.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 4000\r\n\r\nphone")
                return
            peer.answer(b"phone\n+15555550101\n", content_type="text/csv")

    with raw_server(breaking) as server:
        built = made(f"http://127.0.0.1:{server.port}")

        built.client.politicalcomms(PC, timeout=120).download_contact_list("l", tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_bytes() == b"phone\n+15555550101\n"
    assert list((built.settings_file.parent / "downloads").iterdir()) == []


def test_a_portals_page_is_no_list(made: Made, tmp_path: Path) -> None:
    def portal(peer: Peer) -> None:
        while peer.read_request():
            peer.answer(b"<html>Please sign in</html>", content_type="text/html")

    with raw_server(portal) as server:
        built = made(f"http://127.0.0.1:{server.port}")

        with pytest.raises((CallTimeout, CallFailed)):
            built.client.politicalcomms(PC, timeout=3).download_contact_list("l", tmp_path / "out.csv")

    assert not (tmp_path / "out.csv").exists()

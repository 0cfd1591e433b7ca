"""Political Comms as an application and an operator ask it, on the one lane that its sends and questions share."""

import json
from collections.abc import Callable

import pytest

from paceline import Client, InvalidMessage
from paceline.cli import run
from providers.politicalcomms import PROVIDER
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation
from worker.service import Service

Build = Callable[..., Installation]
PC = "pc-main"


@pytest.fixture
def built(build: Build, sandbox: SandboxServer, working: Callable[[Service], None]) -> Installation:
    """An installation with an account of each, whose worker works."""
    url = json.dumps(sandbox.base_url("politicalcomms"))
    more = f'[accounts.{PC}]\nprovider = "politicalcomms"\nbase_url = {url}\n'
    names = ("api_key", "organization_id")
    more += "".join(
        f"{each.name} = {json.dumps(each.sandbox)}\n" for each in PROVIDER.credentials if each.name in names
    )
    made = build(accounts=more)
    working(made.service())
    return made


def test_its_one_lane_holds_sends_and_jobs(built: Installation) -> None:
    lane = built.topology.lanes[f"{PC}/api"]

    assert PC in lane.senders
    assert PC in lane.callers


def test_the_hierarchy_is_asked_once_in_five_minutes(built: Installation, sandbox: SandboxServer) -> None:
    client: Client = built.client
    first = client.politicalcomms(PC, timeout=20).organizations()

    assert client.politicalcomms(PC).organizations() == first
    assert first
    assert len(sandbox.ledger("politicalcomms")) == 1


def test_each_provider_has_its_own_face(built: Installation) -> None:
    with pytest.raises(InvalidMessage, match=f"account of aurogy; {PC} is one of politicalcomms"):
        built.client.aurogy(PC)
    with pytest.raises(InvalidMessage, match=f"account of politicalcomms; {ACCOUNT} is one of aurogy"):
        built.client.politicalcomms(ACCOUNT)


def test_its_methods_are_commands(built: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([*arguments, "--config", str(built.settings_file)])
        said = capsys.readouterr()
        return code, "\n".join(line for line in said.out.splitlines() if not line.startswith("20")), said.err

    code, out, _ = ask("politicalcomms", "organizations", PC, "--json")
    assert code == 0
    assert json.loads(out)[0]["organization_id"]
    for day in ("2026-02-30", "20260201"):
        code, _, err = ask("politicalcomms", "usage", PC, day, "2026-03-01")
        assert (code, err) == (2, "paceline: Invalid value: start takes YYYY-MM-DD; --help shows what is taken.\n")
    code, _, err = ask("politicalcomms", "create-project", PC, "--set", "name=Spring")
    assert (code, err) == (1, "paceline: protocol: is required\n")
    code, _, err = ask("politicalcomms", "test-project", PC, "p1", "not json")
    assert code == 2
    assert "test-contacts takes JSON" in err
    code, out, _ = ask("politicalcomms", "start-watch", PC, "p1", "--json")
    job = json.loads(out)["job"]
    assert built.client.job(job).operation == "watch"

"""Political Comms as an application and an operator ask it, on the one lane that its sends and questions share."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paceline import CallTimeout, Client, InvalidMessage
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
    first = client.politicalcomms(PC, timeout=120).organizations()

    assert client.politicalcomms(PC).organizations() == first
    assert first
    assert client.politicalcomms(PC, timeout=120).brands() == client.politicalcomms(PC).brands()
    assert [entry.path for entry in sandbox.ledger("politicalcomms")] == ["/v1/organizations", "/v1/brands"]
    # Another question is another answer.
    child = client.politicalcomms(PC, timeout=120).brands(organization_id=first[1]["id"])
    assert [brand["organization_id"] for brand in child] == [first[1]["id"]]


def test_each_provider_has_its_own_face(built: Installation) -> None:
    with pytest.raises(InvalidMessage, match=f"account of aurogy; {PC} is one of politicalcomms"):
        built.client.aurogy(PC)
    with pytest.raises(InvalidMessage, match=f"account of politicalcomms; {ACCOUNT} is one of aurogy"):
        built.client.politicalcomms(ACCOUNT)


OPTIONS = """[accounts.pc-main.options]
"dates.max_range_days" = 180
"dates.max_age_days" = 200
"limits.text" = 2000
"limits.name" = 10
"""
PROJECT: dict[str, Any] = {"protocol": "sms", "phone_number_ids": ["n"], "brand_id": "b", "campaign_id": "c"}


def test_the_accounts_options_hold_at_the_door(build: Build, sandbox: SandboxServer) -> None:
    """Given an account with options of its own, when a producer asks, then they hold before anything is stored."""
    url = json.dumps(sandbox.base_url("politicalcomms"))
    more = f'[accounts.{PC}]\nprovider = "politicalcomms"\nbase_url = {url}\n'
    more += 'api_key = "pc_live_sandbox0000"\n'
    built = build(accounts=more + OPTIONS)
    pc = built.client.politicalcomms(PC, timeout=0)
    today = datetime.now(UTC).date()

    for refused, sentence in (
        (lambda: pc.usage(today - timedelta(days=180), today), "end_date: must be within 180 days"),
        (lambda: pc.usage(today - timedelta(days=201), today - timedelta(days=200)), "more than 200 days ago"),
        (lambda: pc.create_project(name="N", message_text="x" * 1992, **PROJECT), "at most 2000 characters"),
        (lambda: pc.create_project(name="x" * 11, message_text="x", **PROJECT), "name: must have at most 10"),
        (lambda: pc.start_analyze("l", max_cost_cents=5), "needs the account's option analysis.cents_per_number"),
        (lambda: pc.start_import_media("http://files.example.com/a.jpg"), "source_url: must be an https:// URL"),
    ):
        with pytest.raises(InvalidMessage, match=sentence):
            refused()
    assert built.client.jobs() == []

    with pytest.raises(CallTimeout):
        pc.usage(today - timedelta(days=179), today)
    pc.start_import_media("http://127.0.0.1:1/a.jpg")  # the sandbox fetches from here
    assert len(built.client.jobs()) == 2


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

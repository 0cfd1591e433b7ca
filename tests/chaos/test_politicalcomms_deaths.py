"""A broadcast of Political Comms' own, each of whose steps costs a process its life: nothing is made or paid twice."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import cycle
from multiprocessing import forkserver

import pytest

from providers.politicalcomms import PROVIDER
from sandbox.background import SandboxServer
from tests.chaos.boundaries import DELIVERING, DIED, WRITTEN, run
from tests.contract.politicalcomms_support import Driver
from tests.support.installation import Installation

PC = "pc-main"
URL = "https://files.example.com/people.csv"
CSV = "phone,first_name\n" + "".join(f"+1555556{number:04},Contact {number}\n" for number in range(5))
AT_ONCE = {"imports": {"seconds": 0, "files": {URL: CSV}}, "analysis": {"seconds": 0}, "media": {"seconds": 0}}
# One dies in the step that is due, once its request has left or once it is answered. The next one repeats that step,
# goes on to another, and dies in that.
DEATHS = ((WRITTEN, 1), (WRITTEN, 2), (DELIVERING, 1), (DELIVERING, 2))
ENDED = "UPDATE paceline_{table} SET lease_until = lease_until - 1000 WHERE lease_until IS NOT NULL"
STEPS = {"", "list", "analyze", "analysis", "find", "media_import", "media", "create", "test", "schedule", "project",
         "stats"}  # fmt: skip
MOST = 60  # deaths, or the job gets nowhere


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """The server that forks ends with this test."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # nothing public stops it


@pytest.fixture
def built(build: Callable[..., Installation], sandbox: SandboxServer) -> Installation:
    """An installation with a Political Comms account, on whose lane there is room for every repetition."""
    sandbox.settings("politicalcomms", AT_ONCE | {"ratelimit": {"api": "10000/hour"}})
    fields = {each.name: each.sandbox for each in PROVIDER.credentials} | {"provider": "politicalcomms"}
    fields["base_url"] = sandbox.base_url("politicalcomms")
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    lines += ['limits = { api = ["10000/hour"] }', "retry = { schedule = [0.1, 0.1, 0.1, 0.1] }"]
    return build(accounts="\n".join([f"[accounts.{PC}]", *lines, ""]))


@pytest.mark.timeout(900)
def test_a_process_that_dies_in_every_step_makes_and_pays_nothing_twice(
    built: Installation, sandbox: SandboxServer
) -> None:
    # Given: a broadcast with everything it can have.
    job = built.client.politicalcomms(PC).start_broadcast(
        name="Spring",
        source_url=URL,
        phone_column="phone",
        message_text="Hi {first_name}",
        phone_number_ids=["01JV0NUM0000000000000000D1"],
        brand_id="01JV0BRD0000000000000000A1",
        campaign_id="01JV0CMP0000000000000000A1",
        media_url="https://files.example.com/hero.jpg",
        analyze=True,
        test_contacts=[{"phone": "+15555550100"}],
        scheduled_at=datetime.now(UTC),
        timezone="America/New_York",
    )

    # When: one process after the other dies while it carries it out, until it is done.
    service, died, deaths = built.service(), Counter[str](), cycle(DEATHS)
    for number in range(MOST):
        for table in ("job", "grant"):
            built.run(ENDED.format(table=table))
        service.sweep()
        built.run("UPDATE paceline_job SET due_at = 1 WHERE status = 'queued'")
        built.redis.delete(*built.redis.keys("*:tick"), "nothing")
        sandbox.advance(10)
        view = built.client.job(job)
        if view.status.final:
            break
        code = run(built.settings_file, "job", number, *next(deaths))
        assert code in (0, DIED)
        died[view.step] += code == DIED

    # Then: it is done, though a process died in every one of its steps.
    view = built.client.job(job)
    assert (str(view.status), view.reason) == ("done", None)
    assert (view.result["completed"], view.result["delivered"]) == (True, 5)
    print(f"\n{died.total()} deaths: {dict(died)}")
    assert {step for step in died if died[step]} == STEPS

    # And: one of each thing was made, every number was looked up once, and every contact was written to once.
    there = Driver(sandbox)
    made = {name: len(there.ask(name)) for name in ("contact_lists", "media", "projects")}
    assert made == {"contact_lists": 1, "media": 1, "projects": 1}
    day = there.ask("project", project_id=view.result["project_id"])["created_at"][:10]
    charged = there.ask("usage", start_date=day, end_date=day)["answer"]["categories"]
    assert {row["category"]: row["quantity"] for row in charged} == {"carrier_lookup": 5, "mms": 6}  # with the test's

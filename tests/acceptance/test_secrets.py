"""Content stays home: no recipient, body, credential or provider's answer where it does not belong.

One run of the whole service, at DEBUG, in which everything happens that quotes: refusals, poisoned rows, calls that
are none, callbacks. Then everything that it let be seen is searched.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.secrets_support import CONTENT, CREDENTIALS, KINDS, Seen, service
from tests.support.planted import found, places

EVERYTHING = CONTENT | CREDENTIALS
ROW = {"paceline_message.payload"}
# What people write back, what could not be read, and what was asked of a provider.
WROTE = {"paceline_event.data", "paceline_webhook.data", "paceline_job.result"}
ADDRESS = {"paceline_webhook.recipient"}
# What came as a provider's id or key is kept as such: nothing else would find the message again.
NAMED = {"paceline_webhook.provider_message_id"}
# AuroraSendCloud's own ids hold the recipient, as in "1700000000000_1_1_1.sc-10_2_3$ana@example.org".
IN_ITS_ID = {"an e-mail's recipient", "a text message's recipient"}


@pytest.fixture(scope="module")
def seen(sqlite_template: Path) -> Iterator[Seen]:
    with service() as planted:
        yield planted.run(sqlite_template)


def test_all_of_it_happened(seen: Seen) -> None:
    """So that what follows is not true of an empty run."""
    assert {name: seen.statuses[f"refused by {name}"] for name in ("aurogy", "augnet", "aulm")} == dict.fromkeys(
        ("aurogy", "augnet", "aulm"), "failed"
    )
    assert seen.statuses["poisoned"] == "failed"
    assert {seen.statuses[f"taken by {name}"] for name in ("aurogy", "augnet", "aulm")} <= {
        "accepted", "sent", "delivered", "read",
    }  # fmt: skip
    for name in ("aurorasendcloud-email", "aurorasendcloud-sms", "politicalcomms"):
        assert seen.statuses[f"taken by {name}"] in ("accepted", "sent", "delivered", "read"), name
        assert seen.statuses[f"refused by {name}"] in ("failed", "unknown"), name
    assert set(seen.webhooks) >= KINDS
    logged = seen.logs["worker.log"]
    assert '"level": "debug"' in logged
    for said in ("unregistered task", "unknown message", "Can't decode message body", '"event": "attempt"', "refused"):
        assert said in logged
    assert '"event": "refused"' in seen.logs["hooks.log"]
    assert "paceline.send" in seen.pages["/tasks"] + seen.pages["/api/tasks?limit=10000"]


def test_no_log_line_holds_any_of_it(seen: Seen) -> None:
    for name, log in seen.logs.items():
        assert found(EVERYTHING, log) == set(), name


def test_neither_flower_nor_the_metrics_show_any_of_it(seen: Seen) -> None:
    for page, held in seen.pages.items():
        assert found(EVERYTHING, held) == set(), page


def test_the_broker_holds_only_what_was_sent_through_it(seen: Seen) -> None:
    """The documented exception: what `paceline.enqueue` carries is in the broker until its row exists."""
    through = {
        "a recipient of the broker's",
        "a body of the broker's",
        "a misspelt call's recipient",
    }
    others = {name: needle for name, needle in EVERYTHING.items() if name not in through}
    lines = [line for line in seen.broker.splitlines() if "paceline.enqe" not in line and "PUBLISH" not in line[:8]]

    assert len(lines) > 100
    own = [line for line in lines if not found({"it": "4713c"}, line)]
    assert found(others, "\n".join(own)) == set()


def test_what_goes_through_the_broker_is_in_no_header(seen: Seen) -> None:
    calls = [line for line in seen.broker.splitlines() if "through-the-broker" in line or "Brokerbody" in line]
    assert all("argsrepr" not in line or CONTENT["a body of the broker's"] not in line for line in calls)


def test_no_call_of_a_wrong_form_ends_a_worker(seen: Seen) -> None:
    """Given calls of every wrong form, when they are taken from the queue that is open to all, then each is dropped,
    and the genuine one behind them is taken by the same worker."""
    logged = seen.logs["worker.log"]
    assert "Unrecoverable" not in logged
    assert logged.count("its form is not a call's") >= 8


def test_no_command_line_holds_a_secret(seen: Seen) -> None:
    assert len(seen.commands) == 4
    assert found(EVERYTHING, "\n".join(seen.commands)) == set()


def test_what_operators_and_applications_are_shown_holds_none_of_it(seen: Seen) -> None:
    for name, held in seen.shown.items():
        # Metadata is the application's own, and comes back to who asks for the message; not by chance, in a repr.
        asked = {"metadata"} if name.startswith(("show", "list")) else set()
        asked |= IN_ITS_ID if name.startswith("list") or (name.startswith("status") and "aurorasend" in name) else set()
        assert found(EVERYTHING, held) <= asked, name


def test_the_database_holds_content_only_where_it_belongs(seen: Seen) -> None:
    where = places(seen.engine, EVERYTHING)

    assert [name for name in CREDENTIALS if where[name]] == []
    assert where["somebody who writes"] <= WROTE | ADDRESS | {"paceline_suppression.recipient"}
    assert where["what somebody writes"] <= WROTE
    assert where["a provider's answer"] == set()
    for name in CONTENT.keys() - {"somebody who writes", "what somebody writes", "a provider's answer"}:
        named = NAMED | ({"paceline_message.provider_message_id"} if name in IN_ITS_ID else set())
        assert where[name] <= ROW | WROTE | ADDRESS | named, name
    assert where["a body"] >= ROW
    assert where["metadata"] == ROW


def test_a_report_about_a_message_keeps_nothing_of_what_it_said(seen: Seen) -> None:
    with seen.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT data FROM paceline_webhook WHERE kind = 'status'").scalars().all()
    assert rows
    assert set(rows) == {None}

"""The in-memory client's jobs: the doors of the real one, and the answers that a test prepared."""

from typing import Any

import pytest

from paceline import CallFailed, IdempotencyConflict, InvalidMessage, JobNotFound, UnknownAccount
from paceline.capabilities import Call, Capabilities, Rule
from paceline.testing import InMemoryClient

PAGE: dict[str, Any] = {"conversations": [], "next_cursor": None, "has_more": False}
ACCOUNTS = {
    "main": Capabilities(
        kinds={}, calls={"conversations": Call({"limit": Rule(min_number=1, max_number=100, whole=True)})}
    )
}


def test_a_prepared_answer_serves_every_call() -> None:
    client = InMemoryClient()
    client.answers("conversations", PAGE)

    assert client.call("main", "conversations", limit=5, cursor=None) == PAGE
    assert client.aurogy("main").conversations().has_more is False
    assert [(each.account, each.operation, each.arguments) for each in client.asked] == [
        ("main", "conversations", {"limit": 5}),
        ("main", "conversations", {}),
    ]
    assert "limit" not in repr(client.asked)


def test_an_account_can_answer_otherwise() -> None:
    client = InMemoryClient()
    client.answers("profile", 1)
    client.answers("profile", 2, account="other")

    assert (client.call("main", "profile"), client.call("other", "profile")) == (1, 2)


def test_an_answer_may_depend_on_the_arguments() -> None:
    client = InMemoryClient()
    client.answers("double", lambda number: number * 2)

    assert client.call("main", "double", number=21) == 42


def test_an_error_is_raised_and_fails_the_job() -> None:
    client = InMemoryClient()
    client.answers("profile", CallFailed("job", "profile", "failed", "forbidden"))

    with pytest.raises(CallFailed):
        client.call("main", "profile")
    [view] = client.jobs()
    assert (view.status, view.reason) == ("failed", "forbidden")


def test_what_nobody_prepared_is_a_mistake_of_the_test() -> None:
    with pytest.raises(AssertionError, match="no answer was prepared for profile of main"):
        InMemoryClient().call("main", "profile")


def test_a_started_job_waits_for_its_test() -> None:
    client = InMemoryClient()
    job, refused, given_up = (client.start("main", "import", list_name=name) for name in "abc")

    client.finish_job(job, {"list_id": "l1"})
    client.fail_job(refused, "INVALID_CSV")

    assert client.job(job).result == {"list_id": "l1"}
    assert (client.job(refused).status, client.job(refused).reason) == ("failed", "INVALID_CSV")
    assert client.cancel_job(given_up)
    assert not client.cancel_job(job)
    assert [view.id for view in client.jobs(status="cancelled")] == [given_up]
    assert [view.id for view in client.jobs(limit=2, operation="import", account="main")] == [given_up, refused]
    assert client.jobs(after=job) == []
    with pytest.raises(JobNotFound):
        client.job("none")
    with pytest.raises(InvalidMessage):
        client.jobs(status="lost")


def test_an_idempotency_key_stands_for_one_job() -> None:
    client = InMemoryClient()
    client.answers("import", lambda list_name: list_name)
    first = client.start("main", "import", list_name="a", idempotency_key="k")

    assert client.start("main", "import", list_name="a", idempotency_key="k") == first
    assert client.call("main", "import", list_name="a", idempotency_key="k") == "a"
    with pytest.raises(IdempotencyConflict):
        client.start("main", "import", list_name="b", idempotency_key="k")
    assert len(client.asked) == 1


def test_accounts_have_the_doors_that_they_are_given() -> None:
    client = InMemoryClient(ACCOUNTS)
    client.answers("conversations", PAGE)

    assert client.call("main", "conversations", limit=100) == PAGE
    for arguments in ({"limit": 0}, {"limit": 1.5}, {"size": 1}):
        with pytest.raises(InvalidMessage):
            client.call("main", "conversations", **arguments)
    with pytest.raises(InvalidMessage, match="operation"):
        client.start("main", "profile")
    with pytest.raises(UnknownAccount):
        client.start("nobody", "conversations")
    with pytest.raises(InvalidMessage, match="account"):
        InMemoryClient().start("", "profile")
    assert len(client.asked) == 1

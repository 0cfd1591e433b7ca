"""What an operator does by hand, and what is refused with a sentence that says what to do instead."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from paceline.errors import MessageNotFound, PacelineError
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, until
from worker import operate

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"


@pytest.fixture
def built(build: Build) -> Installation:
    return build()


def ended(built: Installation, status: str, **columns: Any) -> str:
    """A message that stands there, after a failure or two."""
    receipt = built.text()
    values = {
        "status": status,
        "failures": 3,
        "failed_at": 5.0,
        "first_sent_at": 5.0,
        "polls": 4,
        "poll_at": 9.0,
    } | columns
    built.run(
        f"UPDATE paceline_message SET {', '.join(f'{name} = :{name}' for name in values)} WHERE id = :id",
        id=receipt.id, **values,
    )  # fmt: skip
    return receipt.id


def message(built: Installation) -> dict[str, Any]:
    [row] = built.rows("SELECT * FROM paceline_message")
    return dict(row)


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_a_retry_starts_afresh(built: Installation, status: str) -> None:
    id_ = ended(built, status, attempt=2)

    operate.retry(built.engine, id_)

    row = message(built)
    assert (row["status"], row["failures"], row["polls"], bool(row["unresolved"])) == ("queued", 0, 0, False)
    assert {row[name] for name in ("failed_at", "first_sent_at", "due_at", "poll_at", "reason")} == {None}
    assert row["attempt"] == 2  # the next one is the third, and no earlier answer is taken for its own
    [event] = built.client.status(id_).events
    assert (event.source, event.status, event.reason) == ("operator", "queued", "retried by an operator")


@pytest.mark.parametrize("status", ["queued", "sending", "accepted", "sent", "delivered", "read"])
def test_what_may_yet_arrive_is_not_retried(built: Installation, status: str) -> None:
    id_ = ended(built, status)

    with pytest.raises(PacelineError, match=f"is {status}; only failed, expired or cancelled"):
        operate.retry(built.engine, id_)

    assert message(built)["status"] == status


def test_the_unknown_is_for_resolve_to_settle(built: Installation) -> None:
    id_ = ended(built, "unknown", unresolved=True)

    with pytest.raises(PacelineError, match=r"resolve .* --as resend"):
        operate.retry(built.engine, id_)


@pytest.mark.parametrize("how", [operate.retry, lambda engine, id_: operate.resolve(engine, id_, "resend")])
def test_what_has_expired_is_not_queued_again(built: Installation, how: Callable[..., None]) -> None:
    id_ = ended(built, "failed" if how is operate.retry else "unknown", expires_at=1.0)

    with pytest.raises(PacelineError, match=r"expires_at .* has passed; enqueue it anew"):
        how(built.engine, id_)

    assert message(built)["status"] != "queued"
    assert not built.client.status(id_).events


@pytest.mark.parametrize(
    ("verdict", "status"), [("delivered", "delivered"), ("failed", "failed"), ("resend", "queued")]
)
def test_the_unknown_is_settled(built: Installation, verdict: str, status: str) -> None:
    id_ = ended(built, "unknown", unresolved=True)

    operate.resolve(built.engine, id_, verdict)

    row = message(built)
    assert (row["status"], bool(row["unresolved"]), row["poll_at"]) == (status, False, None)
    assert [event.source for event in built.client.status(id_).events] == ["operator"]
    with pytest.raises(PacelineError, match="only unknown ones"):
        operate.resolve(built.engine, id_, verdict)


def test_a_verdict_must_be_one_of_three(built: Installation) -> None:
    with pytest.raises(PacelineError, match="delivered, failed, resend"):
        operate.resolve(built.engine, ended(built, "unknown"), "lost")


@pytest.mark.parametrize("how", [operate.retry, lambda engine, id_: operate.resolve(engine, id_, "failed")])
def test_a_message_that_is_not_there_is_named(built: Installation, how: Callable[..., None]) -> None:
    with pytest.raises(MessageNotFound, match="no message 'nobody'"):
        how(built.engine, "nobody")


# Lanes


def closed(built: Installation) -> dict[str, str | None]:
    lanes = built.rows("SELECT name, closed_reason FROM paceline_lane WHERE closed_reason IS NOT NULL")
    keys = built.rows("SELECT name, closed_reason FROM paceline_key WHERE closed_reason IS NOT NULL")
    return {row["name"]: row["closed_reason"] for row in [*lanes, *keys]}


def test_an_account_names_all_its_lanes_and_a_class_one(built: Installation) -> None:
    assert {lane.name for lane in operate.lanes_named(built.topology, ACCOUNT)} > {SEND, f"{ACCOUNT}/status"}
    assert [lane.name for lane in operate.lanes_named(built.topology, SEND)] == [SEND]


def test_an_account_of_a_shared_key_names_the_keys_lanes(build: Build) -> None:
    alias = '[accounts.alias]\nprovider = "aurogy"\nbase_url = "{url}"\napi_key = "auro_test_sk_0123456789abcdef"\n'
    built = build(base_url="http://127.0.0.1:9/v1", accounts=alias.format(url="http://127.0.0.1:9/v1"))

    assert [lane.name for lane in operate.lanes_named(built.topology, "alias/send")] == [SEND]


@pytest.mark.parametrize(
    ("name", "rule"),
    [("nobody", "no account 'nobody'; there are aurogy-main"), (f"{ACCOUNT}/mail", "no class 'mail'; it has")],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(built: Installation, name: str, rule: str) -> None:
    with pytest.raises(PacelineError, match=rule):
        operate.lanes_named(built.topology, name)


def test_a_lane_is_closed_and_opened_alone(built: Installation) -> None:
    lanes = operate.lanes_named(built.topology, SEND)
    operate.close(built.engine, lanes, whole_key=False)
    assert closed(built) == {SEND: operate.CLOSED_BY_HAND}

    operate.open_(built.engine, lanes, whole_key=False)
    assert closed(built) == {}


def test_a_whole_account_is_closed_by_its_key(built: Installation) -> None:
    lanes = operate.lanes_named(built.topology, ACCOUNT)

    operate.close(built.engine, lanes, whole_key=True)

    assert closed(built) == {ACCOUNT: operate.CLOSED_BY_HAND}


def test_opening_an_account_opens_whatever_closed_it(built: Installation) -> None:
    built.run("UPDATE paceline_key SET closed_reason = '401'")
    built.run("UPDATE paceline_lane SET closed_reason = '403', closed_until = 4e9, refusals = 5")

    operate.open_(built.engine, operate.lanes_named(built.topology, ACCOUNT), whole_key=True)

    assert closed(built) == {}
    assert {(row["closed_until"], row["refusals"]) for row in built.rows("SELECT * FROM paceline_lane")} == {(None, 0)}


def test_opening_one_lane_leaves_its_key_as_it_is(built: Installation) -> None:
    built.run("UPDATE paceline_key SET closed_reason = '401'")
    built.run("UPDATE paceline_lane SET closed_reason = '403'")

    operate.open_(built.engine, operate.lanes_named(built.topology, SEND), whole_key=False)

    assert closed(built)[ACCOUNT] == "401"
    assert SEND not in closed(built)
    assert closed(built)[f"{ACCOUNT}/status"] == "403"


# Jobs


def unknown_job(built: Installation, status: str = "unknown") -> str:
    id_ = built.client.start(ACCOUNT, "update_profile", name="Acme")
    built.run(
        "UPDATE paceline_job SET status = :status, reason = 'lease ended', unresolved = true, failures = 3,"
        " first_sent_at = 5.0 WHERE id = :id",
        id=id_, status=status,
    )  # fmt: skip
    return id_


@pytest.mark.parametrize(
    ("verdict", "status", "reason"),
    [
        ("delivered", "done", "resolved by an operator"),
        ("failed", "failed", "resolved by an operator"),
        ("resend", "queued", None),
    ],
)
def test_an_unknown_job_is_settled(built: Installation, verdict: str, status: str, reason: str | None) -> None:
    """Given a job whose change may have been made, when an operator says what became of it, then it stands there."""
    id_ = unknown_job(built)

    operate.resolve(built.engine, id_, verdict)

    view = built.client.job(id_)
    assert (str(view.status), view.reason) == (status, reason)
    [row] = built.rows("SELECT unresolved, failures, first_sent_at FROM paceline_job")
    assert not row["unresolved"]
    assert (row["failures"], row["first_sent_at"]) == ((0, None) if verdict == "resend" else (3, 5.0))
    [said] = built.rows("SELECT account, source, data FROM paceline_event WHERE kind = 'job'")
    assert (said["account"], said["source"]) == (ACCOUNT, "operator")
    assert json.loads(said["data"]) == {"job": id_, "operation": "update_profile", "status": status}


def test_a_job_that_is_resent_is_asked_for_again(built: Installation, sandbox: SandboxServer) -> None:
    id_ = unknown_job(built)
    operate.resolve(built.engine, id_, "resend")
    service = built.service()

    until(lambda: (service.tick(), service.pump.run_slice(0.3), built.client.job(id_).status.final)[-1])

    assert str(built.client.job(id_).status) == "done"
    assert [entry.path for entry in sandbox.ledger("aurogy")] == ["/v1/profile"]


@pytest.mark.parametrize("status", ["queued", "sending", "done", "failed", "cancelled"])
def test_a_job_that_is_not_unknown_is_left_alone(built: Installation, status: str) -> None:
    id_ = unknown_job(built, status)

    with pytest.raises(PacelineError, match=f"^Job {id_} is {status}; only unknown ones are resolved.$"):
        operate.resolve(built.engine, id_, "failed")

    assert str(built.client.job(id_).status) == status

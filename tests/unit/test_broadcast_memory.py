"""Broadcasts of the in-memory client, for applications' own tests: checked like real ones, kept in the outbox."""

from pathlib import Path
from typing import Any

import pytest

from paceline import BadRecipients, BroadcastNotFound, IdempotencyConflict, InvalidMessage, PacelineError, Text
from paceline.capabilities import Call, Capabilities, Rule
from paceline.testing import InMemoryClient

HELLO = Text(to="{phone}", text="Hi {name}")
PEOPLE = [{"phone": f"+1555010{number}", "name": f"Name {number}"} for number in range(5)]


@pytest.fixture
def client() -> InMemoryClient:
    text = {"to": Rule(required=True, pattern=r"\+\d+", hint="a number"), "text": Rule(max_length=50)}
    hosted = Capabilities(kinds={}, calls={"broadcast": Call()})
    return InMemoryClient({"sms": Capabilities(kinds={"text": text}, channel="sms"), "pc": hosted})


def test_everybody_has_a_message_in_the_outbox_and_is_counted(client: InMemoryClient) -> None:
    client.suppress("sms", "+15550104")
    people = [*PEOPLE, {"phone": "+1 555 0101", "name": "Again"}, {"phone": "none", "name": "Bob"}]
    found, forecast = client.preview("b", HELLO, people, "sms")
    view = client.broadcast("b", HELLO, people, "sms")
    assert (found.messages, found.duplicates, found.suppressed, found.invalid) == (4, 1, 1, 1)
    assert {name: view.counts[name] for name in ("recipients", "messages", "queued")} == {
        "recipients": 7, "messages": 4, "queued": 4,
    }  # fmt: skip
    assert view.status == "running"
    assert forecast.messages == view.forecast().messages == 4
    assert client.assert_enqueued(to="+15550102", via="sms").message == Text(to="+15550102", text="Hi Name 2")
    for item in client.outbox:
        client.deliver(item.id)
    assert view.refresh().status == "finished"
    assert [each.name for each in client.broadcasts()] == ["b"]


def test_what_is_refused_leaves_nothing(client: InMemoryClient) -> None:
    with pytest.raises(BadRecipients, match="line 6 has no name, which text needs"):
        client.broadcast("b", HELLO, [*PEOPLE, {"phone": "+15550109"}], "sms")
    with pytest.raises(InvalidMessage, match="via: must name"):
        client.broadcast("b", HELLO, PEOPLE, "email")
    client.assert_nothing_enqueued()
    assert client.broadcasts() == []


def test_the_file_of_the_recipients_is_not_replaced_by_that_of_the_rejects(
    client: InMemoryClient, tmp_path: Path
) -> None:
    # given the same file for both, written in two ways
    file = tmp_path / "people.csv"
    file.write_text("phone,name\n+15550100,Ada\n", encoding="utf-8")
    same = tmp_path / "." / ".." / tmp_path.name / "people.csv"

    # when it is to be sent or looked at, then it is refused, and the file is as it was
    for call in (client.broadcast, client.preview):
        with pytest.raises(InvalidMessage, match="rejects: is the recipients' own file"):
            call("b", HELLO, file, "sms", rejects=same)
    assert file.read_text(encoding="utf-8") == "phone,name\n+15550100,Ada\n"


def test_the_same_name_is_the_same_or_a_conflict(client: InMemoryClient) -> None:
    first = client.broadcast("b", HELLO, PEOPLE, "sms")
    assert client.broadcast("b", HELLO, PEOPLE, "sms").id == first.id
    for message, people in ((HELLO, PEOPLE[:4]), (Text(to="{phone}", text="Bye"), PEOPLE)):
        with pytest.raises(IdempotencyConflict):
            client.broadcast("b", message, people, "sms")
    assert len(client.outbox) == 5


def test_it_is_steered_and_retried(client: InMemoryClient) -> None:
    view = client.broadcast("b", HELLO, PEOPLE, "sms", paused=True)
    assert (view.status, view.resume().status, view.pause().status) == ("paused", "running", "paused")
    client.fail(client.outbox[0].id, "RATE: too many")
    client.fail(client.outbox[1].id, "BLOCKED")
    assert client.retry_broadcast("b", "RATE") == 1
    assert view.cancel().counts["cancelled"] == 4
    with pytest.raises(PacelineError, match="is cancelled: it cannot be resumed any more"):
        view.resume()
    with pytest.raises(PacelineError, match="is cancelled: nothing of it is sent any more"):
        client.retry_broadcast("b")
    with pytest.raises(BroadcastNotFound):
        client.get_broadcast("c")


def test_one_that_is_over_says_what_is_short_and_is_steered_no_more(client: InMemoryClient) -> None:
    # given one of which everything has left, and one message failed
    view = client.broadcast("b", HELLO, PEOPLE, "sms")
    client.fail(client.outbox[0].id, "BLOCKED")
    for item in client.outbox[1:]:
        client.deliver(item.id)

    # then it says so, as a real one does, and refuses what a real one refuses
    assert (view.refresh().status, view.refresh().reason) == ("finished", "1 failed")
    for steer, step in ((view.pause, "paused"), (view.resume, "resumed"), (view.cancel, "cancelled")):
        with pytest.raises(PacelineError, match=f"The broadcast 'b' is finished: it cannot be {step} any more"):
            steer()


def test_each_step_is_an_event(client: InMemoryClient) -> None:
    view = client.broadcast("b", HELLO, PEOPLE, "sms")
    view.pause().resume().cancel().cancel()
    said = [event.data for event in client.events() if event.kind == "broadcast"]
    assert [data["status"] for data in said] == ["running", "paused", "resumed", "cancelled"]
    assert {(data["id"], data["name"], data["via"]) for data in said} == {(view.id, "b", "sms")}


def test_a_sample_is_an_ordinary_message(client: InMemoryClient) -> None:
    (receipt,) = client.broadcast_test("b", HELLO, PEOPLE, "sms", to=["+44 7700 900123"])
    assert client.status(receipt.id).via == "sms"
    assert client.outbox[0].message == Text(to="+447700900123", text="Hi Name 0")
    assert client.broadcast_warnings("b", HELLO, PEOPLE, "sms") == []


def test_one_that_its_provider_sends_is_kept_without_its_recipients(client: InMemoryClient) -> None:
    asked: dict[str, Any] = {
        "name": "b", "message": Text(to="{phone}", text="Hi {first_name}"), "via": "pc",
        "recipients": "https://files.example.com/people.csv", "timezone": "America/New_York",
    }  # fmt: skip
    assert client.preview(**asked)[0].warnings[0].startswith("the recipients are counted by the provider")
    view = client.broadcast(**asked)
    assert (view.status, view.counts["messages"], client.outbox) == ("finished", 0, [])
    with pytest.raises(IdempotencyConflict):
        client.broadcast(**{**asked, "recipients": "https://files.example.com/others.csv"})
    with pytest.raises(InvalidMessage, match="recipients: must be the https URL"):
        client.preview(**{**asked, "recipients": PEOPLE})
    with pytest.raises(InvalidMessage, match="to: cannot be tested from here"):
        client.broadcast_test(**asked, to=["+15555550100"])

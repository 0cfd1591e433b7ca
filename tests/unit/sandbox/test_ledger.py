"""The ledger and its file: nothing that was entered is lost, and counting is exact."""

import asyncio
import json
from pathlib import Path

import pytest

from sandbox.call import Trace
from sandbox.journal import Journal
from sandbox.ledger import CLOSED, Ledger
from tests.unit.sandbox.support import call

TRACE = Trace("live:abc", "send", "ana", "dsp_1")


def reread(path: Path, provider: str = "aurogy") -> tuple[Ledger, Journal]:
    journal = Journal(path)
    ledger = Ledger(provider, journal)
    for record in journal.replay():
        if record["provider"] == provider:
            ledger.restore(record)
    return ledger, journal


def test_an_entry_says_who_asked_what_and_what_was_answered() -> None:
    ledger = Ledger("aurogy", Journal())
    seq = ledger.record(call(data={"to": "ana"}, at=5.0), TRACE, status=200, message_id="msg_1", accepted=True)
    [entry] = ledger.entries()
    assert (entry.seq, entry.at, entry.monotonic, entry.provider) == (seq, 5.0, 5.0, "aurogy")
    assert (entry.method, entry.path, entry.group) == ("POST", "/v1/messages/text", "send")
    assert (entry.key, entry.recipient, entry.dispatch_id) == ("live:abc", "ana", "dsp_1")
    assert (entry.status, entry.accepted, entry.message_id) == (200, True, "msg_1")
    assert entry.body is None
    assert len(entry.body_sha) == 16


def test_bodies_are_kept_only_where_that_is_wanted() -> None:
    ledger = Ledger("aurogy", Journal())
    ledger.record(call(data={"to": "ana"}), TRACE, status=200, keep_body=True)
    assert ledger.entries()[0].body == '{"to":"ana"}'


def test_entries_are_read_on_from_a_number() -> None:
    ledger = Ledger("aurogy", Journal())
    seqs = [ledger.record(call(), TRACE, status=200) for _ in range(5)]
    assert [entry.seq for entry in ledger.entries(after=seqs[1])] == seqs[2:]
    assert [entry.seq for entry in ledger.entries(after=seqs[1], limit=2)] == seqs[2:4]
    assert ledger.entries(after=seqs[4]) == []


def test_numbers_are_shared_by_all_providers_so_that_their_order_is_known() -> None:
    journal = Journal()
    one, two = Ledger("one", journal), Ledger("two", journal)
    assert [ledger.record(call(), TRACE, status=200) for ledger in (one, two, one)] == [1, 2, 3]
    assert [entry.seq for entry in one.entries(after=1)] == [3]


def test_an_answer_that_never_left_is_marked_afterwards() -> None:
    ledger = Ledger("aurogy", Journal())
    first, second = (ledger.record(call(), TRACE, status=200, accepted=True) for _ in range(2))
    ledger.mark_closed(first)
    assert [(entry.seq, entry.status, entry.accepted) for entry in ledger.entries()] == [
        (first, CLOSED, True),
        (second, 200, True),
    ]


def test_one_can_wait_for_entries_to_come() -> None:
    async def story() -> bool:
        ledger = Ledger("aurogy", Journal())
        waiting = asyncio.ensure_future(ledger.wait_for(2))
        for _ in range(2):
            await asyncio.sleep(0)
            early = waiting.done()
            ledger.record(call(), TRACE, status=200)
        await asyncio.wait_for(waiting, 60.0)
        return early

    assert asyncio.run(story()) is False


def test_the_file_brings_everything_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    journal = Journal(path)
    ledger, other = Ledger("aurogy", journal), Ledger("other", journal)
    first = ledger.record(call(data={"text": "é\n"}), TRACE, status=200, accepted=True, keep_body=True)
    other.record(call(), TRACE, status=200)
    ledger.record(call(), TRACE, status=429, fault="status")
    ledger.mark_closed(first)

    again, journal = reread(path)
    assert again.entries() == ledger.entries()
    assert again.entries()[0].status == CLOSED
    # And numbers go on after the last one, whoever's it was.
    assert again.record(call(), TRACE, status=200) == 4


def test_what_was_cleared_stays_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger("aurogy", Journal(path))
    ledger.record(call(), TRACE, status=200)
    ledger.clear()
    kept = ledger.record(call(), TRACE, status=200)
    assert [entry.seq for entry in reread(path)[0].entries()] == [kept]


@pytest.mark.parametrize("torn", [b'{"seq":9,"prov', b'{"provider":"aurogy","clo', b'{"s', b"{"])
def test_a_last_line_that_was_never_finished_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger("aurogy", Journal(path)).record(call(), TRACE, status=200)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)

    again, _ = reread(path)
    assert [entry.seq for entry in again.entries()] == [1]
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "text", ["[1, 2]\n", "dear diary", '{"seq":1}\n', '{"provider":"aurogy","seq":"1"}\n', "\xff\n"]
)
def test_a_file_of_something_else_is_refused_by_name_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"Line 1 of .*notes\.txt is no ledger entry"):
        list(Journal(path).replay())
    assert path.read_text(encoding="latin-1") == text


def test_an_entry_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="another version of the sandbox"):
        Ledger("aurogy", Journal()).restore({"provider": "aurogy", "seq": 1})


def test_each_line_stands_in_the_file_before_record_returns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger("aurogy", Journal(path))
    for count in range(1, 4):
        ledger.record(call(), TRACE, status=200)
        assert len(path.read_text().splitlines()) == count
    assert json.loads(path.read_text().splitlines()[0])["recipient"] == "ana"
    assert path.stat().st_mode & 0o777 == 0o600

"""Counting: duplicates, and the busiest interval, against a plain count of every interval."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.call import Trace
from sandbox.journal import Journal
from sandbox.ledger import Ledger
from sandbox.summary import Busiest, busiest_window, summarize
from sandbox.windows import Limit
from tests.unit.sandbox.support import call


def test_an_interval_holds_what_arrived_less_than_a_window_after_its_first() -> None:
    assert busiest_window([0.0, 1.0, 9.999, 10.0], 10.0) == Busiest(3, 0.0)
    assert busiest_window([5.0], 10.0) == Busiest(1, 5.0)
    assert busiest_window([], 10.0) == Busiest(0, 0.0)


@given(st.lists(st.integers(0, 200), max_size=60), st.integers(1, 50))
def test_the_count_is_that_of_trying_every_interval(arrivals: list[int], seconds: int) -> None:
    tried = [sum(start <= other < start + seconds for other in arrivals) for start in arrivals]
    assert busiest_window(arrivals, seconds).requests == max(tried, default=0)


def ledger_of(*requests: tuple[str, str, str, int, float]) -> Ledger:
    """(key, recipient, dispatch id, status, arrival); a 200 is accepted."""
    ledger = Ledger("aurogy", Journal())
    for key, recipient, dispatch, status, at in requests:
        trace = Trace(key, "send", recipient, dispatch)
        ledger.record(call(data={"to": recipient}, at=at), trace, status=status, accepted=status == 200)
    return ledger


def test_the_busiest_window_counts_every_arrival_of_a_key_refused_ones_too() -> None:
    ledger = ledger_of(
        ("a", "ana", "", 200, 0.0), ("a", "bob", "", 200, 5.0), ("a", "cy", "", 429, 9.0), ("b", "di", "", 200, 9.0)
    )
    windows = summarize(ledger.rows(), {"send": Limit(2, 10.0)})["windows"]
    assert [(w["key"], w["limit"], w["requests"], w["highest"], w["exceeded"]) for w in windows] == [
        ("a", "2/10s", 3, 3, True),
        ("b", "2/10s", 1, 1, False),
    ]


def test_requests_without_a_limit_of_their_own_are_in_no_window() -> None:
    ledger = ledger_of(("a", "ana", "", 200, 0.0))
    assert summarize(ledger.rows(), {"status": Limit(2, 10.0)})["windows"] == []


def test_duplicates_are_accepted_messages_with_the_same_recipient_and_body() -> None:
    ledger = ledger_of(
        ("a", "ana", "d1", 200, 0.0),
        ("a", "ana", "d2", 200, 1.0),
        ("a", "ana", "d3", 429, 2.0),  # refused: no duplicate
        ("a", "bob", "d2", 200, 3.0),  # another recipient, the same reference
        ("b", "cy", "d2", 200, 4.0),  # another key's reference
    )
    summary = summarize(ledger.rows(), {})
    assert summary["duplicates"] == {"surplus": 1, "examples": [{"times": 2, "seqs": [1, 2]}]}
    assert summary["doubled_dispatch_ids"] == {"surplus": 1, "examples": [{"times": 2, "seqs": [2, 4]}]}


def test_statuses_are_counted() -> None:
    ledger = ledger_of(("a", "x", "", 200, 0.0), ("a", "y", "", 429, 0.0), ("a", "z", "", 500, 0.0))
    ledger.mark_closed(1)
    summary = summarize(ledger.rows(), {})
    assert (summary["requests"], summary["accepted"], summary["throttled"], summary["closed"]) == (3, 1, 1, 1)
    assert summary["statuses"] == {"closed": 1, "429": 1, "500": 1}

"""A process's slots: a share for each lane, one in eight for `high`, and none is ever lost."""

import random
import threading

from worker.lanes.slots import Slots


def test_a_lane_alone_leaves_a_quarter_for_the_next() -> None:
    """Given a lane that takes all it can get, and hangs, when others come, then each finds slots, and leaves some."""
    slots = Slots(64)

    assert slots.reserve("a", 99, others=False) == (48, 48)
    assert slots.reserve("a", 1, others=False) == (0, 0)
    assert slots.reserve("b", 99, others=False) == (12, 8)
    assert slots.reserve("c", 99, others=False) == (3, 0)
    assert slots.reserve("d", 99, others=False) == (1, 0)


def test_all_lanes_of_a_provider_together_leave_a_quarter_for_the_next() -> None:
    """Given a provider that hangs, on all of its lanes, when another's comes, then there are slots for it."""
    slots = Slots(64, {"a/send": "https://a", "a/status": "https://a", "b/send": "https://b"})
    for lane in ("a/send", "a/status") * 20:
        slots.reserve(lane, 3, others=False)

    assert slots.in_use == 48
    assert slots.reserve("a/status", 1, others=False) == (0, 0)
    assert slots.reserve("b/send", 99, others=False) == (12, 8)


def test_while_others_wait_a_lane_has_a_quarter() -> None:
    slots = Slots(16)

    assert slots.reserve("a", 16, others=True) == (4, 4)
    assert slots.reserve("a", 16, others=True) == (0, 0)
    assert slots.reserve("b", 3, others=True) == (3, 3)


def test_one_slot_in_eight_is_kept_for_high() -> None:
    slots = Slots(16)
    slots.reserve("a", 12, others=False)
    slots.reserve("b", 1, others=True)

    assert slots.reserve("c", 3, others=True) == (3, 1)
    assert slots.reserve("d", 1, others=True) == (0, 0)


def test_a_lane_over_its_share_gets_nothing_and_takes_nothing_away() -> None:
    slots = Slots(16)
    slots.reserve("a", 12, others=False)

    assert slots.reserve("a", 4, others=True) == (0, 0)
    assert slots.in_use == 12


def test_crowded_lanes_are_those_that_hold_their_share() -> None:
    slots = Slots(16)
    slots.reserve("a", 4, others=True)
    slots.reserve("b", 3, others=True)
    assert list(slots.crowded()) == ["a"]

    slots.release("a")
    assert list(slots.crowded()) == []


def test_what_was_not_needed_is_free_again() -> None:
    slots = Slots(8)
    total, _ = slots.reserve("a", 8, others=False)

    slots.release("a", total - 3)

    assert slots.in_use == 3
    assert slots.reserve("a", 8, others=False)[0] == 3
    slots.release("a", 0)
    assert slots.in_use == 6


def test_even_one_slot_serves_every_lane_in_turn() -> None:
    slots = Slots(1)

    assert slots.reserve("a", 5, others=True) == (1, 1)
    slots.release("a")
    assert slots.reserve("b", 5, others=True) == (1, 1)


def test_threads_never_hold_more_than_there_are_and_give_all_back() -> None:
    slots = Slots(16)
    most = 0

    def work(seed: int) -> None:
        nonlocal most
        chance = random.Random(seed)
        for _ in range(500):
            lane = chance.choice("abc")
            total, rest = slots.reserve(lane, chance.randint(1, 8), others=chance.random() < 0.5)
            assert rest <= total
            most = max(most, slots.in_use)
            slots.release(lane, total)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 0 < most <= 16
    assert slots.in_use == 0
    assert list(slots.crowded()) == []

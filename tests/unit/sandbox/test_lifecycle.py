"""What becomes of messages: a fate that follows from the seed and the message's number alone."""

import asyncio
from dataclasses import dataclass, field

import pytest

from sandbox.clock import Clock
from sandbox.lifecycle import Lifecycle, LifecycleSettings, Outcome, Step, plan

CREATED = 1_000_000.0


@dataclass
class Letter:
    number: int
    recipient: str = "ana"
    created_at: float = CREATED
    status: Outcome = "queued"
    seen: list[str] = field(default_factory=list)

    def reach(self, step: Step) -> None:
        self.status = step.status
        self.seen.append(step.status)


def statuses(settings: LifecycleSettings, seed: int, number: int, recipient: str = "ana") -> list[str]:
    return [step.status for step in plan(settings, seed, Letter(number, recipient))]


def test_a_message_that_is_read_goes_through_every_status_at_its_time() -> None:
    settings = LifecycleSettings(sent_after=1, delivered_after=2, read_after=5, read_share=1)
    assert plan(settings, 0, Letter(0)) == (
        Step(CREATED + 1, "sent"),
        Step(CREATED + 2, "delivered"),
        Step(CREATED + 5, "read"),
    )


def test_delays_out_of_order_never_bring_a_status_before_the_one_it_follows() -> None:
    settings = LifecycleSettings(sent_after=5, delivered_after=2, read_after=1, read_share=1)
    assert [step.when - CREATED for step in plan(settings, 0, Letter(0))] == [5, 5, 5]


def test_jitter_lengthens_each_messages_delays_by_its_own_share() -> None:
    settings = LifecycleSettings(sent_after=10, jitter=0.5)
    delays = [plan(settings, 0, Letter(number))[0].when - CREATED for number in range(200)]
    assert 10 <= min(delays) < 10.5
    assert 14.5 < max(delays) <= 15


def test_shares_hold_over_many_messages_and_half_of_the_failures_were_never_sent() -> None:
    settings = LifecycleSettings(read_share=0.5, failed_share=0.1)
    fates = [tuple(statuses(settings, 7, number)) for number in range(10_000)]
    failed = [fate for fate in fates if fate[-1] == "failed"]
    assert len(failed) / 10_000 == pytest.approx(0.1, abs=0.01)
    assert sum(fate[-1] == "read" for fate in fates) / 9_000 == pytest.approx(0.5, abs=0.02)
    assert sum(fate == ("failed",) for fate in failed) / len(failed) == pytest.approx(0.5, abs=0.06)


def test_the_same_seed_gives_the_same_fates_and_another_seed_others() -> None:
    settings = LifecycleSettings(failed_share=0.3)
    first = [statuses(settings, 1, number) for number in range(100)]
    assert first == [statuses(settings, 1, number) for number in range(100)]
    assert first != [statuses(settings, 2, number) for number in range(100)]


def test_a_recipients_outcome_can_be_chosen_and_the_first_matching_glob_holds() -> None:
    outcomes: dict[str, Outcome] = {"stuck*": "sent", "bad*": "failed", "frozen": "queued", "*": "read"}
    settings = LifecycleSettings(read_share=0, failed_share=0, outcomes=outcomes)
    assert statuses(settings, 0, 1, "stuck-1") == ["sent"]
    assert statuses(settings, 0, 1, "bad-1")[-1] == "failed"
    assert statuses(settings, 0, 1, "frozen") == []
    assert statuses(settings, 0, 1, "anyone") == ["sent", "delivered", "read"]


def run(letters: list[Letter], settings: LifecycleSettings, story: str) -> None:
    async def live() -> None:
        clock = Clock()
        moved = asyncio.Event()

        def change(letter: Letter, step: Step) -> None:
            letter.reach(step)
            moved.set()

        lifecycle: Lifecycle[Letter] = Lifecycle(settings, 0, clock, change)
        lifecycle.start()
        for letter in letters:
            letter.created_at = clock.now()
            lifecycle.begin(letter)
        async with asyncio.timeout(60.0):
            if story == "settings change":
                await moved.wait()
                lifecycle.settings = LifecycleSettings(outcomes={"*": "failed"}, delivered_after=0)
                clock.advance(3600.0)
            while len(lifecycle):
                moved.clear()
                await moved.wait()

    asyncio.run(live())


def test_every_message_is_carried_through_its_changes_in_order() -> None:
    letters = [Letter(number) for number in range(500)]
    run(letters, LifecycleSettings(sent_after=0.01, delivered_after=0.02, read_after=0.03, read_share=1), "plain")
    assert {tuple(letter.seen) for letter in letters} == {("sent", "delivered", "read")}


def test_changed_settings_decide_what_has_not_happened_yet() -> None:
    letter = Letter(0)
    run([letter], LifecycleSettings(sent_after=0.0, delivered_after=3600.0, read_share=1), "settings change")
    assert letter.seen == ["sent", "failed"]


def test_a_message_of_an_earlier_run_is_told_only_of_what_is_new() -> None:
    async def live() -> tuple[list[str], list[str]]:
        clock = Clock()
        told: list[str] = []
        done = asyncio.Event()

        def change(letter: Letter, step: Step) -> None:
            letter.reach(step)
            told.append(step.status)
            done.set()

        settings = LifecycleSettings(sent_after=1, delivered_after=2, read_after=4, read_share=1)
        lifecycle: Lifecycle[Letter] = Lifecycle(settings, 0, clock, change)
        letter = Letter(0, created_at=clock.now() - 10.0)
        # Given a run that ended three seconds after the message: sent and delivered were told then.
        lifecycle.resume(letter, letter.created_at + 3.0, Letter.reach)
        settled = list(letter.seen)
        lifecycle.start()
        await asyncio.wait_for(done.wait(), 60.0)
        return settled, told

    assert asyncio.run(live()) == (["sent", "delivered"], ["read"])

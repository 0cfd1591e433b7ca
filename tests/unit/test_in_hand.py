"""What a worker had in hand is known after its death; of the living, and of what cannot be read, nothing is."""

import os
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from paceline.ids import new_id
from tests.support.deaths import died
from worker import host
from worker.host import BOOT
from worker.in_hand import KEPT_FOR, InHand, Witness, forget

GRANT, LEFT, STAYED = new_id(), new_id(), new_id()

pytestmark = pytest.mark.skipif(not BOOT.exists(), reason="only Linux says which boot this is")


def last_words(directory: Path, said: Callable[[InHand], None], capacity: int = 4) -> str:
    """The name of a process that did this with its file and was gone the moment after."""
    hand = InHand(capacity, directory)
    said(hand)
    return died(hand)


def one_left(hand: InHand) -> None:
    hand.claiming(GRANT)
    hand.claimed(GRANT, [STAYED, LEFT])
    hand.let_go(GRANT, LEFT)


def test_of_the_dead_it_is_known_what_they_had_in_hand(tmp_path: Path) -> None:
    process = last_words(tmp_path, one_left)

    assert Witness(tmp_path).never_left(process, GRANT, STAYED)
    assert not Witness(tmp_path).never_left(process, GRANT, LEFT)
    assert not Witness(tmp_path).never_left(process, new_id(), STAYED), "another claim of the same message"


def test_who_died_in_the_commit_of_a_claim_had_all_of_it_in_hand(tmp_path: Path) -> None:
    process = last_words(tmp_path, lambda hand: hand.claiming(GRANT))

    assert Witness(tmp_path).never_left(process, GRANT, STAYED)
    assert not Witness(tmp_path).never_left(process, new_id(), STAYED)


def test_of_the_living_nothing_is_known(tmp_path: Path) -> None:
    """Whoever only stands still may yet go on, whatever a clock says of its lease."""
    with closing(InHand(4, tmp_path)) as hand:
        hand.claimed(GRANT, [STAYED])

        assert not Witness(tmp_path).never_left(hand.process, GRANT, STAYED)


def test_what_was_let_go_makes_room(tmp_path: Path) -> None:
    def many(hand: InHand) -> None:
        for _ in range(9):
            hand.claimed(GRANT, [LEFT])
            hand.let_go(GRANT, LEFT)
            hand.let_go(GRANT, LEFT)
        hand.claimed(GRANT, [STAYED])

    process = last_words(tmp_path, many, capacity=1)

    assert Witness(tmp_path).never_left(process, GRANT, STAYED)
    assert not Witness(tmp_path).never_left(process, GRANT, LEFT)


def test_an_entry_is_there_whole_or_not_at_all() -> None:
    """Given the place of one that left, when its process dies while another is written there, then neither is."""

    class Watched(bytearray):
        def __setitem__(self, key: Any, value: Any) -> None:
            states.append(bytes(self))
            super().__setitem__(key, value)

    states: list[bytes] = []
    hand = InHand(1)
    hand.claimed(GRANT, [LEFT])
    hand.let_go(GRANT, LEFT)
    hand._memory = Watched(hand._memory)
    hand.claimed(GRANT, [STAYED])

    head = len(hand._memory) - 72
    assert len(states) == 2
    assert {state[head] for state in states} == {0}, "nothing is there until the last byte is"
    assert bytes(hand._memory[head:]) == f"{GRANT}{STAYED}".encode()


def test_what_a_file_has_no_room_for_is_unknown(tmp_path: Path) -> None:
    process = last_words(tmp_path, lambda hand: hand.claimed(GRANT, [STAYED, LEFT]), capacity=1)

    assert Witness(tmp_path).never_left(process, GRANT, STAYED)
    assert not Witness(tmp_path).never_left(process, GRANT, LEFT)


def test_a_file_from_before_the_last_boot_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lost its power may have kept an older state of it."""
    process = last_words(tmp_path, one_left)
    other = tmp_path / "boot"
    other.write_text("5a5a5a5a-0000-4000-8000-000000000001\n")

    monkeypatch.setattr(host, "BOOT", other)
    assert not Witness(tmp_path).never_left(process, GRANT, STAYED)
    monkeypatch.setattr(host, "BOOT", tmp_path / "none")
    assert not Witness(tmp_path).never_left(last_words(tmp_path, one_left), GRANT, STAYED)


@pytest.mark.parametrize("content", [b"", b"x" * 500, None])
def test_what_cannot_be_read_proves_nothing(tmp_path: Path, content: bytes | None) -> None:
    process = "0" * 32
    if content is not None:
        (tmp_path / process).write_bytes(content)

    assert not Witness(tmp_path).never_left(process, GRANT, STAYED)
    assert not Witness(tmp_path).never_left(None, GRANT, STAYED)
    assert not Witness(None).never_left(process, GRANT, STAYED)


def test_only_names_of_processes_are_opened(tmp_path: Path) -> None:
    process = last_words(tmp_path, one_left)
    (tmp_path / process).rename(tmp_path / "another")

    assert not Witness(tmp_path).never_left("another", GRANT, STAYED)
    assert not Witness(tmp_path / "x").never_left("../another", GRANT, STAYED)


def test_it_is_its_users_alone_and_goes_with_its_process(tmp_path: Path) -> None:
    with closing(InHand(4, tmp_path / "in-hand")):
        [path] = (tmp_path / "in-hand").iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    assert list((tmp_path / "in-hand").iterdir()) == []


def test_the_dead_are_forgotten_once_nothing_of_theirs_is_open(tmp_path: Path) -> None:
    names = [last_words(tmp_path, one_left) for _ in range(3)]
    old, claiming, young = names
    with closing(InHand(4, tmp_path)) as living:
        for name in (old, claiming, str(living.process)):
            os.utime(tmp_path / name, (time.time() - KEPT_FOR - 1,) * 2)

        forget(tmp_path, lambda: [claiming])

        assert {path.name for path in tmp_path.iterdir()} == {claiming, young, living.process}


def test_while_there_is_nothing_old_nobody_is_asked(tmp_path: Path) -> None:
    with closing(InHand(4, tmp_path)):
        forget(tmp_path, lambda: pytest.fail("asked the database"))
    forget(tmp_path / "none", lambda: pytest.fail("asked the database"))

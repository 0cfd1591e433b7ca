"""Aurogy's conversations: order, pages, cursors that nobody can make up."""

import pytest

from sandbox.aurogy.inbox import Conversation, Inbox, read_cursor, write_cursor


def everyone(_: Conversation) -> bool:
    return True


def names(found: list[Conversation]) -> list[str]:
    return [conversation.participant for conversation in found]


def test_the_most_recent_activity_comes_first() -> None:
    inbox = Inbox()
    for at, participant in enumerate(["ana", "bob", "cy", "ana"]):
        inbox.touch(participant, float(at))
    found, more = inbox.page(10, None, everyone)
    assert (names(found), more) == (["ana", "cy", "bob"], False)
    assert found[0].last_message_at == 3.0


def test_pages_join_without_a_gap_or_a_double_while_others_move_to_the_top() -> None:
    inbox = Inbox()
    for at in range(25):
        inbox.touch(f"user{at}", float(at))
    first, more = inbox.page(10, None, everyone)
    inbox.touch("user0", 100.0)  # was on the last page: now above the first
    second, still = inbox.page(10, first[-1].activity, everyone)
    third, end = inbox.page(10, second[-1].activity, everyone)
    assert (more, still, end) == (True, True, False)
    assert names(first + second + third) == [f"user{at}" for at in range(24, 0, -1)]


def test_only_the_wanted_are_listed_and_a_full_last_page_says_so() -> None:
    inbox = Inbox()
    for at in range(10):
        inbox.touch(f"user{at}", float(at))
    found, more = inbox.page(5, None, lambda item: item.participant[-1] in "02468")
    assert (names(found), more) == (["user8", "user6", "user4", "user2", "user0"], False)


def test_a_busy_conversation_does_not_make_the_list_grow_without_end() -> None:
    inbox = Inbox()
    for at in range(20_000):
        inbox.touch("ana" if at % 100 else "bob", float(at))
    assert len(inbox._order) <= 1100
    assert names(inbox.page(10, None, everyone)[0]) == ["ana", "bob"]


def test_a_cursor_is_good_for_its_own_list_only() -> None:
    cursor = write_cursor(123456, "main/active")
    assert read_cursor(cursor, "main/active") == 123456
    assert read_cursor(cursor, "main/all") is None


@pytest.mark.parametrize("cursor", ["", "abc", "!!!", "é", "MTIz", "A" * 500])
def test_a_made_up_cursor_is_no_cursor(cursor: str) -> None:
    assert read_cursor(cursor, "main/active") is None

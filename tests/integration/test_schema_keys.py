"""Keys in the database over time: renamed, swapped, rotated and shared, with what was spent and what is closed."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from paceline.connection import resolve
from paceline.database import engine
from tests.support.senders import paced, sender, topology
from worker import schema
from worker.lanes.topology import Sender


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    made = engine(resolve(database_url=database_url, broker_url="redis://nowhere", environ={}))
    yield made
    made.dispose()


class Shop:
    """The configuration over time, and what the database says of it."""

    def __init__(self, database: Engine) -> None:
        self.database = database

    def publish(self, *senders: Sender, **limits: Any) -> None:
        schema.publish(self.database, topology(senders, **limits))

    def run(self, sql: str) -> None:
        with self.database.begin() as connection:
            connection.execute(text(sql))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def spend(self, key: str, nonce: str) -> None:
        """Give a key a past: a grant, a nonce, a closed lane."""
        self.run(f"UPDATE paceline_key SET nonce = '{nonce}' WHERE name = '{key}'")
        self.run(f"UPDATE paceline_lane SET closed_reason = '403 of {nonce}' WHERE name = '{key}/send'")
        self.run(
            "INSERT INTO paceline_grant (id, key, lane, high, rest, created_at, lease_until, closed)"
            f" VALUES ('grant of {nonce}', '{key}', '{key}/send', 0, 1, 1, 1, 0)"
        )

    @property
    def keys(self) -> dict[str, tuple[str, str]]:
        found = self.rows("SELECT name, fingerprint, nonce FROM paceline_key ORDER BY name")
        return {name: (fingerprint, nonce) for name, fingerprint, nonce in found}

    @property
    def closed(self) -> dict[str, str]:
        found = self.rows("SELECT name, closed_reason FROM paceline_lane WHERE closed_reason IS NOT NULL")
        return dict(found)

    @property
    def grants(self) -> dict[str, tuple[str, str]]:
        return {id_: (key, lane) for id_, key, lane in self.rows("SELECT id, key, lane FROM paceline_grant")}

    @property
    def lanes(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT name FROM paceline_lane ORDER BY name")]


@pytest.fixture
def shop(database: Engine) -> Shop:
    return Shop(database)


def account(name: str, fingerprint: str, key: str = "") -> Sender:
    return sender(name, key, fingerprint=fingerprint)


def test_publishing_again_changes_nothing(shop: Shop) -> None:
    shop.publish(account("a", "A"))
    shop.spend("a", "n")

    shop.publish(account("a", "A"))

    assert shop.keys == {"a": ("A", "n")}
    assert shop.closed == {"a/send": "403 of n"}
    assert shop.lanes == ["a/send", "a/status"]


def test_a_renamed_account_takes_its_past_along(shop: Shop) -> None:
    """Given a key that has spent and is closed, when its account has another name, then all of it bears that name."""
    shop.publish(account("a", "A"))
    shop.spend("a", "n")

    shop.publish(account("new-name", "A"))

    assert shop.keys == {"new-name": ("A", "n")}
    assert shop.closed == {"new-name/send": "403 of n"}
    assert shop.grants == {"grant of n": ("new-name", "new-name/send")}
    assert shop.lanes == ["new-name/send", "new-name/status"]


def test_swapped_names_swap_their_pasts(shop: Shop) -> None:
    shop.publish(account("a", "A"), account("b", "B"))
    shop.spend("a", "of-a")
    shop.spend("b", "of-b")

    shop.publish(account("a", "B"), account("b", "A"))

    assert shop.keys == {"a": ("B", "of-b"), "b": ("A", "of-a")}
    assert shop.closed == {"a/send": "403 of of-b", "b/send": "403 of of-a"}
    assert shop.grants == {"grant of of-a": ("b", "b/send"), "grant of of-b": ("a", "a/send")}


def test_names_that_move_in_a_ring(shop: Shop) -> None:
    shop.publish(account("a", "A"), account("b", "B"), account("c", "C"))
    for key in "abc":
        shop.spend(key, f"of-{key}")

    shop.publish(account("b", "A"), account("c", "B"), account("a", "C"))

    assert shop.keys == {"a": ("C", "of-c"), "b": ("A", "of-a"), "c": ("B", "of-b")}
    assert {grant: key for grant, (key, _) in shop.grants.items()} == {
        "grant of of-a": "b",
        "grant of of-b": "c",
        "grant of of-c": "a",
    }


def test_a_rotated_credential_starts_open_and_unseeded(shop: Shop) -> None:
    """Given a key that 401 and 403 closed, when its credential is another, then that is not held against it; what the
    old one spent still counts, which is the stricter way."""
    shop.publish(account("a", "A"))
    shop.spend("a", "n")
    shop.run("UPDATE paceline_key SET closed_reason = '401'")
    shop.run("UPDATE paceline_lane SET refusals = 4, closed_until = 4e9 WHERE name = 'a/send'")

    shop.publish(account("a", "B"))

    assert shop.keys == {"a": ("B", "")}
    assert shop.rows("SELECT closed_reason FROM paceline_key") == [(None,)]
    assert shop.closed == {}
    assert shop.rows("SELECT DISTINCT refusals, closed_until FROM paceline_lane") == [(0, None)]
    assert shop.grants == {"grant of n": ("a", "a/send")}


def test_a_rotated_credential_beside_another_key_leaves_that_one_closed(shop: Shop) -> None:
    shop.publish(account("a", "A"), account("b", "B"))
    shop.spend("b", "n")

    shop.publish(account("a", "A2"), account("b", "B"))

    assert shop.closed == {"b/send": "403 of n"}


def test_a_new_account_under_a_name_that_moved_away_has_no_past(shop: Shop) -> None:
    shop.publish(account("a", "A"))
    shop.spend("a", "n")

    shop.publish(account("a", "B"), account("old", "A"))

    assert shop.keys == {"a": ("B", ""), "old": ("A", "n")}
    assert shop.closed == {"old/send": "403 of n"}
    assert shop.grants == {"grant of n": ("old", "old/send")}


def test_a_name_may_be_taken_over_from_a_key_that_is_gone(shop: Shop) -> None:
    shop.publish(account("a", "A"), account("b", "B"))
    shop.spend("a", "of-a")
    shop.spend("b", "of-b")

    shop.publish(account("b", "A"))

    assert shop.keys["b"] == ("A", "of-a")
    assert shop.closed == {"b/send": "403 of of-a"}
    assert set(shop.grants) == {"grant of of-a", "grant of of-b"}  # what was spent is forgotten by nobody


def test_accounts_of_one_key_share_its_row_and_its_lanes(shop: Shop) -> None:
    shop.publish(account("a", "A", "a"), account("alias", "A", "a"))

    assert set(shop.keys) == {"a"}
    assert shop.lanes == ["a/send", "a/status"]
    found = shop.rows("SELECT name, lane FROM paceline_account ORDER BY name")
    assert found == [("a", "a/send"), ("alias", "a/send")]


def test_a_key_whose_first_account_leaves_goes_on_under_the_seconds_name(shop: Shop) -> None:
    shop.publish(account("a", "A", "a"), account("alias", "A", "a"))
    shop.spend("a", "n")

    shop.publish(account("alias", "A"))

    assert shop.keys == {"alias": ("A", "n")}
    assert shop.grants == {"grant of n": ("alias", "alias/send")}


def test_an_account_that_is_gone_keeps_its_ledger_and_is_offered_to_nobody(shop: Shop) -> None:
    shop.publish(account("a", "A"), account("b", "B"))
    shop.spend("b", "n")

    shop.publish(account("a", "A"))

    assert set(shop.keys) == {"a", "b"}
    assert "grant of n" in shop.grants
    assert shop.rows("SELECT name FROM paceline_account") == [("a",)]


def test_a_limit_that_changed_is_shown(shop: Shop) -> None:
    shop.publish(account("a", "A"))

    shop.publish(account("a", "A"), send=["7/minute", "9/day"])

    assert shop.rows("SELECT limits FROM paceline_lane WHERE name = 'a/send'") == [('["7/minute", "9/day"]',)]


def test_a_name_that_begins_another_one_is_another_one(shop: Shop) -> None:
    shop.publish(account("a", "A"), account("ab", "B"))
    shop.spend("ab", "n")

    shop.publish(account("z", "A"), account("ab", "B"))

    assert shop.keys == {"ab": ("B", "n"), "z": ("A", "")}
    assert shop.grants == {"grant of n": ("ab", "ab/send")}
    assert shop.lanes == ["ab/send", "ab/status", "z/send", "z/status"]


def test_every_line_is_made_once(shop: Shop) -> None:
    for _ in range(2):
        shop.publish(account("a", "A"), account("b", "B"), routes={"both": ("a", "b")})

    lines = shop.rows("SELECT via, priority FROM paceline_stream")
    assert sorted(lines) == sorted((via, level) for via in ("a", "b", "both") for level in range(3))


# Senders with a pace of their own


def session(name: str, pace: str, key: str = "one") -> Sender:
    return paced(name, pace, key, fingerprint="K")


def past(shop: Shop, lane: str, key: str = "one") -> None:
    """Give a lane a past: a grant, and a closing."""
    shop.run(f"UPDATE paceline_lane SET closed_reason = 'of {lane}', asked = 3 WHERE name = '{lane}'")
    shop.run(
        "INSERT INTO paceline_grant (id, key, lane, high, rest, created_at, lease_until, closed)"
        f" VALUES ('grant of {lane}', '{key}', '{lane}', 0, 1, 1, 1, 0)"
    )


def test_a_senders_lane_moves_with_its_account(shop: Shop) -> None:
    shop.publish(session("one", "first"), session("two", "second"))
    past(shop, "two/send")

    shop.publish(session("one", "first"), session("other", "second"))

    assert shop.closed == {"other/send": "of two/send"}
    assert shop.grants == {"grant of two/send": ("one", "other/send")}
    assert shop.lanes == ["one/send", "one/status", "other/send"]


def test_senders_that_swap_their_names_swap_their_pasts(shop: Shop) -> None:
    shop.publish(session("one", "first"), session("two", "second"))
    past(shop, "one/send")
    past(shop, "two/send")

    shop.publish(session("one", "second"), session("two", "first"))

    assert shop.closed == {"one/send": "of two/send", "two/send": "of one/send"}
    assert shop.grants == {"grant of one/send": ("one", "two/send"), "grant of two/send": ("one", "one/send")}


def test_when_a_keys_first_sender_goes_the_key_is_the_next_ones(shop: Shop) -> None:
    """Given two senders, when the first leaves, then the key bears the second's name, whose lane is as it was."""
    shop.publish(session("one", "first"), session("two", "second"))
    past(shop, "one/send")
    past(shop, "two/send")
    past(shop, "one/status")

    shop.publish(session("two", "second", key="two"))

    assert set(shop.keys) == {"two"}
    assert shop.closed["two/send"] == "of two/send"
    assert shop.closed["two/status"] == "of one/status"
    assert shop.grants["grant of two/send"] == ("two", "two/send")
    assert shop.grants["grant of one/send"][0] == "two"  # its share of the day's quota stays spent


def test_a_new_sender_under_an_old_name_starts_open(shop: Shop) -> None:
    shop.publish(session("one", "first"), session("two", "second"))
    past(shop, "two/send")

    shop.publish(session("one", "first"), session("two", "third"))

    assert shop.closed == {}
    assert shop.rows("SELECT DISTINCT asked FROM paceline_lane") == [(0,)]
    assert shop.grants == {"grant of two/send": ("one", "two/send")}  # which is the stricter way


def test_a_job_under_way_moves_with_its_lane(shop: Shop) -> None:
    shop.publish(account("a", "A"))
    shop.run(
        "INSERT INTO paceline_job (id, account, lane, operation, arguments, status, step, memory, created_at,"
        " updated_at, due_at, attempt, failures, unresolved)"
        " VALUES ('j', 'a', 'a/status', 'x', '{}', 'queued', '', '{}', 1, 1, 1, 0, 0, FALSE)"
    )

    shop.publish(account("b", "A"))

    assert shop.rows("SELECT lane FROM paceline_job") == [("b/status",)]

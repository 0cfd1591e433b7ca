"""Every provider's webhooks through the real receiver: genuine, forged, repeated, out of order, and too early."""

import time
from collections.abc import Callable

import pytest

from paceline.status import Status
from tests.contract.conformance.cases import EXHIBITS
from tests.contract.conformance.house import House
from tests.contract.exhibits.base import QUICK, Posted
from tests.support.held import answers_held
from tests.support.installation import until

Build = Callable[..., House]
every_provider = pytest.mark.parametrize("name", EXHIBITS)


def retold(posted: Posted, provider_id: str) -> bytes:
    """The same webhook, made to speak of another message by somebody who cannot sign."""
    altered = posted.body.replace(provider_id[:8].encode(), b"x" * 8)
    assert altered != posted.body
    return altered


@every_provider
def test_what_the_sandbox_tells_reaches_the_message(house: Build, name: str) -> None:
    """Given a message, when the sandbox posts what becomes of it, then it is delivered, by webhook."""
    built = house(name, poll={"schedule": [600]})
    built.told_by_the_sandbox(QUICK)
    id_ = built.enqueue()

    built.run_until(lambda: built.view(id_).status == "delivered")

    assert ("webhook", "delivered") in built.said_of(id_)
    assert not any(row["kind"] == "unreadable" for row in built.webhooks())


@every_provider
def test_a_genuine_one_moves_its_message(house: Build, name: str) -> None:
    built = house(name)
    id_, provider_id = built.accepted()

    assert built.post(built.said(provider_id, Status.DELIVERED)) == 200

    assert built.view(id_).status == "delivered"
    assert built.said_of(id_)[-1] == ("webhook", "delivered")


@every_provider
def test_a_failure_is_told_with_a_reason(house: Build, name: str) -> None:
    built = house(name)
    id_, provider_id = built.accepted()

    assert built.post(built.said(provider_id, Status.FAILED)) == 200

    assert built.view(id_).status == "failed"
    assert built.view(id_).reason


@every_provider
def test_one_that_is_signed_with_another_secret_changes_nothing(house: Build, name: str) -> None:
    built = house(name)
    id_, provider_id = built.accepted()
    before = built.view(id_)

    assert built.post(built.said(provider_id, Status.DELIVERED, secret=f"{built.secret}0")) == 401

    assert built.view(id_) == before
    assert built.webhooks() == []


@every_provider
def test_an_altered_body_changes_nothing(house: Build, name: str) -> None:
    """Given a genuine webhook, when somebody posts it with another body, then it is refused.

    Where no signature covers the body, that is known from the genuine one, which has come before.
    """
    built = house(name)
    _, provider_id = built.accepted()
    genuine = built.said(provider_id, Status.DELIVERED)
    if not EXHIBITS[name].signed_bodies:
        assert built.post(genuine) == 200
    stored = built.webhooks()

    assert built.post(genuine, retold(genuine, provider_id)) == 401

    assert built.webhooks() == stored


@every_provider
def test_one_without_any_proof_changes_nothing(house: Build, name: str) -> None:
    built = house(name)
    _, provider_id = built.accepted()
    genuine = built.said(provider_id, Status.DELIVERED)
    bare = {"Content-Type": genuine.headers["Content-Type"]}
    body = genuine.body.replace(b"signature", b"signatur")

    assert built.post(Posted(body, bare)) == 401

    assert built.webhooks() == []


@every_provider
def test_the_same_bytes_again_change_nothing(house: Build, name: str) -> None:
    """Given a genuine webhook, when it comes again, then it is acknowledged, and no row is another."""
    built = house(name)
    id_, provider_id = built.accepted()
    genuine = built.said(provider_id, Status.DELIVERED)
    assert built.post(genuine) == 200
    before = built.built.rows("SELECT * FROM paceline_message"), built.webhooks(), built.said_of(id_)

    assert [built.post(genuine), built.post(genuine)] == [200, 200]

    assert (built.built.rows("SELECT * FROM paceline_message"), built.webhooks(), built.said_of(id_)) == before


@every_provider
def test_an_earlier_status_that_comes_later_never_goes_back(house: Build, name: str) -> None:
    """Given that it was delivered, when word comes that it had failed, then it stays delivered."""
    built = house(name)
    id_, provider_id = built.accepted()
    now = time.time()
    earlier, later = built.said(provider_id, Status.FAILED, at=now - 5), built.said(provider_id, Status.DELIVERED)

    assert [built.post(later), built.post(earlier)] == [200, 200]

    assert built.view(id_).status == "delivered"
    assert built.said_of(id_)[1:] == [("webhook", "delivered")]
    assert len(built.webhooks()) == 2


@every_provider
def test_one_that_comes_before_its_messages_id_is_kept_and_matched(house: Build, name: str) -> None:
    """Given an answer that is held back, when its webhooks come first, then they are parked, and applied once it is."""
    built = house(name, poll={"schedule": [600]})
    built.told_by_the_sandbox(QUICK)
    id_ = built.enqueue()
    with answers_held(built.service):
        until(lambda: any(row["status"] == "delivered" for row in built.webhooks()))
        assert all(row["match_at"] for row in built.webhooks())
        assert built.view(id_).status == "sending"
    assert built.view(id_).status in ("accepted", "sent")

    built.built.run("UPDATE paceline_webhook SET match_at = 1 WHERE match_at IS NOT NULL")  # it is time to look again
    built.run_until(lambda: built.view(id_).status == "delivered")

    assert ("webhook", "delivered") in built.said_of(id_)
    assert {row["match_at"] for row in built.webhooks()} == {None}
    assert built.taken() == 1


@every_provider
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"event":null}', b"a=b&a=c"])
def test_rubbish_is_refused(house: Build, name: str, body: bytes) -> None:
    built = house(name)

    assert built.post(Posted(body, {"Content-Type": "application/json"})) == 401

    assert built.webhooks() == []

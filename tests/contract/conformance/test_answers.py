"""What every provider makes of answers to a send: its own tables row by row, and what no table foresees."""

import pytest

from providers.base import Accepted, Outcome, Refused, Throttled, Unavailable, Unknown
from providers.registry import PROVIDERS
from tests.contract.conformance.cases import EXHIBITS, account_of, response, rows
from tests.contract.exhibits.base import DATE, NOW, Answer

PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
every_provider = pytest.mark.parametrize("name", EXHIBITS)


def meaning(name: str, status: int, body: bytes = b"", **headers: str) -> Outcome:
    return PROVIDERS[name].parse_response(account_of(name), response(status, body, **headers))


@pytest.mark.parametrize(("name", "row"), rows("answers"))
def test_each_row_of_its_tables_is_the_declared_outcome(name: str, row: Answer) -> None:
    assert meaning(name, row.status, row.body, **row.headers) == row.outcome


@every_provider
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": "Thu, 28 May 2026 10:17:12 GMT", "Date": DATE}, 90.0),
        ({"Retry-After": "Thu, 28 May 2026 10:14:00 GMT", "Date": DATE}, 0.0),
        ({"Retry-After": "soon"}, None),
    ],
)
def test_throttled_keeps_the_date_that_it_came_with(name: str, headers: dict[str, str], seconds: float | None) -> None:
    """Given its 429, or the code in a body that stands for it, then the wait is what Retry-After says."""
    status, sent, body = EXHIBITS[name].throttled(headers)
    arrived = {header.lower(): value for header, value in sent.items()}

    found = PROVIDERS[name].parse_response(account_of(name), response(status, body, **arrived))

    assert isinstance(found, Throttled)
    assert found.retry_after == seconds
    assert response(status).received_at == NOW


@every_provider
@pytest.mark.parametrize("body", [b"", PAGE, b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_bare_429_or_503_accepted_nothing(name: str, body: bytes) -> None:
    """Given a gateway's 429 or 503, whatever it wrote, then it is a wait, with its date."""
    assert meaning(name, 429, body) == Throttled(None, getattr(meaning(name, 429, body), "code", ""))
    down = meaning(name, 503, body, **{"retry-after": "7"})
    assert isinstance(down, Unavailable)
    assert down.retry_after == 7.0


@every_provider
@pytest.mark.parametrize("status", [500, 502, 504, 507, 599])
@pytest.mark.parametrize("body", [b"", PAGE, b'{"broken', b"[1]"])
def test_another_5xx_that_says_nothing_leaves_the_send_unknown(name: str, status: int, body: bytes) -> None:
    assert isinstance(meaning(name, status, body), Unknown)


@every_provider
@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("body", [PAGE, b'{"id":"msg_1","sta', b"[1,2]", b'"ok"', b"null", b"\xff\xfe", b"{" * 5000])
def test_a_2xx_that_is_not_the_providers_own_is_no_acceptance(name: str, status: int, body: bytes) -> None:
    """Given a portal's page, half an answer, or JSON of another shape under 2xx, then the send is unknown."""
    assert isinstance(meaning(name, status, body), Unknown)


@every_provider
def test_a_2xx_without_a_body_is_unknown_unless_the_provider_says_otherwise(name: str) -> None:
    expected = Accepted if EXHIBITS[name].empty_is_accepted else Unknown

    assert type(meaning(name, 200)) is expected


@every_provider
@pytest.mark.parametrize("content_type", ["text/plain", "text/html; charset=utf-8", "", "nonsense"])
def test_the_content_type_decides_nothing(name: str, content_type: str) -> None:
    """Given the right bytes under a wrong content type, then they mean what they mean."""
    for row in EXHIBITS[name].answers:
        assert meaning(name, row.status, row.body, **{"content-type": content_type}) == row.outcome


@every_provider
def test_swollen_with_blanks_an_answer_means_the_same(name: str) -> None:
    for row in EXHIBITS[name].answers:
        if row.body:
            assert meaning(name, row.status, row.body + b" " * 100_000) == row.outcome


@every_provider
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_never_followed_nor_taken_for_an_answer(name: str, status: int) -> None:
    found = meaning(name, status, b"", location="https://elsewhere.example.com/")

    assert not isinstance(found, Accepted | Refused | Unknown)

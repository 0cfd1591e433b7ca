"""Reading what providers and people wrote: words, dates, signatures."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.answers import (
    LONGEST_WAIT,
    OPT_IN_WORDS,
    OPT_OUT_WORDS,
    http_date,
    opt_in_word,
    opt_out_word,
    retry_after,
    signed,
)
from providers.base import Response


@pytest.mark.parametrize(
    "word", [*OPT_OUT_WORDS, "stop", "Stop.", " STOP!\n", '"stop"', "opt-out", "Opt  Out", "\u00a0stop"]
)
def test_a_word_that_ends_it_is_known_however_it_is_written(word: str) -> None:
    assert opt_out_word(word)
    assert not opt_in_word(word)


@pytest.mark.parametrize("word", [*OPT_IN_WORDS, "start", " Unstop. "])
def test_a_word_that_takes_it_back_is_known(word: str) -> None:
    assert opt_in_word(word)
    assert not opt_out_word(word)


@pytest.mark.parametrize("text", ["", " ", "!", "stop by at four", "please stop", "don't stop", "nonstop", "yes", "no"])
def test_any_other_text_is_only_a_text(text: str) -> None:
    assert not opt_out_word(text)
    assert not opt_in_word(text)


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    assert not (opt_out_word(text) and opt_in_word(text))
    http_date(text)


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("Thu, 28 May 2026 10:15:42 GMT", 1_779_963_342.0),
        ("Thu, 28 May 2026 10:15:42 -0000", 1_779_963_342.0),
        ("Thu May 28 10:15:42 2026", 1_779_963_342.0),
        ("2026-05-28T10:15:42Z", None),
        ("", None),
        ("Thu, 99 May 2026 10:15:42 GMT", None),
    ],
)
def test_an_http_date_is_in_gmt(value: str, at: float | None) -> None:
    assert http_date(value) == at


HALF_PAST = "Thu, 28 May 2026 10:30:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 120\t", 120.0),
        ("90.5", 90.5),  # no RFC's, and still a promise
        ("60, 120", 120.0),  # two headers of that name
        ("Thu, 28 May 2026 10:32:00 GMT", 120.0),
        ("Thursday, 28-May-26 10:32:00 GMT", 120.0),  # RFC 850
        ("Thu May 28 10:32:00 2026", 120.0),  # asctime
        ("Thu, 28 May 2026 11:32:00 +0100", 120.0),
        ("Thu, 28 May 2026 10:29:00 GMT", 0.0),
        ("9" * 400, LONGEST_WAIT),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("-120", None),
        ("+120", None),
        ("1e3", None),
        ("60, soon", None),
        ("\uff11\uff12", None),
        ("nan", None),
        ("inf", None),
        ("", None),
    ],
)
def test_a_wait_is_read_in_every_form_that_means_one(value: str, seconds: float | None) -> None:
    response = Response(429, {"retry-after": value, "date": HALF_PAST}, b"", received_at=0.0)
    assert retry_after(response) == seconds


def test_a_prefix_belongs_to_the_signature() -> None:
    digest = hmac.new(b"secret", b"body", "sha256").hexdigest()

    assert signed("secret", b"body", digest)
    assert signed("secret", b"body", f"sha256={digest}", prefix="sha256=")
    assert not signed("secret", b"body", digest, prefix="sha256=")
    assert not signed("secret", b"body", f"sha256={digest}")

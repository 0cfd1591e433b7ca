"""Reading what providers wrote: JSON that may be anything, times, signatures, what people mean by "STOP".

Nothing here ever raises.
"""

import email.utils
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from typing import Any

from providers.base import Response

LONGEST_WAIT = 366 * 86_400.0  # seconds
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that the bytes hold; an empty one for whatever else they hold."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def member(holder: object, name: str) -> dict[str, Any]:
    """The object under that name; an empty one if there is none."""
    found = holder.get(name) if isinstance(holder, dict) else None
    return found if isinstance(found, dict) else {}


def text(value: object, allowed: re.Pattern[str]) -> str:
    """The value if it is a string that matches as a whole; else an empty one."""
    return value if isinstance(value, str) and allowed.fullmatch(value) else ""


def instant(value: object) -> float | None:
    """ISO 8601 as Unix seconds, in UTC where it names no zone; None if it is nothing of the kind."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def http_date(value: str) -> float | None:
    """An HTTP-date as Unix seconds, in GMT even where it does not say so (RFC 9110, section 5.6.7); None if none."""
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def retry_after(response: Response) -> float | None:
    """Seconds to wait by the Retry-After header, as delta-seconds or HTTP-date (RFC 9110, section 10.2.3).

    A date is read against the answer's own Date, so that no two clocks are compared; None if absent or unreadable.
    What the RFC does not allow and some write all the same is believed where it can only mean one wait: fractions of a
    second, and of several numbers the largest. Never more than `LONGEST_WAIT`, so that whatever a provider writes can
    be added to a time.
    """
    value = response.headers.get("retry-after", "").strip()
    numbers = [number.strip() for number in value.split(",")]
    if all(map(_SECONDS.fullmatch, numbers)):
        return min(max(map(float, numbers)), LONGEST_WAIT)
    until = http_date(value)
    if until is None:
        return None
    now = http_date(response.headers.get("date", ""))
    return min(max(0.0, until - (response.received_at if now is None else now)), LONGEST_WAIT)


def answered_at(response: Response) -> float | None:
    """When the provider answered by its own clock, to the second: the Date header, in Unix seconds; None without."""
    return http_date(response.headers.get("date", ""))


# What people write who want nothing more: the words that the FCC (47 CFR 64.1200(a)(10)) and the CTIA's messaging
# principles name. "YES" asks for messages by the carriers' rules, but also answers any question: it is not among these.
OPT_OUT_WORDS = ("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "OPT OUT")
OPT_IN_WORDS = ("START", "UNSTOP")


def opt_out_word(text: str) -> bool:
    """Whether a person's message is, as a whole, one of the words that mean "write to me no more"."""
    return _word(text) in OPT_OUT_WORDS


def opt_in_word(text: str) -> bool:
    """Whether a person's message is, as a whole, one of the words that take such a word back."""
    return _word(text) in OPT_IN_WORDS


def _word(text: str) -> str:
    # "Stop.", "STOP!" and "opt-out" are the same words; a sentence that only contains one is not.
    return " ".join(text.strip().strip("\"'.!").upper().replace("-", " ").split())


def signed(secret: str, body: bytes, signature: str, prefix: str = "") -> bool:
    """True if the signature is `prefix` and the lower-case hexadecimal HMAC-SHA256 of the bytes, in constant time.

    Nothing is signed with an empty secret.
    """
    if not secret:
        return False
    expected = prefix + hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    # As bytes: a comparison of text refuses what is not ASCII by raising.
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))


def digest(*parts: str) -> str:
    """A name of fixed length for these parts: 64 hexadecimal digits."""
    return sha256("\0".join(parts).encode("utf-8", "backslashreplace"))


def sha256(body: bytes) -> str:
    """The SHA-256 of the bytes, in 64 hexadecimal digits."""
    return hashlib.sha256(body).hexdigest()

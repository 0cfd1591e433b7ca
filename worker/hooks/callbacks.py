"""Addresses of our own that name one message: `<public_url>/hooks/<account>?m=<message id>.<token>`.

Where a provider takes a callback address with each message, whoever posts to it proves to have been told of that
message. So a webhook can be believed that nobody signed, and it finds its message though the answer to the send, and
with it the provider's id, was lost. The token is a keyed digest of the account and the id: nothing is stored for it.
"""

import functools
import hmac
from collections.abc import Callable
from urllib.parse import parse_qs

from sqlalchemy import Engine

from paceline.content import content_of
from paceline.database import read

PREFIX = "/hooks/"
PARAMETER = "m"
TOKEN = 32  # hexadecimal digits: 128 bits


class Callbacks:
    """Makes and recognises such addresses. `base` is where the hooks server is reached, empty if it is not.

    `secret` is asked for when it is first needed; whatever that raises passes through.
    """

    def __init__(self, base: str, secret: Callable[[], bytes]) -> None:
        self.base = base.rstrip("/")
        self._secret = functools.cache(secret)

    @classmethod
    def of(cls, engine: Engine, base: str | None) -> "Callbacks":
        """Those of this installation, whose secret the database holds."""

        def secret() -> bytes:
            with read(engine) as connection:
                return content_of(connection).secret

        return cls(base or "", secret)

    @staticmethod
    def is_address(query: str) -> bool:
        """Whether a webhook's query may be that of an address of ours: only then need `message_id` be asked."""
        return f"{PARAMETER}=" in query

    def url(self, account: str, message_id: str) -> str:
        """The message's own address, for webhooks of the account that sends it; empty if nobody could reach it."""
        if not self.base:
            return ""
        return f"{self.base}{PREFIX}{account}?{PARAMETER}={message_id}.{self._token(account, message_id)}"

    def message_id(self, account: str, query: str) -> str:
        """The message whose address has this query, empty if it is no address of ours."""
        given = parse_qs(query).get(PARAMETER, []) if self.is_address(query) else []
        if len(given) != 1:
            return ""
        message_id, _, token = given[0].partition(".")
        expected = self._token(account, message_id)
        return message_id if hmac.compare_digest(expected.encode(), token.encode("utf-8", "replace")) else ""

    def _token(self, account: str, message_id: str) -> str:
        said = f"callback\0{account}\0{message_id}".encode("utf-8", "replace")
        return hmac.digest(self._secret(), said, "sha256").hex()[:TOKEN]


NONE = Callbacks("", bytes)

"""Webhooks whose signature does not cover their body: what a genuine one bears once must not come again with another.

A provider that signs a random token, and nothing else, lets whoever saw one genuine webhook put anything into the next.
So each token is remembered with a digest of the body that it came with first: the same body again is the provider's
repetition, any other is forged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from paceline import tables
from paceline.clock import now
from paceline.content import content_of
from worker.hooks.inbound import Arrival

NONCE = "nonce"  # the kind of the rows that remember

_webhook = tables.columns(tables.Webhook)


@dataclass(slots=True)
class Post:
    """One webhook's events. `refused` is set when it was found to be forged, and nothing of it was stored then.

    `nonce` is what it bears once, empty where its signature covers the body; `body` a digest of that.
    """

    fingerprint: str = field(repr=False)
    account: str
    arrivals: Sequence[Arrival]
    nonce: str = field(default="", repr=False)
    body: str = field(default="", repr=False)
    refused: bool = False


def judge(connection: Connection, posts: Sequence[Post]) -> None:
    """Remember the nonces of these and refuse the posts that bear one of another body. Safe to repeat."""
    bearing = sorted((post for post in posts if post.nonce), key=lambda post: (post.fingerprint, post.nonce))
    if not bearing:
        return
    safe = content_of(connection)
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    rows = [
        {
            "fingerprint": post.fingerprint,
            "dedup_key": _name(post),
            "account": post.account,
            "kind": NONCE,
            "data": safe.keyed(post.body),
        }
        for post in bearing
    ]
    connection.execute(make(_webhook).values(received_at=now()).on_conflict_do_nothing(), rows)
    known = select(_webhook.c.fingerprint, _webhook.c.dedup_key, _webhook.c.data).where(
        _webhook.c.dedup_key.in_(bindparam("names", expanding=True))
    )
    found = connection.execute(known, {"names": [_name(post) for post in bearing]})
    first = {(row.fingerprint, row.dedup_key): row.data for row in found}
    for post in bearing:
        post.refused = not safe.same(first.get((post.fingerprint, _name(post))) or "", post.body)


def _name(post: Post) -> str:
    return f"{NONCE} {post.nonce}"

"""The tables. All bear the prefix `paceline_` and stand in a registry of their own, so that they may share a
database and a process with an application's own SQLModel classes.

Times are Unix seconds by the database's clock. Indexes over waiting messages are partial: what has left, and what is
not due yet, costs a claim nothing.
"""

from paceline.tables.base import SCHEMA_VERSION, Base, Id, Name, Serial, columns, metadata
from paceline.tables.broadcasts import Broadcast, Job
from paceline.tables.events import Event, Relay, Webhook
from paceline.tables.ledger import Attempt, Grant
from paceline.tables.messages import ERASED, SETTLED, IdempotencyKey, Message, Stream, Suppression
from paceline.tables.topology import Account, Installation, Key, Lane, Route

__all__ = [
    "Account",
    "Attempt",
    "Base",
    "Broadcast",
    "ERASED",
    "Event",
    "Grant",
    "Id",
    "IdempotencyKey",
    "Installation",
    "Job",
    "Key",
    "Lane",
    "Message",
    "Name",
    "Relay",
    "Route",
    "SCHEMA_VERSION",
    "SETTLED",
    "Serial",
    "Stream",
    "Suppression",
    "Webhook",
    "columns",
    "metadata",
]

"""The events of a broadcast: each step that it takes, for whoever reads `Client.events`."""

import json

from sqlalchemy import insert, null

from paceline import tables
from paceline.clock import now
from paceline.transactions import Transaction

EVENT = tables.columns(tables.Event)
BROADCAST_EVENT = "broadcast"  # the kind of an event that says where a broadcast stands


def note(transaction: Transaction, broadcast_id: str, name: str, via: str, status: str) -> None:
    """Write the event of a step: which broadcast by id and name, and nothing of what it says or to whom."""
    data = json.dumps({"id": broadcast_id, "name": name, "via": via, "status": status})
    values = {"account": null(), "at": now(), "source": "application", "kind": BROADCAST_EVENT, "data": data}
    transaction.run(insert(EVENT).values(values))

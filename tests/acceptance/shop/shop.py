"""An application with modules and a table that are named like Paceline's. Prints what it did, as JSON."""

import json
import sys

from sqlmodel import Field, Session, SQLModel, create_engine, select

import config
import paceline
import tasks
import worker
from paceline import Client, Text


class Message(SQLModel, table=True):
    """A card in the shop's window; Paceline's table is `paceline_message`."""

    id: int | None = Field(default=None, primary_key=True)
    words: str


def write(client: Client, words: str, *, fail: bool) -> str | None:
    """Write a card and enqueue a message, both or neither; the message's id."""
    with Session(engine) as session:
        session.add(Message(words=words))
        session.flush()
        receipt = client.enqueue(
            Text(to=config.CUSTOMER, text=words), via="aurogy-main", idempotency_key=words, session=session
        )
        if fail:
            session.rollback()
            return None
        session.commit()
        return receipt.id


engine = create_engine(config.DATABASE_URL)
SQLModel.metadata.create_all(engine)
with Client(database_url=config.DATABASE_URL, broker_url=config.BROKER_URL) as client:
    write(client, "vanishes", fail=True)
    committed = write(client, "stays", fail=False)
worker.notify("by name")
with Session(engine) as session:
    cards = session.exec(select(Message.words)).all()
print(
    json.dumps(
        {
            "committed": committed,
            "cards": list(cards),
            "tables": sorted(SQLModel.metadata.tables),
            "restock": tasks.restock(),
            "modules": {module.__name__: module.__file__ for module in (config, tasks, worker, paceline)},
            "loaded": sorted(sys.modules.keys() & {"providers", "sandbox", "migrations"}),
        }
    )
)

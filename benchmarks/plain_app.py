"""The sender that everybody writes: one Celery task a message, which loads its row, sends it and updates the row.

Celery's own defaults throughout: early acknowledgement, JSON, prefetch of four. Only what would hold it back for no
reason is set: as many database and HTTP connections as it has threads.
"""

import functools
import os

import httpx
from celery import Celery
from sqlalchemy import Engine
from sqlmodel import Field, Session, SQLModel, create_engine

DATABASE = "PLAIN_DATABASE_URL"
BROKER = "PLAIN_BROKER_URL"
PROVIDER = "PLAIN_PROVIDER_URL"
THREADS = "PLAIN_THREADS"  # tasks at once in one process


class PlainMessage(SQLModel, table=True):
    """A message and where it stands."""

    id: int | None = Field(default=None, primary_key=True)
    to: str
    text: str
    status: str = "queued"
    provider_message_id: str | None = None


app = Celery("plain", broker=os.environ.get(BROKER, "memory://"))
app.conf.task_ignore_result = True


@functools.cache
def engine() -> Engine:
    """This process' connections to the database."""
    return create_engine(os.environ[DATABASE], pool_size=int(os.environ[THREADS]))


@functools.cache
def client() -> httpx.Client:
    """This process' connections to the provider."""
    threads = int(os.environ[THREADS])
    return httpx.Client(
        base_url=os.environ[PROVIDER],
        headers={"Authorization": "Bearer auro_test_sk_benchmark"},
        limits=httpx.Limits(max_connections=threads, max_keepalive_connections=threads),
        timeout=30,
    )


@app.task(name="plain.send")  # type: ignore[untyped-decorator]  # Celery ships no types
def send(message_id: int) -> None:
    """Send one message and write down what the provider said."""
    with Session(engine()) as session:
        message = session.get_one(PlainMessage, message_id)
        body = {"to": message.to, "text": message.text, "metadata": {"dispatch_id": str(message.id)}}
        answer = client().post("/messages/text", json=body)
        answer.raise_for_status()
        message.status = "accepted"
        message.provider_message_id = answer.json()["id"]
        session.add(message)
        session.commit()

"""FastAPI: an order and its confirmation are one transaction.

DATABASE_URL=postgresql+psycopg://… PACELINE_BROKER_URL=redis://… uvicorn examples.fastapi_app:app
"""

import os
from typing import Any

from fastapi import FastAPI, HTTPException
from sqlmodel import Field, Session, SQLModel, create_engine

from paceline import Client, InvalidMessage, MessageNotFound, Text

DATABASE_URL = os.environ["DATABASE_URL"]

app = FastAPI()
engine = create_engine(DATABASE_URL)
client = Client(database_url=DATABASE_URL)


class Order(SQLModel, table=True):
    """A table of the shop's own, beside Paceline's."""

    id: int | None = Field(default=None, primary_key=True)
    customer: str
    item: str


SQLModel.metadata.create_all(engine)


@app.post("/orders", status_code=201)
def place(customer: str, item: str) -> dict[str, Any]:
    """Both are stored, or neither; the workers hear of the message when both are."""
    try:
        with Session(engine) as session, session.begin():
            order = Order(customer=customer, item=item)
            session.add(order)
            session.flush()
            receipt = client.enqueue(
                Text(to=customer, text=f"Thank you for ordering {item}!"),
                via="aurogy-main",
                idempotency_key=f"order-{order.id}-placed",
                session=session,
            )
            return {"order": order.id, "message": receipt.id}
    except InvalidMessage as error:
        raise HTTPException(422, str(error)) from None


@app.get("/messages/{message}")
def message(message: str) -> dict[str, Any]:
    """Where a message stands, and what was tried."""
    try:
        return client.status(message).as_json()
    except MessageNotFound as error:
        raise HTTPException(404, str(error)) from None

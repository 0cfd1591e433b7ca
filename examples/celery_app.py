"""A Celery application whose tasks send through Paceline; the two share a broker, and nothing else.

BROKER_URL=redis://… celery -A examples.celery_app worker
"""

import os

from celery import Celery

from paceline import Text
from paceline.celery import send

app = Celery("shop", broker=os.environ["BROKER_URL"])


@app.task(name="shop.ship")
def ship(order: int, customer: str) -> None:
    """Tell the customer. Celery may run a task twice; the key makes it one message."""
    send.delay(
        Text(to=customer, text=f"Your order #{order} has been shipped!"),
        via="aurogy-main",
        idempotency_key=f"order-{order}-shipped",
    )

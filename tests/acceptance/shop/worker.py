"""The shop's own Celery application; Paceline's service has a package of this name too."""

from celery import Celery

import config

app = Celery("shop", broker=config.BROKER_URL)


def notify(key: str) -> None:
    """Send by the task's name alone, as any Celery client can."""
    message = {"kind": "text", "to": config.CUSTOMER, "text": "Your order has been shipped!"}
    call = {"message": message, "via": "aurogy-main", "idempotency_key": key}
    app.send_task("paceline.enqueue", kwargs=call, queue="paceline.enqueue")

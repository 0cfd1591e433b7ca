"""An application's own Celery, for `celery -A tests.support.told worker`: its task writes what it is told to a file."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery("shop", broker=os.environ.get("TOLD_BROKER"))
app.conf.task_default_queue = "shop"


@app.task(name="shop.on_message", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def on_message(event: Mapping[str, Any]) -> None:
    """One line for each call."""
    with Path(os.environ["TOLD_FILE"]).open("a") as file:
        file.write(json.dumps(event) + "\n")

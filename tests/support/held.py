"""Answers that have come and are not read before the test says so."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from worker.service import Service
from worker.transport import Answer, Exchange


@contextmanager
def answers_held(service: Service) -> Iterator[None]:
    """A slice beside the block sends what waits; what it is answered, it learns when the block ends."""
    free, sent = threading.Event(), threading.Event()
    send = service.pump.transport.send

    def late(exchanges: Iterable[Exchange], deliver: Callable[[Answer], None]) -> None:
        def tell(answer: Answer) -> None:
            free.wait()
            deliver(answer)

        def hold(answer: Answer) -> None:
            threading.Thread(target=tell, args=(answer,)).start()

        going = list(exchanges)
        send(going, hold)
        if going:
            sent.set()

    def work() -> None:
        while not sent.is_set() and not free.is_set():
            service.tick()
            service.pump.run_slice()

    with patch.object(service.pump.transport, "send", late):
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            free.set()
            thread.join(60)

"""A worker beside the test, for what waits for one."""

import threading
from collections.abc import Callable, Iterator

import pytest

from worker.service import Service


@pytest.fixture
def working() -> Iterator[Callable[[Service], None]]:
    """Lets a service work on a thread of its own until the test has ended."""
    over, threads = threading.Event(), list[threading.Thread]()

    def work(service: Service) -> None:
        while not over.is_set():
            service.tick()
            service.sweep()
            service.pump.run_slice(0.2)
            over.wait(0.01)

    def start(service: Service) -> None:
        threads.append(threading.Thread(target=work, args=(service,)))
        threads[-1].start()

    yield start
    over.set()
    for thread in threads:
        thread.join(60)

"""Keeping Python's garbage collector from stopping the sandbox to visit millions of entries that never change."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STRIDE = 50_000  # entries after which what stands is set aside
LOOK = 1.0  # seconds between two looks


@contextmanager
def undisturbed() -> Iterator[None]:
    """No collection while a block builds up what will stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


async def keep_collections_short(entered: Callable[[], int]) -> None:
    """Sets all objects aside each time that `entered()` has grown by a stride; counted references still free them."""
    seen = 0
    gc.freeze()
    while True:
        await asyncio.sleep(LOOK)
        if abs(entered() - seen) >= STRIDE:
            seen = entered()
            gc.freeze()

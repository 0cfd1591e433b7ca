"""Keeping the garbage collector away from what stays."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from sandbox import memory


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_nothing_is_collected_within_the_block_and_everything_again_after_it() -> None:
    assert gc.isenabled()
    with memory.undisturbed():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_blocks_may_overlap() -> None:
    outer, inner = memory.undisturbed(), memory.undisturbed()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    assert gc.isenabled()


def test_what_has_grown_by_a_stride_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOOK", 0.001)
    entered = 0

    looked = asyncio.Event()

    def count() -> int:
        looked.set()
        return entered

    async def look(times: int) -> None:
        async with asyncio.timeout(5.0):
            for _ in range(times):
                looked.clear()
                await looked.wait()

    async def story() -> tuple[bool, bool]:
        nonlocal entered
        task = asyncio.create_task(memory.keep_collections_short(count))
        await look(1)
        start = gc.get_freeze_count()
        kept = [[number] for number in range(10_000)]
        entered = memory.STRIDE - 1
        await look(3)
        early = gc.get_freeze_count() >= start + len(kept) // 2
        entered = memory.STRIDE
        await look(3)
        late = gc.get_freeze_count() >= start + len(kept) // 2
        task.cancel()
        return early, late

    assert asyncio.run(story()) == (False, True)

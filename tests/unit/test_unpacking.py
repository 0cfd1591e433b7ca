"""What a compressed answer holds comes out a piece at a time, however little it was packed into."""

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator, Callable

import pytest

from worker.unpacking import PIECE, BrokenPacking, is_packed, unpacked

NOISE = random.Random(4711).randbytes(300_000)


def pieces(packed: bytes, size: int) -> list[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(packed), size):
            yield packed[start : start + size]

    async def collected() -> list[bytes]:
        return [piece async for piece in unpacked(chunks())]

    return asyncio.run(collected())


@pytest.mark.parametrize("size", [1000, 16_384, 10_000_000])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("held", [b"", b"{}", bytes(5_000_000), bytes(PIECE), bytes(3 * PIECE), NOISE])
def test_all_of_it_comes_out_in_small_pieces(held: bytes, pack: Callable[[bytes], bytes], size: int) -> None:
    found = pieces(pack(held), size)

    assert b"".join(found) == held
    assert max(map(len, found)) <= PIECE


@pytest.mark.parametrize("packed", [b"{}", b"{", gzip.compress(NOISE)[:-1], gzip.compress(NOISE)[:-9] + b"x" * 9])
def test_what_is_packed_otherwise_or_cut_off_is_said_to_be(packed: bytes) -> None:
    with pytest.raises(BrokenPacking):
        pieces(packed, 1000)


def test_nothing_at_all_is_nothing() -> None:
    """As after HEAD, or with 204: there is no body that could have been packed."""
    assert pieces(b"", 1000) == []


@pytest.mark.parametrize("coding", ["gzip", " GZIP", "x-gzip", "deflate"])
def test_what_was_packed_once_can_be_read(coding: str) -> None:
    assert is_packed(coding)


@pytest.mark.parametrize("coding", ["", "identity", "br", "gzip, gzip", "deflate,gzip", "zstd"])
def test_whatever_else_it_says_is_not_unpacked(coding: str) -> None:
    assert not is_packed(coding)

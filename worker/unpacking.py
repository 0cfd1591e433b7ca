"""Answers that come compressed although nobody asked for it: unpacked a piece at a time, so that none fills memory."""

import zlib
from collections.abc import AsyncIterable, AsyncIterator

PIECE = 65_536  # bytes that are unpacked at once, from however little
_EITHER = zlib.MAX_WBITS | 32  # zlib finds out by itself whether it is gzip or its own format

CODINGS = ("gzip", "x-gzip", "deflate")


class BrokenPacking(Exception):
    """The bytes are not what the answer's Content-Encoding says."""


def is_packed(coding: str) -> bool:
    """Whether a Content-Encoding is one that `unpacked` reads: once packed, and not twice, which would be a bomb."""
    return coding.strip().lower() in CODINGS


async def unpacked(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """What the chunks hold, in pieces of at most `PIECE` bytes. Raises `BrokenPacking`, also if the end is missing."""
    unpacking, empty = zlib.decompressobj(_EITHER), True
    async for chunk in chunks:
        piece, rest, empty = b"", chunk, empty and not chunk
        while rest or len(piece) == PIECE:
            try:
                piece = unpacking.decompress(rest, PIECE)
            except zlib.error:
                raise BrokenPacking from None
            rest = unpacking.unconsumed_tail
            yield piece
    if not (empty or unpacking.eof):
        raise BrokenPacking

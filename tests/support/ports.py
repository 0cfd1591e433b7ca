"""Ports for servers that tests start by themselves, and so must know beforehand."""

import random
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST, HIGHEST = 15_000, 32_768  # from, and below which: where the kernel does not say which ports it gives by itself
_chance = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port of loopback that nobody has, and that nobody gets by chance before the server has started.

    It is none of those that the kernel gives to connections and to whoever asks for any: of these another test may have
    the same one a moment later.
    """
    while True:
        port = _chance.randrange(LOWEST, _handed_out())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


def _handed_out() -> int:
    """The lowest port that the kernel gives by itself, if there is room below it."""
    first = int(RANGE.read_text().split()[0]) if RANGE.exists() else HIGHEST
    return first if first > LOWEST + 1000 else HIGHEST

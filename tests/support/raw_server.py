"""A provider made of a bare socket: it records every byte that arrives, and behaves as badly as it is told to."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Behaviour = Callable[["Peer"], None]


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.number = number  # counts connections from 0
        self.received = bytearray()
        self.over = threading.Event()  # set once the client has gone, or the behaviour has ended
        self._connection = connection
        self._requests = 0

    def read_request(self) -> bool:
        """Wait for one more whole request; False if the client left instead."""
        while self.received.count(b"\r\n\r\n") <= self._requests:
            try:
                data = self._connection.recv(65536)
            except OSError:
                return False
            if not data:
                return False
            self.received += data
        self._requests += 1
        return True

    def say(self, data: bytes) -> bool:
        """Send bytes; False if the client has left."""
        try:
            self._connection.sendall(data)
        except OSError:
            return False
        return True

    def answer(self, body: bytes = b"{}", head: str = "HTTP/1.1 200 OK", **headers: str) -> None:
        """Send an answer that keeps the connection."""
        fields = {"content_length": str(len(body))} | headers
        lines = [head] + [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.say("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def reset(self) -> None:
        """End the connection with RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()


class RawServer:
    """A listener on loopback; `peers` are its connections, in order."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.peers: list[Peer] = []
        self.accepted = threading.Event()
        self._behaviour = behaviour
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def settled(self) -> list[bytes]:
        """What arrived on each connection, once all of them are over."""
        for peer in self.peers:
            assert peer.over.wait(60), "a connection stayed open"
        return [bytes(peer.received) for peer in self.peers]

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            peer = Peer(connection, len(self.peers))
            self.peers.append(peer)
            self.accepted.set()
            self._threads.append(threading.Thread(target=self._serve, args=(peer, connection), daemon=True))
            self._threads[-1].start()

    def _serve(self, peer: Peer, connection: socket.socket) -> None:
        with connection:
            self._behaviour(peer)
        peer.over.set()


@contextmanager
def raw_server(behaviour: Behaviour) -> Iterator[RawServer]:
    """A server for a test's time."""
    server = RawServer(behaviour)
    try:
        yield server
    finally:
        server.close()

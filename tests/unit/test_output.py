"""A supervisor's output: named lines, and a reader that never holds it up."""

import os

from worker.commands.output import PIECE, WAITING, Printer


def read_all(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    chunks = []
    try:
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    except BlockingIOError:
        pass
    return b"".join(chunks)


def test_lines_stand_behind_their_names() -> None:
    # given a printer on a pipe
    reading, writing = os.pipe()
    printer = Printer(writing, width=8)

    # when a child and the supervisor itself say something
    printer.line("worker-1", "began")
    printer.line("beat", "ticks")
    printer.line("", "ready")

    # then each line says whose it is, and the supervisor's own stands alone
    assert read_all(reading) == b"worker-1 | began\nbeat     | ticks\nready\n"


def test_a_reader_that_stalls_is_not_waited_for() -> None:
    # given a pipe that nobody reads
    reading, writing = os.pipe()
    printer = Printer(writing, width=1)

    # when far more is printed than it holds
    for number in range(20_000):
        printer.line("w", f"{number:05d} {'x' * 100}")

    # then nothing blocked, the newest lines wait, and the oldest of those that wait are gone
    taken = read_all(reading)
    while True:
        printer.flush()
        more = read_all(reading)
        if not more:
            break
        taken += more
    assert taken.startswith(b"w | 00000 ")
    assert taken.endswith(f"w | 19999 {'x' * 100}\n".encode())
    assert len(taken) < WAITING + 200_000


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole() -> None:
    reading, writing = os.pipe()
    printer = Printer(writing, width=1)

    printer.line("w", "y" * (3 * PIECE))

    assert read_all(reading) == b"w | " + b"y" * (3 * PIECE) + b"\n"


def test_a_reader_that_has_gone_ends_nothing() -> None:
    # given a pipe whose reader has closed it
    reading, writing = os.pipe()
    os.close(reading)
    printer = Printer(writing, width=1)

    # when something is printed, then the work goes on
    printer.line("w", "still here")
    printer.line("w", "and here")

"""Recipients as they come, and every way in which a file of them may be broken: one sentence, with the line."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paceline.broadcast.recipients import LONGEST_LINE, BadRecipients, read


def rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    return [(row.line, dict(row.columns)) for row in read(path)]


def written(tmp_path: Path, content: str | bytes, name: str = "people.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_csv_as_every_spreadsheet_writes_it(tmp_path: Path, ends: str, delimiter: str, mark: bytes) -> None:
    lines = [["phone", "name"], ["+15550101", "Zoë"], ["+15550102", ""]]
    text = ends.join(delimiter.join(cells) for cells in lines) + ends
    path = written(tmp_path, mark + text.encode())
    assert rows(path) == [
        (2, {"phone": "+15550101", "name": "Zoë"}), (3, {"phone": "+15550102", "name": ""}),
    ]  # fmt: skip


def test_a_quoted_cell_may_hold_anything_and_lines_are_counted_behind_it(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,text\n1,"a, ""b""\nand c"\n\n2,short\n')
    assert rows(path) == [(2, {"id": "1", "text": 'a, "b"\nand c'}), (5, {"id": "2", "text": "short"})]


def test_json_lines(tmp_path: Path) -> None:
    path = written(tmp_path, '{"id": "a", "age": 7, "left": null}\n\n{"id": "b", "age": 1.5}\n', "people.jsonl")
    assert rows(path) == [(1, {"id": "a", "age": "7"}), (3, {"id": "b", "age": "1.5"})]


BROKEN = {
    "empty": (b"", "recipients: holds nothing: its first line must name the columns"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "recipients: holds nothing: its first line must name the columns"),
    "only a header": (b"id,name\n", "recipients: holds no recipient below its header"),
    "latin-1": (b"id,name\n1,Zo\xeb\n", "recipients: line 2 is not UTF-8: save the file as UTF-8"),
    "latin-1, far down": (
        b"id,name\r\n" + b"1,Zo\xc3\xab\r\n" * 300_000 + b"2,Zo\xeb\r\n",
        "recipients: line 300002 is not UTF-8: save the file as UTF-8",
    ),
    "cut off in a letter": (b"id,name\n1,Zo\xc3", "recipients: line 2 is not UTF-8: save the file as UTF-8"),
    "utf-16": ("id\n1\n".encode("utf-16"), "recipients: line 1 is not UTF-8: save the file as UTF-8"),
    "a column without a name": (b"id,\n1,2\n", "recipients: line 1 must give every column a name"),
    "a column twice": (b"id,id\n1,2\n", "recipients: line 1 names a column twice"),
    "too many cells": (b"id\n1\n2,3\n", "recipients: line 3 has 2 cells, the header names 1"),
    "an open quote": (b'id\n1\n"2\n3\n', "recipients: line 3 is broken CSV: look for a quote that is not closed"),
    "a quote inside": (b'id\n"1"x\n', "recipients: line 2 is broken CSV: look for a quote that is not closed"),
    "nul": (b"id\n1\x00\n", "recipients: line 2 holds the character NUL: this is no text file in UTF-8"),
    "a line of ten megabytes": (
        b"id\n1\n" + b"x" * 10_000_000 + b"\n", f"recipients: line 3 is longer than {LONGEST_LINE:,} characters",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_csv_is_one_sentence_with_its_line(tmp_path: Path, name: str) -> None:
    content, sentence = BROKEN[name]
    with pytest.raises(BadRecipients) as refused:
        rows(written(tmp_path, content))
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "recipients: holds no recipient"),
        ('{"id": 1}\n{"id": \n', "recipients: line 2 is not JSON: write one object a line"),
        ('["a"]\n', "recipients: line 1 must be an object of columns and their values"),
        ('{"id": ["a"]}\n', "recipients: line 1 holds neither text nor a number in id: write it as text"),
        ('{"id": NaN}\n', "recipients: line 1 holds neither text nor a number in id: write it as text"),
        ('{"id": 1e999}\n', "recipients: line 1 holds neither text nor a number in id: write it as text"),
        ("[" * 100_000, "recipients: line 1 is not JSON: write one object a line"),
    ],
)
def test_broken_json_lines_are_one_sentence_with_their_line(tmp_path: Path, content: str, sentence: str) -> None:
    with pytest.raises(BadRecipients) as refused:
        rows(written(tmp_path, content, "people.jsonl"))
    assert str(refused.value) == sentence


@pytest.mark.parametrize("source", [42, None, {"id": "a"}, "no/such/file.csv", [], ["a"], [{"id": object()}]])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(BadRecipients, match="recipients: "):
        list(read(source))


def test_a_file_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipients, match="cannot be opened"):
        list(read(tmp_path))


def test_any_iterable_streams_and_counts_from_one() -> None:
    def people() -> Iterator[dict[str, Any]]:
        for number in range(3):
            yield {"id": number, "skip": None}

    assert [(row.line, dict(row.columns)) for row in read(people())] == [
        (1, {"id": "0"}),
        (2, {"id": "1"}),
        (3, {"id": "2"}),
    ]


def test_its_length_costs_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path, "id,name\n" + "".join(f"{number},Ada\n" for number in range(50_000)))
    tracemalloc.start()
    try:
        count = sum(1 for _ in read(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 50_000
    assert peak < 500_000


def test_no_refusal_quotes_what_stands_there(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"secret": ["+15550100"]}) + "\n", "p.jsonl")
    with pytest.raises(BadRecipients) as refused:
        rows(path)
    assert "5550100" not in str(refused.value)
    assert "5550100" not in repr(next(read([{"secret": "+15550100"}])))

"""What commands print of a provider's answer: facts below each other, rows as tables, the deeper indented."""

from typing import Any

import pytest

from paceline.facts import lines

CASES: list[tuple[Any, list[str]]] = [
    ("yes", ["yes"]),
    ([], ["none"]),
    (["a", None], ["a", "-"]),
    # Unknown is not nothing, and not zero.
    ({"daily_cap": None, "used": 0, "on": True}, ["daily_cap  -", "used       0", "on         true"]),
    ({"tags": ["a", "b"], "none": []}, ["tags  a, b", "none  -"]),
    # One id under two names is told once.
    ([{"id": "b1", "brand_id": "b1", "org_id": "o", "n": 1}], ["id  org_id  n", "b1  o       1"]),
    ([{"id": "b1", "brand_id": None}], ["id  brand_id", "b1  -"]),
    (
        {"id": "l1", "list_id": "l1", "import": {"status": "ready", "rows": 5}},
        ["id  l1", "", "import:", "  status  ready", "  rows    5"],
    ),
    ({"items": [{"a": 1}, {"a": 22}], "cursor": None}, ["cursor  -", "", "items:", "  a", "  1", "  22"]),
    ({"items": [{"a": 1}]}, ["items:", "  a", "  1"]),
    # Rows that have rows of their own stand below each other.
    (
        [{"id": "b", "campaigns": [{"id": "c", "name": "Spring"}]}, {"id": "d", "campaigns": []}],
        ["id  b", "", "campaigns:", "  id  name", "  c   Spring", "", "id         d", "campaigns  -"],
    ),
]


@pytest.mark.parametrize(("found", "said"), CASES)
def test_it_is_readable(found: Any, said: list[str]) -> None:
    assert lines(found) == said

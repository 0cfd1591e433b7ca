"""Every test that docs/guarantees.md names exists, and every guarantee names one."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
PROMISES = re.findall(r"(?ms)^## \d+\. (.+?)$(.*?)(?=^## )", PAGE)


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda part: part)
def test_a_test_that_is_named_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("title", "said"), PROMISES, ids=[title for title, _ in PROMISES])
def test_each_promise_names_the_test_that_holds_it(title: str, said: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::\w+`", said), title

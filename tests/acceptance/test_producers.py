"""docs/producers.md: every block of Python in it runs, in its order, and does what the text says."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from redis import Redis
from sqlmodel import SQLModel

import paceline
from paceline import wire
from paceline.connection import celery_url, resolve
from paceline.errors import PacelineError
from tests.acceptance.commands_support import ROOT
from tests.support.installation import Installation

PAGE = (ROOT / "docs/producers.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@contextmanager
def run_the_page(name: str) -> Iterator[dict[str, Any]]:
    """All of its blocks, run as a module of this name; its variables."""
    page: dict[str, Any] = {"__name__": name}
    try:
        for kind, block in BLOCKS:
            if kind == "python":
                exec(compile(block, "docs/producers.md", "exec"), page)
        yield page
    finally:
        for opened in ("client", "app"):
            if opened in page:
                page[opened].close()
        if "engine" in page:
            page["engine"].dispose()
        SQLModel.metadata.clear()


def test_every_block_runs_and_does_what_the_text_says(
    build: Callable[..., Installation],
    valkey: Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given an installation, and an application that is told where it is
    built = build()
    monkeypatch.setenv("PACELINE_CONFIG", str(built.settings_file))
    monkeypatch.setenv("DATABASE_URL", built.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("BROKER_URL", celery_url(resolve(built.settings_file, environ={})))

    # when the page is run from its first line to its last
    with run_the_page(f"producers_{built.engine.dialect.name}") as page:
        # then each block did what stands beside it
        client = page["client"]
        assert (page["again"].id, page["again"].replayed) == (page["receipt"].id, True)
        assert client.status(idempotency_key="order-1-placed").id == page["placed"].id
        assert client.status(page["reminder"].id).status == "cancelled"
        assert (page["result"].enqueued, page["result"].replayed) == (2, 0)
        assert [(reject.index, reject.field) for reject in page["result"].rejected] == [(2, "to")]
        assert page["view"].status == "queued"
        assert page["view"].waiting_for
        assert len(page["waiting"]) == 4
        assert page["outbox"].status(page["sent"].id).status == "delivered"
        first, second = capsys.readouterr().out.splitlines()
        assert (first.split()[:2], second.split()[0]) == (["2", "to"], "to")

    # and what went through Celery waits for a worker, its content in no header
    published = [json.loads(each) for each in cast("list[bytes]", valkey.lrange(wire.ENQUEUE_QUEUE, 0, -1))]
    assert [each["headers"]["task"] for each in published] == [wire.ENQUEUE] * 2
    assert {each["headers"]["kwargsrepr"] for each in published} == {"…"}


def test_every_error_is_in_the_table() -> None:
    def below(kind: type[PacelineError]) -> set[str]:
        return {kind.__name__}.union(*(below(each) for each in kind.__subclasses__()))

    public = {name for name in below(PacelineError) if name in paceline.__all__}
    told = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))
    assert public - told == {"PacelineError", "BrokerNotReady"}  # a producer does without the broker


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", PAGE))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).resolve().is_file()

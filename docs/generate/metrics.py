"""The page of metrics, from the table that their collector goes by."""

from docs.generate.markdown import NOTE, code, codes, joined, table
from worker.watch import metrics

HEAD = """\
# Metrics

`paceline hooks` answers `GET /metrics` for Prometheus, at `[hooks] metrics_bind`: an address of its own, never the one
that providers reach. Labels are accounts, lanes and words of ours, never an id, a recipient or what somebody wrote.
[Operations](../operations.md#alerts-worth-having) says which of them to be woken by."""


def page() -> str:
    """The page."""
    rows = [(code(name), codes(labels), meaning) for name, (labels, meaning) in metrics.HELP.items()]
    return joined(NOTE + HEAD, table(("series", "labels", "meaning"), rows)) + "\n"

"""The ASGI side of metrics: the application that answers a scrape, and the count of what the receiver answers."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from worker.hooks.app import GONE, Answered
from worker.watch.counters import Tally
from worker.watch.metrics import Metrics

# What the receiver's answers mean: labels are words of ours.
OUTCOMES: Mapping[int, str] = {
    200: "stored", 401: "refused", 404: "no_account", 405: "not_posted", 408: "late", 413: "too_large", 503: "failed",
    GONE: "gone",
}  # fmt: skip


def make_metrics(metrics: Metrics) -> ASGIApp:
    """The application of the private address: GET /metrics, and nothing else."""

    async def answer(_request: Request) -> Response:
        return Response(await metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        metrics.close()

    return Starlette(routes=[Route("/metrics", answer)], lifespan=lifespan)


def counting(accounts: Collection[str], tally: Tally) -> Answered:
    """Count the receiver's answers by account and outcome.

    What was posted to no account of ours is counted under none: anybody can make up names.
    """

    def answered(account: str, status: int, seconds: float) -> None:
        tally.add("webhooks", account if account in accounts else "", OUTCOMES[status])
        tally.observe("webhook", seconds)

    return answered

"""The ASGI side of metrics: the application that answers a scrape, and the count of what the receiver answers."""

import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.callbacks import PREFIX
from worker.counters import Tally
from worker.metrics import Metrics

# What the receiver's answers mean. What is not here is counted as `other`: labels are words of ours.
OUTCOMES: Mapping[int | None, str] = {
    200: "stored", 401: "refused", 404: "no_account", 405: "not_posted", 408: "late", 413: "too_large", 503: "failed",
    None: "gone",
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


def counted(hooks: ASGIApp, accounts: Collection[str], tally: Tally) -> ASGIApp:
    """The receiver, with its answers counted by account and outcome.

    What was posted to no account of ours is counted under none: anybody can make up names.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await hooks(scope, receive, send)
            return
        answered: int | None = None

        async def noting(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await hooks(scope, receive, noting)
        finally:
            name = scope["path"].removeprefix(PREFIX).partition("/")[0]
            tally.add("webhooks", name if name in accounts else "", OUTCOMES.get(answered, "other"))
            tally.observe("webhook", time.perf_counter() - started)

    return app

"""The ASGI application that faces the providers. It answers /health: 200 while the database answers, else 503."""

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from paceline.database import read


def make_hooks(engine: Engine) -> Starlette:
    """The application on this database."""

    def health(_request: Request) -> Response:
        try:
            with read(engine) as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return JSONResponse({"status": "database away"}, status_code=503)
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/health", health)])

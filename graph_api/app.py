"""Puts the service together. Nothing else builds the app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from db.connection import Database
from graph_api import explorer, ops
from graph_api.auth import LoopbackOnly
from graph_api.graphql import graphql
from graph_api.responses import answer
from graph_api.settings import Settings, read_settings
from schema.errors import INTERNAL
from schema.executor import Executor
from schema.root import schema


def create_worker() -> Starlette:
    """The service in one of several processes: its parent left the settings in the environment."""
    settings = read_settings()
    ops.configure_logging(settings.log_level)
    return create_app(settings)


def create_app(settings: Settings) -> Starlette:
    """The service. Its settings name the database it rests on."""
    assert settings.database_url is not None, "whoever builds the app says which database it rests on"
    address = settings.database_url

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        database = Database(
            address,
            pool_size=settings.pool_size,
            pool_timeout=settings.pool_timeout,
            statement_timeout=settings.statement_timeout,
        )
        app.state.database = database
        app.state.settings = settings
        app.state.executor = Executor(schema, database, max_page_size=settings.max_page_size)
        try:
            yield
        finally:
            await database.close()

    return Starlette(
        routes=[
            Route("/graphql", graphql, methods=["GET", "POST"]),
            Route("/health", ops.health),
            Route("/ready", ops.ready),
            Route("/", _home),
            explorer.assets(),
        ],
        middleware=[Middleware(ops.RequestLog), Middleware(LoopbackOnly)],
        exception_handlers={500: _unforeseen},
        lifespan=lifespan,
    )


async def _home(_: Request) -> Response:
    return RedirectResponse("/graphql")


async def _unforeseen(request: Request, _: Exception) -> Response:
    """The server logs the traceback; the client is told where to point."""
    content = {"errors": [{"message": INTERNAL, "extensions": {"code": "INTERNAL"}}]}
    return answer({**content, "extensions": {"requestId": request.scope["state"].get("request_id")}}, 500)

"""Puts the service together. Nothing else builds the app."""

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from db.database import Database
from db.errors import BadInput, NotFound
from graph_api.auth.authenticator import Authenticator
from graph_api.auth.ttl_cache import SingleFlightCache
from graph_api.graphiql import page
from graph_api.http import ops
from graph_api.http.admission import Admission, release_slot
from graph_api.http.browsers import browser_middleware
from graph_api.http.graphql import graphql
from graph_api.http.loopback import LoopbackOnly
from graph_api.http.rate_limits import Rates
from graph_api.http.responses import refusal
from graph_api.ingestion.http import ingest
from graph_api.records.fetching import Records
from graph_api.settings import Settings, read_settings
from schema.execution.executor import Executor
from schema.execution.external_record import Caller, Lookup
from schema.root import schema

# For how long what the database said of itself is believed.
READY_SECONDS = 1

# Connections for what is soon over and takes no place: who asks, and whether the service is ready.
LOOKING_UP = 2


def create_worker() -> Starlette:
    """The service in one of several processes: its parent left the settings in the environment."""
    settings = read_settings()
    ops.configure_logging(settings.log_level)
    app = create_app(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # whose parent was killed would otherwise serve on with nobody to end it
        parent = multiprocessing.parent_process()
        assert parent is not None
        loop = asyncio.get_running_loop()

        def orphaned() -> None:
            loop.remove_reader(parent.sentinel)
            signal.raise_signal(signal.SIGTERM)

        loop.add_reader(parent.sentinel, orphaned)
        async with own_lifespan(app):
            ops.freeze_gc()
            yield

    own_lifespan, app.router.lifespan_context = app.router.lifespan_context, lifespan
    return app


def create_app(settings: Settings, *, guarded: bool = True) -> Starlette:
    """The service. Its settings name the database it rests on. One that is not guarded asks nobody who they are, and answers this
    machine only."""
    assert settings.database_url is not None, "whoever builds the app says which database it rests on"
    address = settings.database_url

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # ahead of the database, which would be left open should these fail
        rates = Rates(settings.tenant_rate, settings.key_rate, settings.redis_url)
        records = Records(settings.services)
        database = Database(
            address,
            pool_size=settings.pool_size,
            reserve=settings.max_loads + LOOKING_UP,
            pool_timeout=settings.pool_timeout,
            statement_timeout=settings.statement_timeout,
            lock_timeout=settings.lock_timeout,
        )

        async def fetch(asked: Mapping[Lookup, int], caller: Caller) -> Mapping[Lookup, Any]:
            # an operation that only waits for another service keeps nobody else from the database
            release_slot()
            return await records(asked, caller)

        app.state.database = database
        app.state.settings = settings
        # whoever asks whether it is ready may ask often
        app.state.revision = SingleFlightCache(lambda _: database.revision(), READY_SECONDS)
        app.state.rates = rates
        app.state.admission = Admission(settings.pool_size, settings.max_waiting, settings.pool_timeout)
        app.state.reading = Admission(1, settings.max_waiting, settings.pool_timeout)
        app.state.loads = Admission(settings.max_loads, 0, settings.pool_timeout, one_for_others=True)
        app.state.door = door = Authenticator(settings, database, guarded=guarded)
        app.state.executor = Executor(schema, database, settings.limits, fetch, door.signer, settings.registered())
        try:
            yield
        finally:
            await door.close()
            await rates.close()
            await records.close()
            await database.close()

    return Starlette(
        routes=[
            Route("/graphql", graphql, methods=["GET", "POST"]),
            Route("/api/v1/ingest", ingest, methods=["POST"]),
            Route("/health", ops.health),
            Route("/ready", ops.ready),
            Route("/", _home),
            page.assets(),
        ],
        middleware=[
            *browser_middleware(settings.cors_origins),
            Middleware(ops.RequestLog),
            *([] if guarded else [Middleware(LoopbackOnly)]),
        ],
        exception_handlers={HTTPException: _not_served},
        lifespan=lifespan,
    )


async def _home(_: Request) -> Response:
    return RedirectResponse("/graphql")


async def _not_served(request: Request, error: Exception) -> Response:
    """No such address, or not by that method."""
    assert isinstance(error, HTTPException)
    kind = NotFound if error.status_code == 404 else BadInput
    reason = kind(f"{request.method} {request.url.path}: {error.detail}. The API is at POST /graphql.")
    return refusal(request.scope, error.status_code, reason, headers=dict(error.headers or {}))

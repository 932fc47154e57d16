"""Composition of the ASGI application. No other module builds it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from db.admission import Admission, release_slot
from db.database import Database
from db.errors import BadInput, NotFound
from db.tenancy.tenant import only_tenant_of
from graph_api.auth.authenticator import Authenticator
from graph_api.auth.ttl_cache import SingleFlightCache
from graph_api.graphiql import page
from graph_api.http.browsers import CrossOriginPolicy
from graph_api.http.gateway import Gateway, Respond
from graph_api.http.graphql import GraphQLEndpoint
from graph_api.http.health import health, ready
from graph_api.http.preparation import Preparation
from graph_api.http.rate_limits import RateLimiter
from graph_api.http.request import request_of
from graph_api.http.responses import error_response
from graph_api.ingestion.http import ingest
from graph_api.records.fetching import RecordFetcher
from graph_api.records.grants import GrantedServices
from graph_api.settings import Settings
from schema.execution.executor import Executor
from schema.execution.external_record import Caller, Lookup
from schema.execution.tenant_figures import MAX_READINGS, TenantFigures
from schema.root import schema

# Seconds for which the status of the database is cached.
STATUS_TTL = 1

# Connections for short lookups that need no slot: credentials and readiness.
LOOKUP_CONNECTIONS = 2


def create_app(settings: Settings, *, require_auth: bool = True) -> Starlette:
    """Build the application. The settings must have a database URL.

    Without `require_auth`, every request acts as the open principal, requests from other machines are rejected, and pages of any
    origin on this machine may read responses.
    """
    assert settings.database_url is not None, "the caller sets the database URL"
    address = settings.database_url
    cross_origin_policy = CrossOriginPolicy(settings.cors_origins, loopback=not require_auth)
    # requests for GraphQL pass no router
    direct: dict[str, Respond] = {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # created before the database, which would be left open if one of them failed
        rate_limiter = RateLimiter(settings.tenant_rate, settings.key_rate, settings.redis_url)
        only_tenant: SingleFlightCache[None, str | None] = SingleFlightCache(
            lambda _: only_tenant_of(database), settings.credential_seconds
        )
        find_grants = GrantedServices(settings.services, partial(only_tenant.get, None))
        records = RecordFetcher(settings.services, find_grants)
        database = Database(
            address,
            pool_size=settings.pool_size,
            reserve=settings.max_loads + LOOKUP_CONNECTIONS + MAX_READINGS,
            pool_timeout=settings.pool_timeout,
            statement_timeout=settings.statement_timeout,
            lock_timeout=settings.lock_timeout,
            behind_pooler=settings.pooler is not None,
        )

        async def fetch(requested: Mapping[Lookup, int], caller: Caller) -> Mapping[Lookup, Any]:
            # the database is not used any more, so other operations can have the slot
            release_slot()
            async with app.state.fetch_admission.slot(caller.tenant_id, caller.credential):
                return await records(requested, caller)

        authenticator = Authenticator(database, settings.auth_config(), require_auth=require_auth)
        app.state.database = database
        app.state.request_limits = settings.request_limits
        app.state.database_status = SingleFlightCache(lambda _: database.status(), STATUS_TTL)
        app.state.rate_limiter = rate_limiter
        app.state.admission = Admission(settings.pool_size, settings.max_waiting, settings.pool_timeout)
        # the records of an operation take much memory
        app.state.fetch_admission = Admission(settings.pool_size, settings.max_waiting, settings.pool_timeout)
        app.state.body_admission = Admission(settings.pool_size, settings.max_waiting, settings.pool_timeout)
        app.state.parse_admission = Admission(1, settings.max_waiting, settings.pool_timeout)
        app.state.anonymous_admission = Admission(1, settings.max_waiting, settings.pool_timeout)
        app.state.load_admission = Admission(
            settings.max_loads, settings.max_waiting, settings.pool_timeout, kept=min(1, settings.max_loads - 1)
        )
        app.state.authenticator = authenticator
        app.state.find_grants = find_grants
        documents = settings.registered_documents()
        figures = app.state.figures = TenantFigures(database)
        executor = Executor(schema, database, settings.limits, fetch, authenticator.key_signer, documents, find_grants, figures)
        app.state.executor = executor
        preparation = Preparation(
            executor,
            app.state.parse_admission,
            app.state.anonymous_admission,
            settings.request_limits.request_timeout,
        )
        direct["/graphql"] = GraphQLEndpoint(
            executor,
            authenticator,
            rate_limiter,
            app.state.admission,
            app.state.body_admission,
            preparation,
            settings.request_limits,
            cross_origin_policy,
        ).respond
        try:
            yield
        finally:
            await figures.close()
            await authenticator.close()
            await rate_limiter.close()
            await records.close()
            await database.close()

    app = Starlette(
        routes=[
            Route("/graphql/", _redirect_to_graphql, methods=["GET", "POST"]),
            Route("/api/v1/ingest", ingest, methods=["POST"]),
            Route("/health", health),
            Route("/ready", ready),
            Route("/", _redirect_to_graphql),
            page.assets(),
        ],
        exception_handlers={HTTPException: _handle_http_exception},
        lifespan=lifespan,
    )
    routed = ExceptionMiddleware(app.router, app.exception_handlers)
    # instead of the middlewares that Starlette would build
    app.middleware_stack = Gateway(routed, direct, cross_origin_policy, loopback_only=not require_auth)
    return app


async def _redirect_to_graphql(_: Request) -> Response:
    return RedirectResponse("/graphql")


async def _handle_http_exception(request: Request, error: Exception) -> Response:
    """Answer a request to an unknown path, or with a method that the path does not support."""
    assert isinstance(error, HTTPException)
    kind = NotFound if error.status_code == 404 else BadInput
    reason = kind(f"{request.method} {request.url.path}: {error.detail}. The API is at POST /graphql.")
    return error_response(request_of(request.scope).request_id, error.status_code, reason, headers=dict(error.headers or {}))

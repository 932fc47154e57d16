"""Settings of the service, read from HEADWATER_* environment variables. docs/settings.md lists them; a test compares."""

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from db.lineage.walk import Bounds
from graph_api.auth.config import AuthConfig
from graph_api.auth.key_set import Algorithm, InvalidKeys, KeySet, read_key_file
from graph_api.auth.remote_key_set import JwksSource, check_jwks_source
from graph_api.auth.tokens import TrustedIssuer
from graph_api.command_settings import CommandSettings, read_settings_of
from graph_api.http.browsers import parse_origins, validate_origins
from graph_api.http.persisted_documents import InvalidManifest, read_manifest
from graph_api.http.rate_limits import parse_rate, validate_redis_url
from graph_api.http.request_limits import RequestLimits
from schema.execution.document import RegisteredDocuments
from schema.language.limits import Limits


class Settings(CommandSettings):
    """Settings of one process of the service."""

    host: Annotated[str, Field(description="Address to listen on. The demo accepts only a loopback address.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 selects a free one.")] = 8000
    workers: Annotated[int, Field(ge=1, le=64, description="Number of worker processes.")] = 1
    pool_size: Annotated[
        int,
        Field(ge=1, le=500, description="Maximum concurrent operations of one process, each with a connection to PostgreSQL."),
    ] = 10
    pooler: Annotated[
        Literal["transaction"] | None,
        Field(description="Set it to `transaction` if a pooler such as PgBouncer passes connections on after each transaction."),
    ] = None
    pool_timeout: Annotated[
        float, Field(gt=0, description="Seconds an operation or a load waits for a free slot before it is answered 503.")
    ] = 10
    max_waiting: Annotated[
        int, Field(ge=0, le=10_000, description="Maximum operations that wait for a free slot; further ones are answered 503.")
    ] = 40
    max_loads: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Maximum concurrent loads by HTTP of one process; further ones wait for a slot. The last is reserved for"
            " tenants with no running load.",
        ),
    ] = 3
    request_timeout: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds an operation may take, waiting included, and a dry run of a load by HTTP, before it is cancelled"
            " and answered 504.",
        ),
    ] = 30
    statement_timeout: Annotated[float, Field(gt=0, description="Seconds one SQL statement may take.")] = 30
    lock_timeout: Annotated[float, Field(gt=0, description="Seconds one SQL statement waits for a lock.")] = 10
    shutdown_timeout: Annotated[int, Field(ge=0, description="Seconds that running requests have to finish at shutdown.")] = 30
    max_body_bytes: Annotated[
        int, Field(ge=1024, description="Maximum bytes of a request body; a larger one is answered 413.")
    ] = 262_144
    body_timeout: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds for the head of a request to arrive, for the body of an operation after it, and for which a load"
            " may bring nothing, before 408 is answered.",
        ),
    ] = 10
    min_load_rate: Annotated[
        int,
        Field(
            ge=1,
            description="Bytes a second that a client has to send of a load. When the service has waited for"
            " HEADWATER_BODY_TIMEOUT longer than this rate takes, 408 is answered.",
        ),
    ] = 10_000
    send_timeout: Annotated[
        float,
        Field(gt=0, description="Seconds for which a client may take nothing of its answer before its connection is closed."),
    ] = 30
    min_send_rate: Annotated[
        int,
        Field(
            ge=1,
            description="Bytes a second that a client has to take of an answer. After HEADWATER_SEND_TIMEOUT and the time for all"
            " of it at this rate, its connection is closed.",
        ),
    ] = 10_000
    max_unsent_bytes: Annotated[
        int,
        Field(
            ge=16_777_216,
            description="Maximum bytes of answers of one process that their clients have yet to take; beyond it, connections of"
            " the tenant with the most are closed.",
        ),
    ] = 134_217_728
    max_address_connections: Annotated[
        int,
        Field(
            ge=1,
            description="Maximum connections of one address to one process; further ones are closed. Trusted proxies have no"
            " such limit.",
        ),
    ] = 250
    max_tenant_connections: Annotated[
        int,
        Field(
            ge=1,
            description="Maximum connections to one process whose latest requests were those of one tenant; requests on further"
            " ones are answered 503.",
        ),
    ] = 500
    max_batch: Annotated[
        int, Field(ge=0, le=100, description="Maximum operations in one request, sent as a JSON array; 0 disables batching.")
    ] = 0
    tenant_rate: Annotated[
        str,
        Field(description="Cost that a tenant may spend per period, such as 6000000/minute or 500/10 seconds; empty: no limit."),
    ] = "6000000/minute"
    key_rate: Annotated[
        str, Field(description="Cost that one credential may spend per period, in the same notation; empty: no limit.")
    ] = "2000000/minute"
    redis_url: Annotated[
        str | None,
        Field(
            repr=False,
            description="URL of a Redis in which all processes share their rate limits (needs the extra redis). Without it,"
            " each process counts separately.",
        ),
    ] = None
    cors_origins: Annotated[
        list[str],
        NoDecode,
        Field(
            description="Origins whose pages may call the API, as a JSON list or separated by commas, or * for every origin."
            " Without it, browsers do not let pages of other origins read responses."
        ),
    ] = []  # noqa: RUF012
    max_tokens: Annotated[int, Field(ge=100, description="Maximum tokens of a GraphQL document.")] = 2_000
    max_depth: Annotated[int, Field(ge=1, description="Maximum depth of nested fields, introspection not counted.")] = 16
    max_introspection_depth: Annotated[
        int, Field(ge=1, description="Maximum times an introspection query may step from a type to the types of its fields.")
    ] = 2
    max_aliases: Annotated[int, Field(ge=0, description="Maximum aliases of an operation.")] = 15
    max_repeats: Annotated[int, Field(ge=0, description="Maximum repetitions of a field in one selection.")] = 15
    max_root_fields: Annotated[int, Field(ge=1, description="Maximum root fields of an operation.")] = 10
    max_fragment_spreads: Annotated[int, Field(ge=0, description="Maximum fragment spreads of an operation.")] = 50
    max_cost: Annotated[int, Field(ge=1, description="Maximum cost of an operation; limits.md explains the cost.")] = 1_000_000
    max_list_length: Annotated[int, Field(ge=1, le=100_000, description="Maximum items of a list in an argument.")] = 1_000
    max_page_size: Annotated[int, Field(ge=1, le=10_000, description="Maximum items of a page.")] = 100
    max_representations: Annotated[
        int, Field(ge=1, le=10_000, description="Maximum entity representations in one request of a federation gateway.")
    ] = 1_000
    max_lineage_page_size: Annotated[int, Field(ge=1, le=10_000, description="Maximum assets on one page of a lineage walk.")] = (
        1_000
    )
    max_lineage_depth: Annotated[int, Field(ge=1, le=10_000, description="Maximum `maxDepth` of a lineage walk.")] = 100
    max_lineage_assets: Annotated[
        int, Field(ge=1, description="Maximum assets that one lineage walk visits; beyond it, the result is marked truncated.")
    ] = 5_000
    max_lineage_links: Annotated[
        int, Field(ge=1, description="Maximum links that one lineage walk examines; beyond it, the result is marked truncated.")
    ] = 20_000
    max_links_read: Annotated[
        int,
        Field(
            ge=1,
            description="Maximum links among the assets of its walks that one operation reads, each that is read for cycles or"
            " confidences counted as a tenth; beyond it, the fields fail.",
        ),
    ] = 50_000
    lineage_timeout: Annotated[
        float,
        Field(
            gt=0,
            description="Maximum seconds that the lineage walks of one statement take; beyond it, their results are marked"
            " truncated.",
        ),
    ] = 10
    persisted_documents: Annotated[
        Path | None,
        Field(
            description="File of registered documents, read at startup: a JSON object of ids and texts, or a persisted query"
            " manifest of Apollo."
        ),
    ] = None
    persisted_only: Annotated[bool, Field(description="Reject documents that are not registered.")] = False
    bootstrap_key: Annotated[
        str | None,
        Field(
            repr=False,
            description="Key with every scope that `serve` creates in the tenant `default` if that has no keys:"
            " `hw_1_bootstrap_` and 64 or more random letters and digits.",
        ),
    ] = None
    credential_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=60,
            description="Seconds for which keys and tenants are cached. A revoked key works at most this long.",
        ),
    ] = 1
    anonymous_introspection: Annotated[
        bool, Field(description="Allow requests without credentials to introspect the schema, and nothing else.")
    ] = True
    jwt_algorithm: Annotated[
        Algorithm | None,
        Field(
            description="Algorithm that JWTs must be signed with: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384,"
            " ES512, EdDSA, HS256, HS384 or HS512. Without it, JWTs are not accepted."
        ),
    ] = None
    jwt_issuer: Annotated[str | None, Field(description="Required value of the claim `iss`.")] = None
    jwt_audience: Annotated[str | None, Field(description="Required value of the claim `aud`.")] = None
    jwt_keys: Annotated[
        Path | None,
        Field(
            description="File of the keys that JWTs are verified with: a public key as PEM or a JWKS; for HS256, HS384 and"
            " HS512 a secret of at least 32, 48 or 64 bytes, or a JWKS."
        ),
    ] = None
    jwt_jwks_url: Annotated[
        str | None,
        Field(description="URL of a JWKS to fetch instead: https, or http on this machine. Redirects are not followed."),
    ] = None
    jwt_jwks_ttl: Annotated[
        float,
        Field(
            ge=10,
            le=86_400,
            description="Seconds for which a fetched JWKS is cached. A token with an unknown key id refreshes it earlier, but"
            " at most once in 10 seconds.",
        ),
    ] = 300
    jwt_leeway: Annotated[
        float, Field(ge=0, le=300, description="Seconds of tolerated difference between the clocks of issuer and service.")
    ] = 10
    jwt_tenant_claim: Annotated[
        str, Field(min_length=1, description="Claim with the name of the tenant; dots lead into objects, as in `realm.tenant`.")
    ] = "tenant"
    jwt_scopes_claim: Annotated[
        str,
        Field(min_length=1, description="Claim with the scopes, as a string of words or a list; dots lead into objects."),
    ] = "scope"
    log_level: Annotated[
        str,
        Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Minimum level of log lines: DEBUG, INFO, WARNING, ERROR."),
    ] = "INFO"

    @field_validator("tenant_rate", "key_rate")
    @classmethod
    def _validate_rate(cls, value: str) -> str:
        if value.strip():
            parse_rate(value)
        return value.strip()

    @field_validator("redis_url")
    @classmethod
    def _validate_redis_url(cls, value: str | None) -> str | None:
        return validate_redis_url(value) if value else None

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _parse_origins(cls, value: Any) -> Any:
        return parse_origins(value) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _validate_origins(cls, origins: list[str]) -> list[str]:
        return validate_origins(origins)

    @field_validator(
        "jwt_algorithm", "jwt_issuer", "jwt_audience", "jwt_keys", "jwt_jwks_url", "persisted_documents", mode="before"
    )
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @model_validator(mode="after")
    def _validate_files(self) -> "Settings":
        # report a faulty file at startup, not with the first request
        self.trusted_issuer()
        self.registered_documents()
        return self

    def registered_documents(self) -> RegisteredDocuments:
        """Read the registered documents from their file."""
        if self.persisted_documents is None:
            if self.persisted_only:
                raise ValueError("HEADWATER_PERSISTED_DOCUMENTS is required if HEADWATER_PERSISTED_ONLY is set")
            return RegisteredDocuments()
        try:
            return RegisteredDocuments(read_manifest(self.persisted_documents), self.persisted_only)
        except InvalidManifest as error:
            raise ValueError(f"HEADWATER_PERSISTED_DOCUMENTS: {error}") from None

    def trusted_issuer(self) -> TrustedIssuer | None:
        """Return the issuer of accepted tokens, or None. Reads the file of its keys."""
        algorithm, issuer, audience = self.jwt_algorithm, self.jwt_issuer, self.jwt_audience
        if algorithm is None:
            if issuer or audience or self.jwt_keys or self.jwt_jwks_url:
                raise ValueError("HEADWATER_JWT_ALGORITHM is required if another HEADWATER_JWT_* setting is set")
            return None
        if issuer is None or audience is None:
            raise ValueError("HEADWATER_JWT_ISSUER and HEADWATER_JWT_AUDIENCE are required if HEADWATER_JWT_ALGORITHM is set")
        if (self.jwt_keys is None) == (self.jwt_jwks_url is None):
            raise ValueError(
                "either HEADWATER_JWT_KEYS or HEADWATER_JWT_JWKS_URL is required if HEADWATER_JWT_ALGORITHM is set, not both"
            )
        keys: KeySet | JwksSource
        try:
            if self.jwt_keys is not None:
                keys = read_key_file(self.jwt_keys, algorithm)
            else:
                keys = check_jwks_source(self.jwt_jwks_url or "", algorithm, self.jwt_jwks_ttl)
        except InvalidKeys as error:
            raise ValueError(f"HEADWATER_JWT_{'KEYS' if self.jwt_keys else 'JWKS_URL'}: {error}") from None
        return TrustedIssuer(algorithm, issuer, audience, keys, self.jwt_leeway, self.jwt_tenant_claim, self.jwt_scopes_claim)

    def auth_config(self) -> AuthConfig:
        """Return the configuration of the authenticator. Reads the file of the issuer's keys."""
        return AuthConfig(self.key_secret, self.trusted_issuer(), self.anonymous_introspection, self.credential_seconds)

    @property
    def request_limits(self) -> RequestLimits:
        """Limits that the HTTP endpoints enforce."""
        return RequestLimits(self.max_body_bytes, self.body_timeout, self.min_load_rate, self.max_batch, self.request_timeout)

    @property
    def limits(self) -> Limits:
        """Limits of GraphQL operations."""
        return Limits(
            tokens=self.max_tokens,
            depth=self.max_depth,
            introspection_depth=self.max_introspection_depth,
            aliases=self.max_aliases,
            repeats=self.max_repeats,
            root_fields=self.max_root_fields,
            spreads=self.max_fragment_spreads,
            cost=self.max_cost,
            list_length=self.max_list_length,
            page_size=self.max_page_size,
            representations=self.max_representations,
            walk_page_size=self.max_lineage_page_size,
            max_walk_depth=self.max_lineage_depth,
            walk_bounds=Bounds(
                self.max_lineage_assets, self.max_lineage_links, round(self.lineage_timeout * 1000), self.max_links_read
            ),
        )

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables from which another process reads the same settings, secrets included."""
        variables = {name: str(value) for name, value in self if value is not None}
        variables["cors_origins"] = ",".join(self.cors_origins)
        variables["services"] = orjson.dumps({name: service.to_json() for name, service in self.services.items()}).decode()
        return {f"HEADWATER_{name.upper()}": value for name, value in variables.items()}


def read_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment, or raise BadInput. An override that is None is ignored."""
    return read_settings_of(Settings, **overrides)

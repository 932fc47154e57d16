"""Settings: one frozen class, read from HEADWATER_* environment variables. docs/settings.md lists them; a test compares."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from db import fields
from db.errors import BadInput
from db.lineage.walk import Bounds
from graph_api.auth.jwks import Algorithm, KeySet, NoKeys, Published, keys_in, published_at
from graph_api.auth.tokens import Trust
from graph_api.http.persisted_documents import NoManifest, documents_in
from graph_api.http.rate_limits import read_rate
from graph_api.records.configuration import Service
from schema.execution.document import Registered
from schema.language.limits import Limits

# As a browser writes it in Origin: anything else would never match.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_REDIS_URL = re.compile(r"rediss?://[^\s/?#]+(?:/\d*)?(?:\?\S*)?")


class Settings(BaseSettings):
    """How one process runs."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", frozen=True, hide_input_in_errors=True)

    database_url: Annotated[
        str | None,
        Field(repr=False, description="Address of the PostgreSQL to use (16 to 18). Without it the embedded server is used."),
    ] = None
    data: Annotated[Path, Field(description="Directory of the embedded server.")] = Path(".headwater")
    host: Annotated[str, Field(description="Address to listen on. The demo takes only a loopback address.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8000
    workers: Annotated[int, Field(ge=1, le=64, description="Processes that serve.")] = 1
    pool_size: Annotated[
        int,
        Field(ge=1, le=500, description="Operations that one process runs at once, each with a connection to PostgreSQL."),
    ] = 10
    pool_timeout: Annotated[
        float, Field(gt=0, description="Seconds an operation waits for its turn; then it is answered 503.")
    ] = 10
    max_waiting: Annotated[
        int, Field(ge=0, le=10_000, description="Operations that wait for their turn at once; more are answered 503 at once.")
    ] = 40
    max_loads: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Loads by HTTP that one process takes in at once, one of them for tenants that have none; more are"
            " answered 503 at once.",
        ),
    ] = 3
    request_timeout: Annotated[
        float, Field(gt=0, description="Seconds an operation may take, waiting included; then it is ended and answered 504.")
    ] = 30
    statement_timeout: Annotated[float, Field(gt=0, description="Seconds one statement may take.")] = 30
    lock_timeout: Annotated[float, Field(gt=0, description="Seconds one statement waits for what another writer has locked.")] = (
        10
    )
    shutdown_timeout: Annotated[int, Field(ge=0, description="Seconds that running requests get to finish at shutdown.")] = 30
    max_body_bytes: Annotated[int, Field(ge=1024, description="Largest request body; a larger one is answered 413.")] = 262_144
    body_timeout: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds that the head of a request may take to come, and then the body of an operation, and that a load"
            " may be silent; then 408 is answered.",
        ),
    ] = 10
    max_batch: Annotated[
        int, Field(ge=0, le=100, description="Most operations that one request may send as a JSON array; with 0 batching is off.")
    ] = 0
    tenant_rate: Annotated[
        str,
        Field(description="Cost that a tenant may come to in a time, as in 6000000/minute or 500/10 seconds; empty: no limit."),
    ] = "6000000/minute"
    key_rate: Annotated[
        str, Field(description="Cost that one credential may come to in a time, in the same notation; empty: no limit.")
    ] = "2000000/minute"
    redis_url: Annotated[
        str | None,
        Field(
            repr=False,
            description="Address of the Redis in which all processes count rates together (needs the extra redis). Without it"
            " each process counts by itself.",
        ),
    ] = None
    cors_origins: Annotated[
        list[str],
        NoDecode,
        Field(
            description="Origins whose pages may call the API, as a JSON list or separated by commas, or * for every one."
            " Without any, browsers let no other page read an answer."
        ),
    ] = []
    max_tokens: Annotated[int, Field(ge=100, description="Most tokens that a GraphQL document may have.")] = 2_000
    max_depth: Annotated[int, Field(ge=1, description="Most fields within each other, introspection not counted.")] = 16
    max_introspection_depth: Annotated[
        int, Field(ge=1, description="How often one introspection may go from a type to the types of its fields, and so on.")
    ] = 2
    max_aliases: Annotated[int, Field(ge=0, description="Most aliases that an operation may have.")] = 15
    max_repeats: Annotated[int, Field(ge=0, description="How often a field may be selected again beside itself.")] = 15
    max_root_fields: Annotated[int, Field(ge=1, description="Most fields at the root of an operation.")] = 10
    max_fragment_spreads: Annotated[int, Field(ge=0, description="Most fragment spreads that an operation may have.")] = 50
    max_cost: Annotated[int, Field(ge=1, description="Most that an operation may come to, as limits.md counts it.")] = 1_000_000
    max_page_size: Annotated[int, Field(ge=1, le=10_000, description="Most items that come on one page.")] = 100
    max_representations: Annotated[
        int, Field(ge=1, le=10_000, description="Most entities that a gateway may ask for at once, by their keys.")
    ] = 1_000
    max_lineage_page_size: Annotated[
        int, Field(ge=1, le=10_000, description="Most assets that come on one page of a lineage walk.")
    ] = 1_000
    max_lineage_depth: Annotated[int, Field(ge=1, le=10_000, description="Deepest that a lineage walk may be asked to go.")] = 100
    max_lineage_assets: Annotated[
        int, Field(ge=1, description="Most assets that one lineage walk reaches; more are cut off, and the answer says so.")
    ] = 5_000
    max_lineage_links: Annotated[
        int, Field(ge=1, description="Most links that one lineage walk goes along; more are cut off, and the answer says so.")
    ] = 20_000
    lineage_timeout: Annotated[
        float, Field(gt=0, description="Seconds a lineage walk may take before it is cut off, and the answer says so.")
    ] = 10
    persisted_documents: Annotated[
        Path | None,
        Field(
            description="File of documents that are always known: JSON, an object of id and text, or a persisted query manifest"
            " of Apollo. Read at the start."
        ),
    ] = None
    persisted_only: Annotated[bool, Field(description="Whether no other documents are run.")] = False
    key_secret: Annotated[
        str | None,
        Field(
            min_length=32,
            repr=False,
            description="Secret that keys are made and proven with: 32 or more characters made at random, the same in every"
            " process. Without it, and with the embedded server only, one is made and kept beside the data.",
        ),
    ] = None
    bootstrap_key: Annotated[
        str | None,
        Field(
            repr=False,
            description="A key with every scope that `serve` makes in the tenant `default` while that has none: `hw_1_bootstrap_`"
            " and 64 or more letters and digits made at random.",
        ),
    ] = None
    credential_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=60,
            description="Seconds for which what was looked up of a key or a tenant is believed. So long a key works after it was"
            " revoked, at most.",
        ),
    ] = 1
    anonymous_introspection: Annotated[
        bool, Field(description="Whether who presents no credentials may see the schema, and nothing else.")
    ] = True
    services: Annotated[
        dict[str, Service],
        NoDecode,
        Field(
            description="Services that records live in, as JSON: an object of name and address, or of name and an object of"
            " address and options, which relationships.md lists. No other is called."
        ),
    ] = {}
    jwt_algorithm: Annotated[
        Algorithm | None,
        Field(
            description="What JWTs are signed with, whatever they say themselves: RS256, RS384, RS512, PS256, PS384, PS512,"
            " ES256, ES384, ES512, EdDSA, HS256, HS384 or HS512. Without it none is accepted."
        ),
    ] = None
    jwt_issuer: Annotated[str | None, Field(description="Who issues them, as their claim `iss` has it.")] = None
    jwt_audience: Annotated[str | None, Field(description="Whom they are issued for, as their claim `aud` has it.")] = None
    jwt_keys: Annotated[
        Path | None,
        Field(
            description="File of the keys to check them with: a public key as PEM, or a JWKS; for HS256 and its like a secret as"
            " long as its hash (32, 48 or 64 bytes) or longer, or a JWKS."
        ),
    ] = None
    jwt_jwks_url: Annotated[
        str | None,
        Field(description="Address of a JWKS to fetch instead: https, or on this machine http. Redirects are not followed."),
    ] = None
    jwt_jwks_ttl: Annotated[
        float,
        Field(
            ge=10,
            le=86_400,
            description="Seconds after which the JWKS is fetched again. A token that names a key not in it has it fetched"
            " earlier, but never twice within 10 seconds.",
        ),
    ] = 300
    jwt_leeway: Annotated[
        float, Field(ge=0, le=300, description="Seconds that the issuer's clock may differ from the one here.")
    ] = 10
    jwt_tenant_claim: Annotated[
        str, Field(min_length=1, description="Claim that names the tenant; dots lead into objects, as in `realm.tenant`.")
    ] = "tenant"
    jwt_scopes_claim: Annotated[
        str,
        Field(min_length=1, description="Claim that has the scopes, as words in a text or as a list; dots lead into objects."),
    ] = "scope"
    log_level: Annotated[
        str,
        Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe log line to write: DEBUG, INFO, WARNING, ERROR."),
    ] = "INFO"

    @field_validator("services", mode="before")
    @classmethod
    def _services_read(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if not given.strip():
            return {}
        try:
            return json.loads(given, object_pairs_hook=_each_once)
        except json.JSONDecodeError:
            raise ValueError('it is no JSON; it reads like {"crm": "https://crm.shop.example"}') from None
        except RecursionError:
            raise ValueError("it is nested too deep") from None

    @field_validator("tenant_rate", "key_rate")
    @classmethod
    def _rate_read(cls, given: str) -> str:
        if given.strip():
            read_rate(given)
        return given.strip()

    @field_validator("redis_url")
    @classmethod
    def _redis_url_read(cls, given: str | None) -> str | None:
        if given and not _REDIS_URL.fullmatch(given):
            raise ValueError("it looks like redis://user:password@host:6379/0, or rediss:// for TLS")
        return given or None

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _cors_origins_read(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if not given.lstrip().startswith("["):
            return [origin.strip() for origin in given.split(",") if origin.strip()]
        try:
            return json.loads(given)
        except (json.JSONDecodeError, RecursionError):
            raise ValueError('it is no JSON; it reads like ["https://app.shop.example"]') from None

    @field_validator("cors_origins")
    @classmethod
    def _cors_origins_meant(cls, origins: list[str]) -> list[str]:
        if origins == ["*"]:
            return origins
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin[:100]!r} is no origin, which is http or https, a host in lower case, and perhaps a port;"
                    " * stands for all, and alone"
                )
        return origins

    @field_validator("services")
    @classmethod
    def _services_named(cls, services: dict[str, Service]) -> dict[str, Service]:
        for name in services:
            try:
                # as the source of a type names it
                fields.line("service", name)
            except BadInput as error:
                raise ValueError(error.message.rstrip(".")) from None
        return services

    @field_validator(
        "jwt_algorithm", "jwt_issuer", "jwt_audience", "jwt_keys", "jwt_jwks_url", "persisted_documents", mode="before"
    )
    @classmethod
    def _empty_is_none(cls, given: Any) -> Any:
        return None if given == "" else given

    @model_validator(mode="after")
    def _files_fit(self) -> "Settings":
        # ahead of the first request
        self.trust()
        self.registered()
        return self

    def registered(self) -> Registered:
        """Which documents are always known, and whether no others are run. Reads the file of them."""
        if self.persisted_documents is None:
            if self.persisted_only:
                raise ValueError("HEADWATER_PERSISTED_DOCUMENTS is needed where HEADWATER_PERSISTED_ONLY is set")
            return Registered()
        try:
            return Registered(documents_in(self.persisted_documents), self.persisted_only)
        except NoManifest as error:
            raise ValueError(f"HEADWATER_PERSISTED_DOCUMENTS: {error}") from None

    def trust(self) -> Trust | None:
        """Which tokens are believed, if any are. Reads the file of their keys."""
        algorithm, issuer, audience = self.jwt_algorithm, self.jwt_issuer, self.jwt_audience
        if algorithm is None:
            if issuer or audience or self.jwt_keys or self.jwt_jwks_url:
                raise ValueError("HEADWATER_JWT_ALGORITHM is missing; what else is set of JWTs has no use without it")
            return None
        if issuer is None or audience is None:
            raise ValueError(
                "HEADWATER_JWT_ISSUER and HEADWATER_JWT_AUDIENCE are both needed where HEADWATER_JWT_ALGORITHM is set"
            )
        if (self.jwt_keys is None) == (self.jwt_jwks_url is None):
            raise ValueError(
                "of HEADWATER_JWT_KEYS and HEADWATER_JWT_JWKS_URL one is needed where HEADWATER_JWT_ALGORITHM is set"
            )
        keys: KeySet | Published
        try:
            if self.jwt_keys is not None:
                keys = keys_in(self.jwt_keys, algorithm)
            else:
                keys = published_at(self.jwt_jwks_url or "", algorithm, self.jwt_jwks_ttl)
        except NoKeys as error:
            raise ValueError(f"HEADWATER_JWT_{'KEYS' if self.jwt_keys else 'JWKS_URL'}: {error}") from None
        return Trust(algorithm, issuer, audience, keys, self.jwt_leeway, self.jwt_tenant_claim, self.jwt_scopes_claim)

    @property
    def limits(self) -> Limits:
        """How much may be asked for."""
        return Limits(
            tokens=self.max_tokens,
            depth=self.max_depth,
            introspection_depth=self.max_introspection_depth,
            aliases=self.max_aliases,
            repeats=self.max_repeats,
            root_fields=self.max_root_fields,
            spreads=self.max_fragment_spreads,
            cost=self.max_cost,
            page_size=self.max_page_size,
            representations=self.max_representations,
            walk_page_size=self.max_lineage_page_size,
            walk_depth=self.max_lineage_depth,
            walk=Bounds(self.max_lineage_assets, self.max_lineage_links, round(self.lineage_timeout * 1000)),
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment that reads as these settings, secrets included."""
        said = {name: str(value) for name, value in self if value is not None}
        said["cors_origins"] = ",".join(self.cors_origins)
        said["services"] = orjson.dumps({name: service.written() for name, service in self.services.items()}).decode()
        return {f"HEADWATER_{name.upper()}": value for name, value in said.items()}


def read_settings(**overrides: Any) -> Settings:
    """The settings of this environment; an override of None leaves the environment's word."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise BadInput(f"The settings do not fit. {'; '.join(_fault(it) for it in error.errors())}.") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, of which no name may stand for two things."""
    read: dict[str, Any] = {}
    for name, value in pairs:
        if name in read:
            raise ValueError(f"{name[:50]!r} is named twice")
        read[name] = value
    return read


def _fault(error: Any) -> str:
    """What is wrong with a setting: which, where in it, and why."""
    message: str = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        # several settings do not go together, and it names them
        return message
    setting, *place = map(str, error["loc"])
    where = f"HEADWATER_{setting.upper()}" + "".join(f", {step}" for step in place)
    return f"{where}: {message}"

"""Settings: one frozen class, read from HEADWATER_* environment variables. docs/settings.md lists them; a test compares."""

import json
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from db import fields
from db.errors import BadInput
from db.lineage import Bounds
from graph_api.records.configuration import Service
from schema.limits import Limits


class Settings(BaseSettings):
    """How one process runs."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", frozen=True, hide_input_in_errors=True)

    database_url: Annotated[
        str | None, Field(description="Address of the PostgreSQL to use (16 to 18). Without it the embedded server is used.")
    ] = None
    data: Annotated[Path, Field(description="Directory of the embedded server.")] = Path(".headwater")
    host: Annotated[str, Field(description="Address to listen on. Until there are keys, only a loopback address.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8000
    workers: Annotated[int, Field(ge=1, le=64, description="Processes that serve.")] = 1
    pool_size: Annotated[int, Field(ge=1, le=500, description="Connections to PostgreSQL that one process holds.")] = 10
    pool_timeout: Annotated[float, Field(gt=0, description="Seconds a request waits for a connection.")] = 10
    statement_timeout: Annotated[float, Field(gt=0, description="Seconds one statement may take.")] = 30
    shutdown_timeout: Annotated[int, Field(ge=0, description="Seconds that running requests get to finish at shutdown.")] = 30
    max_body_bytes: Annotated[int, Field(ge=1024, description="Largest request body; a larger one is answered 413.")] = 262_144
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
    services: Annotated[
        dict[str, Service],
        NoDecode,
        Field(
            description="Services that records live in, as JSON: an object of name and address, or of name and an object of"
            " address and options, which relationships.md lists. No other is called."
        ),
    ] = {}
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
            walk_page_size=self.max_lineage_page_size,
            walk_depth=self.max_lineage_depth,
            walk=Bounds(self.max_lineage_assets, self.max_lineage_links, round(self.lineage_timeout * 1000)),
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment that reads as these settings, secrets included."""
        said = {name: str(value) for name, value in self if value is not None}
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
    setting, *place = map(str, error["loc"])
    where = f"HEADWATER_{setting.upper()}" + "".join(f", {step}" for step in place)
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"

"""Settings: one frozen class, read from HEADWATER_* environment variables. docs/settings.md lists them; a test compares."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.errors import BadInput


class Settings(BaseSettings):
    """How one process runs."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", frozen=True)

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
    max_page_size: Annotated[int, Field(ge=1, le=10_000, description="Most items that come on one page.")] = 100
    log_level: Annotated[
        str,
        Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe log line to write: DEBUG, INFO, WARNING, ERROR."),
    ] = "INFO"


def read_settings(**overrides: Any) -> Settings:
    """The settings of this environment; an override of None leaves the environment's word."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(f"HEADWATER_{str(it['loc'][0]).upper()}: {it['msg']}" for it in error.errors())
        raise BadInput(f"The settings do not fit. {faults}.") from error

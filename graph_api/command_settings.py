"""Settings of the commands, and the reading of settings from the environment."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from db import fields
from db.errors import BadInput
from graph_api.records.configuration import Service, parse_services


class CommandSettings(BaseSettings):
    """Settings of a command that does not serve. Those of the service import far more, to check their values."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", frozen=True, hide_input_in_errors=True)

    database_url: Annotated[
        str | None,
        Field(repr=False, description="URL of the PostgreSQL database (16 to 18). Without it, the embedded server is used."),
    ] = None
    data: Annotated[Path, Field(description="Data directory of the embedded server.")] = Path(".headwater")
    key_secret: Annotated[
        str | None,
        Field(
            min_length=32,
            repr=False,
            description="Secret that API keys are created and verified with, and that cursors are sealed with: 32 or more"
            " random characters, the same in every process. Without it, the embedded server generates one and stores it in its"
            " data directory.",
        ),
    ] = None
    services: Annotated[
        dict[str, Service],
        NoDecode,
        Field(
            description="Services that hold external records, as a JSON object of names and addresses, or of names and objects"
            " with an address and the options in relationships.md. No other service is called."
        ),
    ] = {}

    @field_validator("services", mode="before")
    @classmethod
    def _parse_services(cls, value: Any) -> Any:
        return parse_services(value) if isinstance(value, str) else value

    @field_validator("services")
    @classmethod
    def _validate_service_names(cls, services: dict[str, Service]) -> dict[str, Service]:
        for name in services:
            try:
                # the same rule as for the source of an entity type, which names a service
                fields.line("service", name)
            except BadInput as error:
                raise ValueError(error.message.rstrip(".")) from None
        return services


S = TypeVar("S", bound=CommandSettings)


def read_settings_of(settings: type[S], **overrides: Any) -> S:
    """Read the settings of a class from the environment, or raise BadInput. An override that is None is ignored."""
    try:
        return settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise BadInput(f"Invalid settings. {'; '.join(_describe(it) for it in error.errors())}.") from error


def _describe(error: Any) -> str:
    """Describe a validation error: the setting, the path within it, and the reason."""
    message: str = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        # errors that concern several settings name them
        return message
    setting, *path = map(str, error["loc"])
    location = f"HEADWATER_{setting.upper()}" + "".join(f", {step}" for step in path)
    return f"{location}: {message}"

"""Configuration of services that hold records (HEADWATER_SERVICES). docs/relationships.md lists the options; a test compares."""

import json
import re
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from db import fields
from db.errors import BadInput
from db.registries.endpoint import is_path
from graph_api.records.addresses import is_address

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
# Headers that the client sets itself.
_RESERVED_HEADERS = {
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
}


def _validate_tenant(name: str) -> str:
    try:
        return fields.line("tenant", name)
    except BadInput as error:
        raise ValueError(error.message.rstrip(".")) from None


def _validate_prefix(path: str) -> str:
    if not is_path(path):
        raise ValueError(f"the path {path[:100]!r} must begin with one slash, without a query or the segments . and .. in it")
    return path


TenantName = Annotated[str, AfterValidator(_validate_tenant)]
PathPrefix = Annotated[str, AfterValidator(_validate_prefix)]


class Service(BaseModel):
    """Address of a service, and the options for requests to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    address: Annotated[str, Field(description="URL of the service: http or https, a host, optionally a port and a path.")]
    tenants: Annotated[
        dict[TenantName, Annotated[list[PathPrefix], Field(min_length=1)]] | None,
        Field(
            description="The tenants that the service is for, each with a list of paths below the address; / is the whole"
            " service. Without it, the service is for the tenant of a database that has only one, and for none of several."
        ),
    ] = None
    authorization: Annotated[bool, Field(description="Forward the caller's Authorization header.")] = False
    private: Annotated[bool, Field(description="Allow the host name to resolve to an address that is not public.")] = False
    timeout: Annotated[float, Field(gt=0, le=10, description="Seconds for one answer, including a retry and parsing.")] = 2
    max_bytes: Annotated[int, Field(ge=1, le=4_194_304, description="Maximum bytes of an answer.")] = 1_048_576
    concurrency: Annotated[int, Field(ge=1, le=50, description="Maximum concurrent requests of one process.")] = 8
    batch: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Maximum keys in one request. Above 1, the lookup field is repeated and the service answers with a list.",
        ),
    ] = 1
    headers: Annotated[
        dict[str, SecretStr], Field(description="Headers of every request, such as an API key. Their values are never logged.")
    ] = {}

    @model_validator(mode="before")
    @classmethod
    def _accept_address(cls, value: Any) -> Any:
        return {"address": value} if isinstance(value, str) else value

    @field_validator("address")
    @classmethod
    def _validate_address(cls, address: str) -> str:
        if not _is_valid_address(address):
            raise ValueError(
                "must be http or https, a host, and optionally a port and a path, such as https://crm.shop.example/api;"
                " a user, password, query or fragment is not allowed"
            )
        return address

    @model_validator(mode="after")
    def _validate_headers(self) -> "Service":
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the header {name[:50]!r} has a name or a value that HTTP does not allow")
            if name.lower() in _RESERVED_HEADERS:
                raise ValueError(f"the header {name} is set by Headwater and cannot be configured")
            if name.lower() == "authorization" and self.authorization:
                raise ValueError("configure either a header Authorization or the option authorization, not both")
        return self

    @property
    def parts(self) -> SplitResult:
        """The parts of the address."""
        return urlsplit(self.address)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON, secrets included."""
        return {**self.model_dump(), "headers": {name: value.get_secret_value() for name, value in self.headers.items()}}


def parse_services(text: str) -> Any:
    """Parse the JSON of HEADWATER_SERVICES, which may be empty. Raise ValueError if a name appears twice in an object."""
    if not text.strip():
        return {}
    try:
        return json.loads(text, object_pairs_hook=_unique_names)
    except json.JSONDecodeError:
        raise ValueError('must be JSON such as {"crm": "https://crm.shop.example"}') from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"{name[:50]!r} appears twice in one object")
        members[name] = value
    return members


def _is_valid_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and port != 0
        and not set("@\\?#% ") & set(parts.netloc)
        and not {"?", "#"} & set(address)
        and (is_address(host) or _HOST.fullmatch(host) is not None)
        and (not parts.path or is_path(parts.path))
        # urlsplit drops characters that browsers would drop, too
        and parts.geturl().lower() == address.lower()
    )

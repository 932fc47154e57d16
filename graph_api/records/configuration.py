"""A service that records live in, as HEADWATER_SERVICES has it. docs/relationships.md lists the options; a test compares."""

import re
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from db.registries.endpoint import is_path
from graph_api.records.addresses import is_address

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
# What a request is framed, found, or read by is not for a configuration to say.
_OURS = {
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


class Service(BaseModel):
    """Where a service is, and how it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    address: Annotated[str, Field(description="Where it is: http or https, a host, perhaps a port and a path.")]
    authorization: Annotated[bool, Field(description="Whether the caller's Authorization header is passed on to it.")] = False
    private: Annotated[bool, Field(description="Whether its host name may lead to an address that is not public.")] = False
    timeout: Annotated[
        float, Field(gt=0, le=10, description="Seconds that it has for one answer, a second try and the reading included.")
    ] = 2
    max_bytes: Annotated[int, Field(ge=1, le=4_194_304, description="Largest answer that is read.")] = 1_048_576
    concurrency: Annotated[int, Field(ge=1, le=50, description="Requests that one process has under way to it at once.")] = 8
    batch: Annotated[
        int, Field(ge=1, le=100, description="Most keys in one request: the lookup field is repeated, a list is the answer.")
    ] = 1
    headers: Annotated[
        dict[str, SecretStr], Field(description="Headers that every request to it carries, such as an API key; never logged.")
    ] = {}

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, given: Any) -> Any:
        return {"address": given} if isinstance(given, str) else given

    @field_validator("address")
    @classmethod
    def _plain_address(cls, address: str) -> str:
        if not _is_plain(address):
            raise ValueError(
                "this is http or https, a host, and perhaps a port and a path, such as https://crm.shop.example/api."
                " It has no user or password, no query, no fragment"
            )
        return address

    @model_validator(mode="after")
    def _plain_headers(self) -> "Service":
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the header {name[:50]!r} has a name or a value that HTTP does not allow")
            if name.lower() in _OURS:
                raise ValueError(f"the header {name} is not for a configuration to say")
            if name.lower() == "authorization" and self.authorization:
                raise ValueError("it has a header Authorization of its own and is to be given the caller's; choose one")
        return self

    @property
    def parts(self) -> SplitResult:
        """Its address, taken apart."""
        return urlsplit(self.address)

    def written(self) -> dict[str, Any]:
        """As the configuration writes it, secrets included."""
        return {**self.model_dump(), "headers": {name: value.get_secret_value() for name, value in self.headers.items()}}


def _is_plain(address: str) -> bool:
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
        # urlsplit leaves out what browsers would
        and parts.geturl().lower() == address.lower()
    )

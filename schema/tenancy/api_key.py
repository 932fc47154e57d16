"""API keys: an administrator makes them, sees them and ends them, within a tenant."""

from datetime import datetime
from typing import Annotated

import strawberry

from db.errors import Forbidden
from db.tenancy import api_key
from db.tenancy.api_key import KeyRow
from schema.execution.context import Info
from schema.language.cost import WRITE_WEIGHT, cost, list_size
from schema.language.inputs import INPUT, input_field, optional_input_field, provided_fields
from schema.language.scopes import ADMIN, field, resolver


@strawberry.type(description="A key that a person or a program comes in with. The whole of it is shown once, when it is made.")
class ApiKey:
    prefix: str = field(ADMIN, "What it begins with; it is public, and names the key.")
    label: str = field(ADMIN, "What it is for, or whose it is.")
    scopes: list[str] = field(
        ADMIN, "What it may do: `read`, `write`, `admin`, or `write:` with a domain, such as `write:sales`."
    )
    operator: bool = field(ADMIN, "Whether it may act in other tenants.")
    created_at: datetime = field(ADMIN, "When it was made.")
    created_by: str = field(ADMIN, "Who made it.")
    expires_at: datetime | None = field(ADMIN, "When it ends by itself; null: it does not.")
    revoked_at: datetime | None = field(ADMIN, "When it was revoked; null: it was not.")
    last_used_at: datetime | None = field(ADMIN, "When it was used last, to a minute; null: never.")

    @classmethod
    def of(cls, row: KeyRow) -> "ApiKey":
        return cls(
            prefix=row.prefix,
            label=row.label,
            scopes=list(row.scopes),
            operator=row.operator,
            created_at=row.created_at,
            created_by=row.created_by,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            last_used_at=row.last_used_at,
        )


@strawberry.input(description="A key to be made.")
class CreateKeyInput:
    label: str = input_field("What it is for, or whose it is.")
    scopes: list[str] = input_field(
        "What it may do: read, write, admin, or write: with a domain. None of them implies another, and nobody gives what they do"
        " not have."
    )
    expires_at: datetime | None = optional_input_field("When it ends by itself; left out or null: when it is revoked.")


@strawberry.input(description="A key to be ended.")
class RevokeKeyInput:
    prefix: str = input_field("What it begins with.")


@strawberry.type(description="A key that was made.")
class CreateKeyPayload:
    key: ApiKey = field(ADMIN, "What is known of it from now on.")
    secret: str = field(ADMIN, "The whole key. Nobody can tell it again.")


@strawberry.type(description="What became of a key.")
class RevokeKeyPayload:
    key: ApiKey = field(ADMIN, "The key as it is now.")
    changed: bool = field(ADMIN, "Whether this revoked it; false: it was revoked before.")


@strawberry.type
class ApiKeyQueries:
    @list_size(100)
    @resolver(ADMIN, "The keys of this tenant, oldest first; those that have ended, too.")
    async def keys(self, info: Info) -> list[ApiKey]:
        connection = await info.context.transaction.reader()
        return [ApiKey.of(row) for row in await api_key.all_keys(connection)]


@strawberry.type
class ApiKeyMutations:
    @cost(WRITE_WEIGHT)
    @resolver(ADMIN, "Makes a key in this tenant. FORBIDDEN where it would get a scope that whoever makes it does not have.")
    async def create_key(self, info: Info, input: Annotated[CreateKeyInput, INPUT]) -> CreateKeyPayload:
        _require_held(info, input.scopes)
        connection = await info.context.transaction.writer()
        expires_at = provided_fields(input).get("expires_at")
        row, secret = await api_key.create(connection, info.context.key_signer, input.label, input.scopes, expires_at)
        return CreateKeyPayload(key=ApiKey.of(row), secret=secret)

    @cost(WRITE_WEIGHT)
    @resolver(ADMIN, "Ends a key of this tenant, for good.")
    async def revoke_key(self, info: Info, input: Annotated[RevokeKeyInput, INPUT]) -> RevokeKeyPayload:
        connection = await info.context.transaction.writer()
        row, changed = await api_key.revoke(connection, input.prefix)
        return RevokeKeyPayload(key=ApiKey.of(row), changed=changed)


def _require_held(info: Info, scopes: list[str]) -> None:
    principal = info.context.principal
    for it in scopes:
        if not principal.holds(it):
            raise Forbidden(
                f"The scope {it[:100]!r} is not yours to give; you have {', '.join(principal.scope_names)}.", field="scopes"
            )

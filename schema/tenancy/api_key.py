"""API keys of a tenant: administrators create, list and revoke them."""

from datetime import datetime
from typing import Annotated

import strawberry

from db.errors import Forbidden
from db.tenancy import api_key
from db.tenancy.api_key import KeyRow
from schema.execution.connections import entry_connection
from schema.execution.context import Info
from schema.language.cost import WRITE_COST, cost
from schema.language.fields import field, resolver
from schema.language.inputs import INPUT, input_field, optional_input_field, provided_fields
from schema.language.pagination import After, Before, Connection, First, Last, PageArguments, paged
from schema.language.scopes import ADMIN


@strawberry.type(description="An API key of a person or a program. The complete key is returned once, when it is created.")
class ApiKey:
    prefix: str = field(ADMIN, "Public prefix that identifies the key.")
    label: str = field(ADMIN, "Purpose or owner of the key.")
    scopes: list[str] = field(
        ADMIN, "Scopes of the key: `read`, `write`, `admin`, or `write:` with a domain, such as `write:sales`."
    )
    operator: bool = field(ADMIN, "True if the key may act in other tenants.")
    created_at: datetime = field(ADMIN, "Instant of creation.")
    created_by: str = field(ADMIN, "Actor who created the key.")
    expires_at: datetime | None = field(ADMIN, "Instant at which the key expires. Null if it does not.")
    revoked_at: datetime | None = field(ADMIN, "Instant at which the key was revoked. Null if it was not.")
    last_used_at: datetime | None = field(ADMIN, "Instant of its last use, to the minute. Null if it was never used.")

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


@strawberry.input(description="An API key to create.")
class CreateKeyInput:
    label: str = input_field("Purpose or owner of the key.")
    scopes: list[str] = input_field(
        "Scopes of the key: read, write, admin, or write: with a domain. No scope implies another. You can only grant scopes that"
        " you have."
    )
    expires_at: datetime | None = optional_input_field("Instant at which the key expires. Defaults to never.")


@strawberry.input(description="An API key to revoke.")
class RevokeKeyInput:
    prefix: str = input_field("Prefix of the key.")


@strawberry.type(description="Result of the creation of an API key.")
class CreateKeyPayload:
    key: ApiKey = field(ADMIN, "The new key.")
    secret: str = field(ADMIN, "The complete key. It cannot be retrieved again.")


@strawberry.type(description="Result of the revocation of an API key.")
class RevokeKeyPayload:
    key: ApiKey = field(ADMIN, "The key as it is now.")
    changed: bool = field(ADMIN, "True if this revoked the key. False if it was revoked before.")


@strawberry.type
class ApiKeyQueries:
    @paged
    @resolver(ADMIN, "All API keys of this tenant, oldest first, including expired and revoked ones.")
    async def keys(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[ApiKey]:
        return await entry_connection(
            info, "keys", api_key.KEYS, PageArguments(first, after, last, before), key=(datetime, str), node=ApiKey.of
        )


@strawberry.type
class ApiKeyMutations:
    @cost(WRITE_COST)
    @resolver(ADMIN, "Create an API key in this tenant. FORBIDDEN if it would have a scope that you do not have.")
    async def create_key(self, info: Info, input: Annotated[CreateKeyInput, INPUT]) -> CreateKeyPayload:
        _require_held(info, input.scopes)
        connection = await info.context.transaction.writer()
        expires_at = provided_fields(input).get("expires_at")
        row, secret = await api_key.create(connection, info.context.key_signer, input.label, input.scopes, expires_at)
        return CreateKeyPayload(key=ApiKey.of(row), secret=secret)

    @cost(WRITE_COST)
    @resolver(ADMIN, "Revoke an API key of this tenant. This cannot be undone.")
    async def revoke_key(self, info: Info, input: Annotated[RevokeKeyInput, INPUT]) -> RevokeKeyPayload:
        connection = await info.context.transaction.writer()
        row, changed = await api_key.revoke(connection, input.prefix)
        return RevokeKeyPayload(key=ApiKey.of(row), changed=changed)


def _require_held(info: Info, scopes: list[str]) -> None:
    principal = info.context.principal
    for scope in scopes:
        if not principal.holds(scope):
            raise Forbidden(
                f"You cannot grant the scope {scope[:100]!r}. You have {', '.join(principal.scope_names)}.", field="scopes"
            )

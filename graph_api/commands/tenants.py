"""`headwater tenants`: who shares the service, and what they may."""

import asyncio
from typing import Annotated

import typer

from db.errors import BadInput
from db.tenancy import tenant
from db.tenancy.tenant import LIMITED, Quota, Tenant, all_tenants
from graph_api.commands import Data, address_of, author_of, no_tenant, on_database, out, require_migrated, show
from graph_api.settings import read_settings

tenants = typer.Typer(no_args_is_help=True, help="Who shares the service, and what they may.")

Name = Annotated[str, typer.Argument(help="The tenant's name.")]

NONE = "none"

Allowed = Annotated[str | None, typer.Option(help="How many it may have; `none`: any number.", metavar="NUMBER")]


@tenants.command("create")
def create(name: Name, data: Data = None) -> None:
    """Make a tenant. Its people need keys: headwater keys create --tenant NAME."""
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        asyncio.run(tenant.create(address_of(running), name, author_of("tenants create")))
    out.print(f"The tenant {name} is there.", highlight=False, markup=False, soft_wrap=True)


@tenants.command("list")
def list_(data: Data = None) -> None:
    """Name every tenant, how it stands, and what it has."""
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        _show(asyncio.run(all_tenants(address_of(running))))


@tenants.command("suspend")
def suspend(name: Name, reason: Annotated[str, typer.Option(help="Why, as its people are told.")], data: Data = None) -> None:
    """Let nobody of a tenant in any more; nothing of it is lost."""
    if not reason.strip():
        raise BadInput("A suspension has a reason, which its people are told.", field="reason")
    _change(name, data, "tenants suspend", settings={"suspended_because": reason.strip()})
    out.print(f"The tenant {name} is suspended: {reason.strip()}", highlight=False, markup=False, soft_wrap=True)


@tenants.command("resume")
def resume(name: Name, data: Data = None) -> None:
    """Let the people of a suspended tenant in again."""
    _change(name, data, "tenants resume", settings={"suspended_because": None})
    out.print(f"The tenant {name} is let in.", highlight=False, markup=False, soft_wrap=True)


@tenants.command("settings")
def settings(
    name: Name,
    retention_days: Annotated[
        str | None,
        typer.Option(help="Days that what was deleted is kept before a purge takes it; `none`: for good.", metavar="DAYS"),
    ] = None,
    products: Allowed = None,
    entities: Allowed = None,
    links: Allowed = None,
    data: Data = None,
) -> None:
    """Say how long a tenant keeps what was deleted, and how much it may have. Without options, tell what is set."""
    given = {"products": products, "entities": entities, "links": links}
    allowed = {kind: _number(kind, value) for kind, value in given.items() if value is not None}
    kept = {} if retention_days is None else {"retention_days": _number("retention-days", retention_days)}
    if allowed or kept:
        _change(name, data, "tenants settings", settings=kept, allowed=allowed)
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        found = [it for it in asyncio.run(all_tenants(address_of(running))) if it.name == name]
    if not found:
        raise no_tenant(name)
    _show(found)


def _change(name: str, data: Data, operation: str, **changes: object) -> None:
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        asyncio.run(tenant.change(address_of(running), name, author_of(operation), **changes))  # type: ignore[arg-type]


def _number(option: str, given: str) -> int | None:
    if given == NONE:
        return None
    if not given.isascii() or not given.isdigit() or int(given) >= 2**31:
        raise BadInput(f"--{option} is a whole number, or {NONE}.", field=option)
    return int(given)


def _show(found: list[Tenant]) -> None:
    rows = []
    for it in found:
        standing = f"suspended: {it.suspended_because}" if it.suspended_because is not None else "active"
        retention = "for good" if it.retention_days is None else f"{it.retention_days} days"
        rows.append([it.name, standing, retention, *(_counted(it.quotas[kind]) for kind in LIMITED)])
    show(["tenant", "standing", "retention", *LIMITED], rows)


def _counted(quota: Quota) -> str:
    return str(quota.used) if quota.allowed is None else f"{quota.used} of {quota.allowed}"

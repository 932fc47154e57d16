"""`headwater tenants`: the tenants of a service, their status, retention and quotas."""

import asyncio
from pathlib import Path

import click

from db.errors import BadInput
from db.tenancy import tenant
from db.tenancy.tenant import LIMITED, Quota, Tenant, all_tenants
from graph_api.command_settings import CommandSettings
from graph_api.commands.author import author_of
from graph_api.commands.database import address_of, migrated_database_of, unknown_tenant
from graph_api.commands.output import print_table

# Value of an option that removes a limit.
NONE = "none"
# Largest value of an integer column.
LARGEST = 2**31 - 1


def create(name: str, data: Path | None) -> None:
    with migrated_database_of(data) as settings:
        asyncio.run(tenant.create(address_of(settings), name, author_of("tenants create")))
    click.echo(f"Created the tenant {name}.")


def show(data: Path | None) -> None:
    with migrated_database_of(data) as settings:
        _print(asyncio.run(all_tenants(address_of(settings))))


def suspend(name: str, reason: str, data: Path | None) -> None:
    if not reason.strip():
        raise BadInput("--reason is empty. Give the reason that is shown to callers.", field="reason")
    with migrated_database_of(data) as settings:
        _change(settings, name, "tenants suspend", settings={"suspended_because": reason.strip()})
    click.echo(f"Suspended the tenant {name}: {reason.strip()}")


def resume(name: str, data: Path | None) -> None:
    with migrated_database_of(data) as settings:
        _change(settings, name, "tenants resume", settings={"suspended_because": None})
    click.echo(f"Resumed the tenant {name}.")


def change_settings(
    name: str, retention_days: str | None, products: str | None, entities: str | None, links: str | None, data: Path | None
) -> None:
    options = {"products": products, "entities": entities, "links": links}
    allowed = {kind: _number(kind, value) for kind, value in options.items() if value is not None}
    retention = {} if retention_days is None else {"retention_days": _number("retention-days", retention_days)}
    with migrated_database_of(data) as settings:
        if allowed or retention:
            _change(settings, name, "tenants settings", settings=retention, allowed=allowed)
        tenants = [it for it in asyncio.run(all_tenants(address_of(settings))) if it.name == name]
    if not tenants:
        raise unknown_tenant(name)
    _print(tenants)


def _change(running: CommandSettings, name: str, operation: str, **changes: object) -> None:
    asyncio.run(tenant.change(address_of(running), name, author_of(operation), **changes))  # type: ignore[arg-type]


def _number(option: str, value: str) -> int | None:
    if value == NONE:
        return None
    if not value.isascii() or not value.isdigit() or int(value) > LARGEST:
        raise BadInput(f"--{option} {value}: give a whole number up to {LARGEST}, or {NONE}.", field=option)
    return int(value)


def _print(tenants: list[Tenant]) -> None:
    rows = []
    for it in tenants:
        status = f"suspended: {it.suspended_because}" if it.suspended_because is not None else "active"
        retention = "kept forever" if it.retention_days is None else f"{it.retention_days} days"
        rows.append([it.name, status, retention, *(_usage(it.quotas[kind]) for kind in LIMITED)])
    print_table(["tenant", "status", "retention", *LIMITED], rows)


def _usage(quota: Quota) -> str:
    return str(quota.used) if quota.allowed is None else f"{quota.used} of {quota.allowed}"

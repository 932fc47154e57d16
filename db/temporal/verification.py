"""Verification: compares every derived row of a tenant with the change log."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.connection import ReadConnection, WriteConnection
from db.sql import statement
from db.temporal.kind import Kind, projection_path
from db.temporal.kinds import KINDS

_COUNT_CHANGES = statement("temporal/count_changes")

# Verifications of every kind, and of those kinds whose subjects are assets.
_OF_EVERY_KIND = ("temporal/versions", "temporal/orphans", "temporal/overlaps")
_OF_ASSET_KINDS = ("consistency/lifetimes",)


@dataclass(frozen=True, slots=True)
class Report:
    """Numbers of changes and versions verified in a tenant, and a line for each difference."""

    changes: int
    versions: int
    differences: list[str]


async def verify_tenant(connection: ReadConnection) -> Report:
    """Fold the change log of every kind again and compare; look for rows without a subject, and for wrong counts."""
    log = await connection.fetch_one(_COUNT_CHANGES)
    differences: list[str] = []
    versions = 0
    for kind in KINDS:
        for name in _verifications(kind):
            rows = await connection.fetch(kind.statement(projection_path(name, "verify")), {"kind": kind.name})
            differences += [f"{kind.name} {row.subject_id} from {row.valid_from}: {row.difference}" for row in rows]
        # A transaction counts what it has added when it commits.
        pending = connection.added[kind] if isinstance(connection, WriteConnection) else 0
        for row in await connection.fetch(kind.statement("temporal/verify_quota"), {"kind": kind.name, "pending": pending}):
            differences.append(f"{kind.name}: the quota counts {row.used or 0}, but {row.identities} exist")
        count = await connection.fetch_one(kind.statement("temporal/count_versions"))
        versions += count.versions if count else 0
    return Report(log.changes if log else 0, versions, differences)


def _verifications(kind: Kind) -> Sequence[str]:
    """List the verifications of a kind. Their SQL may be in packages above this one; it is run by path."""
    of_asset_kinds = _OF_ASSET_KINDS if kind.is_asset_kind else ()
    return (*_OF_EVERY_KIND, *kind.projections, *of_asset_kinds, *kind.verifications)

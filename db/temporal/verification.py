"""The fsck: what stands is what the log says, and nothing stands alone."""

from dataclasses import dataclass

from db.connection import ReadConnection, WriteConnection
from db.sql import statement
from db.temporal.kind import in_package
from db.temporal.kinds import KINDS

_COUNT = statement("temporal/count_changes")


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at in one tenant, and each thing that is not as it should be."""

    changes: int
    versions: int
    differences: list[str]


async def verify_tenant(connection: ReadConnection) -> Report:
    """Refold the log of every kind and compare; look for rows that belong to nothing."""
    counted = await connection.fetch_one(_COUNT)
    differences: list[str] = []
    versions = 0
    for kind in KINDS:
        lifetimes = ["consistency/lifetimes"] if kind.is_asset_kind else []
        verified = [
            "temporal/versions",
            "temporal/orphans",
            "temporal/overlaps",
            *kind.projections,
            *lifetimes,
            *kind.verifications,
        ]
        for name in verified:
            rows = await connection.fetch(kind.statement(in_package(name, "verify")), {"kind": kind.name})
            differences += [f"{kind.name} {row.subject_id} from {row.valid_from}: {row.difference}" for row in rows]
        # what this very transaction has added is counted when it ends
        pending = connection.added[kind] if isinstance(connection, WriteConnection) else 0
        for row in await connection.fetch(kind.statement("temporal/verify_quota"), {"kind": kind.name, "pending": pending}):
            differences.append(f"{kind.name}: {row.used or 0} are counted, and there are {row.identities}")
        (total,) = await connection.fetch(kind.statement("temporal/count_versions"))
        versions += total.versions
    return Report(counted.changes if counted else 0, versions, differences)

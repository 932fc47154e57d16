"""Run look-ups in both tenants as the service does, and compare the work of their statements with the most that each may take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from db.database import Database
from tests.bench.plans.fill import KNOWN, NEW
from tests.db.plans import counted_work, explained_plans, generic_plans
from tests.security.lookups import Lookup, executed

# Tables of a tenant that are small at any number of its assets, and may be read whole.
_SMALL = {"detail_type", "domain", "entity_type", "relationship_key", "relationship_type", "tenant"}


class TooMuchWork(Exception):
    """Some look-ups read more than they may."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The work of a look-up by tenant, in blocks or entries, the tables that it reads whole, and its worst statement."""

    name: str
    bound: int
    work: dict[int, int]
    scanned: set[str]
    worst: str

    @property
    def is_good(self) -> bool:
        return not self.scanned and max(self.work.values()) <= self.bound


async def check(database: Database, name: str, lookup: Lookup) -> Checked:
    """Run a look-up in each tenant, and explain its statements for its arguments and for any."""
    work, worst, scanned = {}, "", set[str]()
    for tenant_id in (KNOWN, NEW):
        run = executed(database, tenant_id, lookup.query)
        with counted_work(database) as counted:
            await run()
        work[tenant_id] = counted.total
        if counted.total > lookup.bound:
            worst = str(max(counted.work, key=lambda it: it.total))
        for hook in (explained_plans(database), generic_plans(database)):
            with hook as explained:
                await run()
            scanned |= explained.scanned_tables - _SMALL
    return Checked(name, lookup.bound, work, scanned, worst)


def failures(checked: Sequence[Checked]) -> Iterator[str]:
    """Describe the look-ups that read more than they may."""
    for it in checked:
        if not it.is_good:
            whole = ", ".join(sorted(it.scanned)) or "no table"
            yield f"{it.name}: {max(it.work.values()):,} of {it.bound:,}, reads whole: {whole}. {it.worst}"


def table(checked: Sequence[Checked]) -> str:
    """Return the table of the work of all look-ups, in Markdown."""
    lines = ["| look-up | with statistics | new tenant | at most |", "|---|---:|---:|---:|"]
    lines += [f"| {it.name} | {it.work[KNOWN]:,} | {it.work[NEW]:,} | {it.bound:,} |" for it in checked]
    return "\n".join(lines)

"""The entities of the measured database: people, each with a constant email and a team that changes with every version.

They are written by SQL because there are too many for the service to write them. The result is verified.
"""

from collections.abc import Iterator
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg

from db.temporal.kinds import ENTITY
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID
from tests.bench.versions import VERSIONS, since

# Entities from this number on are updated while they are measured. Reads of those do not select the team.
UPDATED_FROM = 100

# first and last parts of surnames
_STEMS, _ENDINGS = (
    parts.split()
    for parts in (
        "Ash Black Brad Brook Cald Clay Clif Cold Copper Dal East Fair Fern Glen Green Hart "
        "Haw High Lang Lin Mar Mill Nor Oak Pem Red Rose Silver Stan Thorn Wal Wil",
        "berg bourne bridge brook burn bury by cliffe combe cote dale den don field ford gate "
        "grove ham hurst land leigh lock low mere more pool shaw stead stone ton wick worth",
    )
)

_TYPES = f"""
INSERT INTO entity_type (tenant_id, code, label) VALUES ({DEFAULT_TENANT_ID}, 'PERSON', 'Person');
INSERT INTO detail_type (tenant_id, code, label, format)
VALUES ({DEFAULT_TENANT_ID}, 'email', 'Email', 'email'), ({DEFAULT_TENANT_ID}, 'team', 'Team', 'text');
"""

# Ordered by time, as the rows of a real history are.
_FILL = f"""
INSERT INTO asset (tenant_id, uid, kind, type)
SELECT {DEFAULT_TENANT_ID}, uid, '{ENTITY.name}', 'PERSON' FROM state_row WHERE version = 0 ORDER BY number;
CREATE TEMPORARY TABLE filled AS
SELECT a.id, s.version, s.since AS valid_from, lead(s.since, 1, 'infinity') OVER history AS valid_to,
  first_value(s.since) OVER history AS created_at, s.display_name, s.email, s.team,
  jsonb_build_object('email', s.email, 'team', s.team) AS details
FROM state_row s
JOIN asset a ON a.tenant_id = {DEFAULT_TENANT_ID} AND a.uid = s.uid
WINDOW history AS (PARTITION BY s.number ORDER BY s.version);
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to)
SELECT {DEFAULT_TENANT_ID}, id, valid_from, 'infinity' FROM filled WHERE version = 0 ORDER BY id;
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)
SELECT {DEFAULT_TENANT_ID}, '{ENTITY.name}', id, 'SET', valid_from, {ENTITY.state_of("filled")}, true, now(), 'bench'
FROM filled
ORDER BY version, id;
INSERT INTO entity_version (tenant_id, asset_id, valid_from, valid_to, created_at, display_name, details, digest)
SELECT {DEFAULT_TENANT_ID}, id, valid_from, valid_to, created_at, display_name, details,
  CAST(md5(CAST({ENTITY.state_of("filled")} AS text)) AS uuid)
FROM filled
ORDER BY version, id;
INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value)
SELECT {DEFAULT_TENANT_ID}, id, 'email', valid_from, 'infinity', email FROM filled WHERE version = 0 ORDER BY id;
INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value)
SELECT {DEFAULT_TENANT_ID}, id, 'team', valid_from, valid_to, team FROM filled ORDER BY version, id;
INSERT INTO quota (tenant_id, kind, used)
SELECT {DEFAULT_TENANT_ID}, '{ENTITY.name}', count(*) FROM filled WHERE version = 0;
DROP TABLE state_row, filled;
"""


def entity_uid(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"headwater-bench/entity_{number:06}")


def surname(number: int, version: int) -> str:
    """Return a name that one in 1024 people has. Each name changes in the middle of the history."""
    mixed = number * 7919 + (version > VERSIONS // 2)
    return _STEMS[mixed % len(_STEMS)] + _ENDINGS[mixed // len(_STEMS) % len(_ENDINGS)]


async def add_types(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Register the types of entities and details."""
    await owner.execute(_TYPES)


async def fill(owner: "asyncpg.Connection[asyncpg.Record]", entities: int) -> None:
    """Write so many entities with all versions."""
    await add_types(owner)
    await owner.execute(
        "CREATE TEMPORARY TABLE state_row (number integer, uid uuid, version integer, since timestamptz, display_name text, "
        "email text, team text)"
    )
    await owner.copy_records_to_table("state_row", records=_state_rows(entities))
    await owner.execute(_FILL)


def _state_rows(entities: int) -> Iterator[tuple[object, ...]]:
    for number in range(entities):
        uid = entity_uid(number)
        for version in range(VERSIONS):
            name = f"Person {number:06} {surname(number, version)}"
            team = f"team {(number + version) % 500}"
            yield number, uid, version, since(version), name, f"person_{number}@shop.example", team

"""The people that are loaded: their uids and names, and the types that they need."""

from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg

from db.tenant_ids import DEFAULT_TENANT_ID
from tests.bench.versions import VERSIONS

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


def entity_uid(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"headwater-bench/entity_{number:06}")


def surname(number: int, version: int) -> str:
    """Return a name that one in 1024 people has. Each name changes in the middle of the history."""
    mixed = number * 7919 + (version > VERSIONS // 2)
    return _STEMS[mixed % len(_STEMS)] + _ENDINGS[mixed // len(_STEMS) % len(_ENDINGS)]


async def add_types(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Register the types of entities and details."""
    await owner.execute(_TYPES)

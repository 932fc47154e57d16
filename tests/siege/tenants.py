"""Tenants with data, and the credentials of attackers."""

import base64
import time
from itertools import chain
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from db.author import Author
from db.database import Database
from db.tenancy import api_key, tenant
from db.tenancy.api_key import KeySigner
from db.tenancy.scope import READ, WRITE
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from tests.bench.databases import KEY_SECRET, make_key, plain_address
from tests.bench.loads import graph
from tests.bench.loads.entities import entity_uid, surname
from tests.bench.loads.graph import Scale
from tests.bench.loads.measure import LoadFailed
from tests.bench.versions import VERSIONS, since
from tests.siege.attacks import Credentials

# Of tokens: those of attackers are of this issuer.
_ISSUER, _AUDIENCE = "https://idp.shop.example", "headwater"
# People of each tenant.
_PEOPLE = 500


async def fill(address: str, scales: dict[str, Scale], directory: Path) -> list[int]:
    """Create tenants with these names, with people and a graph of this scale in each. Return their ids."""
    tenants = {await tenant.create(address, name, Author("bench")): scale for name, scale in scales.items()}
    database = Database(address, pool_size=1, statement_timeout=600)
    owner = await asyncpg.connect(plain_address(address))
    try:
        for write in (_write_people, graph.write_assets, graph.write_links):
            for tenant_id, scale in tenants.items():
                file = directory / "tenant.jsonl"
                write(file, scale)
                load = Load(database, tenant_id, Author("bench"), advanced=lambda *_: None, rejected=_fail_load)
                with file.open("rb") as opened:
                    await load.run(opened, JsonLines)
            # Not after each load: one into a tenant that the statistics do not know takes many times as long as one
            # without statistics.
            await owner.execute("VACUUM ANALYZE")
    finally:
        await owner.close()
        await database.close()
    return list(tenants)


def settings_of(address: str, directory: Path) -> dict[str, str]:
    """Return the settings of a service under attack, which are the default ones, as environment variables."""
    secret = directory / "jwt.secret"
    secret.write_text("of an issuer whose tokens are accepted only with a signature")
    return {
        "HEADWATER_DATABASE_URL": address,
        "HEADWATER_KEY_SECRET": KEY_SECRET,
        "HEADWATER_JWT_ALGORITHM": "HS256",
        "HEADWATER_JWT_ISSUER": _ISSUER,
        "HEADWATER_JWT_AUDIENCE": _AUDIENCE,
        "HEADWATER_JWT_KEYS": str(secret),
    }


def _fail_load(error: Any) -> None:
    raise LoadFailed(f"The data of a tenant could not be loaded: {error}")


def _write_people(path: Path, _: Scale) -> int:
    """Write a file of people whose name and team change in their history. Return the number of its lines."""
    types = (
        {"kind": "entityType", "code": "PERSON", "label": "Person"},
        {"kind": "detailType", "code": "email", "label": "Email", "format": "email"},
        {"kind": "detailType", "code": "team", "label": "Team", "format": "text"},
    )
    people = (_person(number, version) for version in (0, VERSIONS - 1) for number in range(_PEOPLE))
    lines = [orjson.dumps(it, option=orjson.OPT_APPEND_NEWLINE) for it in chain(types, people)]
    path.write_bytes(b"".join(lines))
    return len(lines)


def _person(number: int, version: int) -> dict[str, Any]:
    return {
        "kind": "entity",
        "uid": entity_uid(number),
        "type": "PERSON",
        "displayName": f"Person {number:06} {surname(number, version)}",
        "details": [
            {"type": "email", "value": f"person_{number}@shop.example"},
            {"type": "team", "value": f"team {(number + version) % 500}"},
        ],
        "at": since(version),
    }


async def attacker_credentials(address: str, tenant_id: int) -> Credentials:
    """Return a key of a tenant, one that was revoked, one that another service signed, a token without a signature, and a key
    that may write."""
    key, revoked = await make_key(address, tenant_id, READ), await make_key(address, tenant_id, READ)
    database = Database(address, pool_size=1)
    try:
        async with database.transaction(tenant_id, Author("bench")) as connection:
            await api_key.revoke(connection, revoked)
    finally:
        await database.close()
    _, forged = KeySigner(KEY_SECRET[::-1].encode()).generate(tenant_id)
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "eve", "tenant": "hostile", "scope": READ}
    parts: tuple[dict[str, Any], ...] = ({"alg": "none"}, {**claims, "exp": round(time.time()) + 3600}, {})
    unsigned = b".".join(base64.urlsafe_b64encode(orjson.dumps(it)).rstrip(b"=") for it in parts).decode()
    return Credentials(key, revoked, forged, unsigned, await make_key(address, tenant_id, READ, WRITE))

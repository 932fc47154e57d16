"""The floor: the answers of all rows as a good engineer would write them by hand, on Headwater's own tables.

A bare ASGI application, asyncpg and orjson. A document is looked up by its text, as a registered one would be; an answer takes
one statement, which selects what the answer shows. There is one tenant, and neither accounts nor costs.
"""

import heapq
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import orjson
import uvicorn

from tests.bench.requests.floor_between import between
from tests.bench.requests.floor_changes import changes_of_links
from tests.bench.requests.rows import ROWS

DATABASE_VARIABLE = "HEADWATER_BENCH_FLOOR_DATABASE_URL"
# The connections of all servers that are compared: the default of Headwater and of PostGraphile.
POOL_SIZE = 10

# Versions of products that hold at an instant.
_VALID = "p.tenant_id = 1 AND p.valid_from <= {instant} AND p.valid_to > {instant}"
_PRODUCT = f"""
SELECT CAST(a.uid AS text) AS uid, p.name, p.owner, p.status, p.version, p.description
FROM product_version p
JOIN asset a ON a.tenant_id = 1 AND a.id = p.asset_id
WHERE p.name = $1 AND {_VALID.format(instant="now()")}
"""
# The assets upstream of a product in order: level by level, in each by id. `visited` begins with the product itself.
_WALK = f"""
WITH RECURSIVE walk (depth, level, visited) AS (
  SELECT 0, ARRAY[p.asset_id], ARRAY[p.asset_id] FROM product_version p WHERE p.name = $1 AND {_VALID}
  UNION ALL
  SELECT depth + 1, next.level, visited || next.level
  FROM walk
  CROSS JOIN LATERAL (
    SELECT array_agg(id ORDER BY id) AS level
    FROM (
      SELECT l.source_id AS id
      FROM unnest(walk.level) AS near (id)
      JOIN lineage_link_effective l ON l.tenant_id = 1 AND l.target_id = near.id
        AND l.valid_from <= {{instant}} AND l.valid_to > {{instant}}
      EXCEPT
      SELECT unnest(walk.visited)
    ) new
  ) next
  WHERE depth < 10 AND next.level IS NOT NULL
),
"""
_FOUND = """
found AS (
  SELECT id, ordinal
  FROM (SELECT visited FROM walk ORDER BY depth DESC LIMIT 1) last
  CROSS JOIN LATERAL unnest(visited) WITH ORDINALITY AS found (id, ordinal)
)
"""
# One look-up an asset, as plans with other joins are no faster.
_ASSETS = f"""
CROSS JOIN LATERAL (SELECT CAST(a.uid AS text) AS uid FROM asset a WHERE a.tenant_id = 1 AND a.id = found.id OFFSET 0) a
CROSS JOIN LATERAL (
  SELECT p.name, p.owner, p.status, p.version FROM product_version p WHERE p.asset_id = found.id AND {_VALID} OFFSET 0
) p
"""
_UPSTREAM = f"{_WALK}{_FOUND}SELECT a.uid, p.name, p.owner, p.status, p.version FROM found{_ASSETS}ORDER BY found.ordinal"
_UPSTREAM_NOW, _UPSTREAM_AS_OF = _UPSTREAM.format(instant="now()"), _UPSTREAM.format(instant="CAST($2 AS timestamptz)")
# What a picture shows of each asset.
_SHOWN = _UPSTREAM_NOW.replace("p.version", "p.version, p.description, p.domain, p.tags")
# Beside each asset the links that feed it. The walk visits the source of each, unless it is too deep.
_EDGES = f"""
{_WALK}
found AS (
  SELECT id, depth, row_number() OVER (ORDER BY depth, id) AS ordinal
  FROM walk
  CROSS JOIN LATERAL unnest(level) AS found (id)
)
SELECT found.id, found.depth, a.uid, p.name AS label, links.ids, links.sources, links.types, links.confidences
FROM found{_ASSETS}
CROSS JOIN LATERAL (
  SELECT array_agg(l.link_id) AS ids, array_agg(l.source_id) AS sources, array_agg(l.type) AS types,
    array_agg(l.confidence) AS confidences
  FROM lineage_link_effective l
  WHERE l.tenant_id = 1 AND l.target_id = found.id AND l.valid_from <= {{instant}} AND l.valid_to > {{instant}}
) links
ORDER BY found.ordinal
""".format(instant="now()")
_NESTED = f"""
WITH RECURSIVE walk (depth, level) AS (
  SELECT 0, ARRAY[p.asset_id] FROM product_version p WHERE p.name = $1 AND {_VALID}
  UNION ALL
  SELECT depth + 1, next.level
  FROM walk
  CROSS JOIN LATERAL (
    SELECT array_agg(DISTINCT l.source_id) AS level
    FROM unnest(walk.level) AS near (id)
    JOIN lineage_link_effective l ON l.tenant_id = 1 AND l.target_id = near.id AND l.valid_from <= now() AND l.valid_to > now()
  ) next
  WHERE depth < 3 AND next.level IS NOT NULL
)
SELECT walk.depth, near.id AS target, found.id, a.uid, p.name, p.owner, p.status, p.version
FROM walk
CROSS JOIN LATERAL unnest(level) AS near (id)
CROSS JOIN LATERAL (
  SELECT DISTINCT l.source_id AS id
  FROM lineage_link_effective l
  WHERE l.tenant_id = 1 AND l.target_id = near.id AND l.valid_from <= now() AND l.valid_to > now()
) found{_ASSETS}
ORDER BY walk.depth DESC, near.id, found.id
""".format(instant="now()")
_PRODUCTS = f"""
SELECT CAST(a.uid AS text) AS uid, p.name, p.owner, p.status, p.version, p.description
FROM product_version p
JOIN asset a ON a.tenant_id = 1 AND a.id = p.asset_id
WHERE {_VALID.format(instant="now()")}
ORDER BY p.name, p.asset_id
LIMIT 51
"""
_COUNTS = f"""
SELECT CAST(a.uid AS text) AS uid, p.name, p.owner, upstream.assets AS "upstreamCount", downstream.assets AS "downstreamCount"
FROM (SELECT p.asset_id, p.name, p.owner FROM product_version p WHERE {_VALID} ORDER BY p.name, p.asset_id LIMIT 100) p
JOIN asset a ON a.tenant_id = 1 AND a.id = p.asset_id
CROSS JOIN LATERAL (
  SELECT count(DISTINCT l.source_id) AS assets
  FROM lineage_link_effective l
  WHERE l.tenant_id = 1 AND l.target_id = p.asset_id AND l.valid_from <= {{instant}} AND l.valid_to > {{instant}}
) upstream
CROSS JOIN LATERAL (
  SELECT count(DISTINCT l.target_id) AS assets
  FROM lineage_link_effective l
  WHERE l.tenant_id = 1 AND l.source_id = p.asset_id AND l.valid_from <= {{instant}} AND l.valid_to > {{instant}}
) downstream
ORDER BY p.name, p.asset_id
""".format(instant="now()")
_ENTITIES = """
SELECT CAST(a.uid AS text) AS uid, e.display_name, d.types, d.values
FROM (
  SELECT e.asset_id, e.display_name
  FROM entity_version e
  WHERE e.tenant_id = 1 AND e.valid_from <= now() AND e.valid_to > now()
  ORDER BY e.display_name, e.asset_id
  LIMIT 51
) e
JOIN asset a ON a.tenant_id = 1 AND a.id = e.asset_id
CROSS JOIN LATERAL (
  SELECT array_agg(d.detail_type ORDER BY d.detail_type) AS types, array_agg(d.value ORDER BY d.detail_type) AS values
  FROM entity_detail d
  WHERE d.tenant_id = 1 AND d.asset_id = e.asset_id AND d.valid_from <= now() AND d.valid_to > now()
) d
ORDER BY e.display_name, e.asset_id
"""
# Without a bound, as so few match.
_SEARCH = """
WITH found AS (
  SELECT asset_id, search_rank(search_text, n.exact, n.prefix, n.word) AS rank, name AS label
  FROM search_patterns($1, false) n, product_version
  WHERE tenant_id = 1 AND search_text LIKE $2 AND valid_from <= now() AND valid_to > now()
  UNION ALL
  SELECT asset_id, search_rank(search_text, n.exact, n.prefix, n.word), display_name
  FROM search_patterns($1, false) n, entity_version
  WHERE tenant_id = 1 AND search_text LIKE $2 AND valid_from <= now() AND valid_to > now()
)
SELECT found.rank, CAST(a.uid AS text) AS uid, found.label
FROM (SELECT * FROM found ORDER BY rank, label, asset_id LIMIT 20) found
JOIN asset a ON a.tenant_id = 1 AND a.id = found.asset_id
ORDER BY found.rank, found.label, found.asset_id
"""
_RANKS = ("", "EXACT", "PREFIX", "WORD", "SUBSTRING")
_REPRESENTED = f"""
SELECT CAST(a.uid AS text) AS uid, p.name, p.owner, p.status, p.version
FROM unnest(CAST($1 AS uuid[])) WITH ORDINALITY AS wanted (uid, ordinal)
JOIN asset a ON a.tenant_id = 1 AND a.uid = wanted.uid
JOIN product_version p ON p.asset_id = a.id AND {_VALID.format(instant="now()")}
ORDER BY wanted.ordinal
"""
_NAMED = f"""
SELECT wanted.ordinal, CAST(a.uid AS text) AS uid, p.name AS label, p.name AS key
FROM unnest(CAST($1 AS text[])) WITH ORDINALITY AS wanted (name, ordinal)
JOIN product_version p ON p.name = wanted.name AND {_VALID.format(instant="now()")}
JOIN asset a ON a.tenant_id = 1 AND a.id = p.asset_id
"""
_WITH_UID = f"""
SELECT wanted.ordinal, CAST(a.uid AS text) AS uid, p.name AS label, p.name AS key
FROM unnest(CAST($1 AS uuid[])) WITH ORDINALITY AS wanted (uid, ordinal)
JOIN asset a ON a.tenant_id = 1 AND a.uid = wanted.uid
JOIN product_version p ON p.asset_id = a.id AND {_VALID.format(instant="now()")}
"""
# One look-up a key, as a join may read all keys.
_WITH_KEY = """
SELECT wanted.ordinal, CAST(a.uid AS text) AS uid, e.display_name AS label, e.keys[1] AS key
FROM unnest(CAST($1 AS text[]), CAST($2 AS text[])) WITH ORDINALITY AS wanted (type, key, ordinal)
CROSS JOIN LATERAL (
  SELECT k.asset_id
  FROM entity_key k
  WHERE k.tenant_id = 1 AND k.type = wanted.type AND k.compared = compared_key(wanted.key)
    AND k.valid_from <= now() AND k.valid_to > now()
  LIMIT 1
) k
JOIN entity_version e ON e.tenant_id = 1 AND e.asset_id = k.asset_id AND e.valid_from <= now() AND e.valid_to > now()
JOIN asset a ON a.tenant_id = 1 AND a.id = k.asset_id
"""
_STATE = ", ".join(
    f"'{column}', closed.{column}" for column in ("name", "domain", "owner", "schema", "status", "version", "tags")
)
# A writer that waited for another one closes nothing, and tries again.
_UPDATE = f"""
WITH closed AS (
  UPDATE product_version p
  SET valid_to = greatest(clock_timestamp(), p.valid_from + interval '1 microsecond')
  FROM asset a
  WHERE a.tenant_id = 1 AND a.uid = CAST($1 AS uuid) AND p.tenant_id = 1 AND p.asset_id = a.id AND p.valid_to = 'infinity'
  RETURNING p.*
),
opened AS (
  INSERT INTO product_version (tenant_id, asset_id, valid_from, created_at, name, domain, owner, description, schema, status,
    version, tags, digest)
  SELECT 1, asset_id, valid_to, created_at, name, domain, owner, CAST($2 AS text), schema, status, version, tags,
    CAST(md5(CAST(jsonb_build_object({_STATE}, 'description', CAST($2 AS text)) AS text)) AS uuid)
  FROM closed
),
logged AS (
  INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id,
    credential)
  SELECT 1, 'PRODUCT', asset_id, 'PATCH', valid_to, jsonb_build_object('description', CAST($2 AS text)), true,
    clock_timestamp(), 'bench', $3, 'bench'
  FROM closed
),
audited AS (
  INSERT INTO audit (tenant_id, at, actor, credential, operator, operation, outcome, request_id)
  SELECT 1, clock_timestamp(), 'bench', 'bench', false, 'mutation Update {{ updateProduct }}', 'KEPT', $3
  FROM closed
)
SELECT name FROM closed
"""

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Answer = Callable[[Pool, dict[str, Any]], Awaitable[dict[str, Any]]]


async def _typename(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    return {"__typename": "Query"}


async def _product(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    row = await pool.fetchrow(_PRODUCT, variables["name"])
    return {"product": dict(row) if row else None}


async def _upstream(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    if as_of := variables.get("asOf"):
        rows = await pool.fetch(_UPSTREAM_AS_OF, variables["name"], datetime.fromisoformat(as_of))
    else:
        rows = await pool.fetch(_UPSTREAM_NOW, variables["name"])
    return {"product": {"name": rows[0]["name"], "upstream": {"nodes": [dict(it) for it in rows[1:]]}} if rows else None}


async def _shown(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    rows = await pool.fetch(_SHOWN, variables["name"])
    nodes = [
        {
            "uid": row["uid"],
            "kind": "PRODUCT",
            "typeLabel": "Product",
            "label": row["name"],
            "key": row["name"],
            "description": row["description"],
            "domain": {"name": row["domain"]},
            "owner": row["owner"],
            "url": None,
            "tags": row["tags"],
        }
        for row in rows[1:]
    ]
    return {"product": {"upstream": {"nodes": nodes}} if rows else None}


async def _edges(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    rows = await pool.fetch(_EDGES, variables["name"])
    if not rows:
        return {"product": None}
    index = {row["id"]: number for number, row in enumerate(rows)}
    # of each asset its sources with the confidence of the link; of each later end its links
    sources: list[list[tuple[float, int]]] = [[] for _ in rows]
    links: list[list[tuple[int, str, float]]] = [[] for _ in rows]
    for target, row in enumerate(rows):
        for link_id, source_id, type_, confidence in zip(
            row["ids"] or (), row["sources"] or (), row["types"] or (), row["confidences"] or (), strict=True
        ):
            if (source := index.get(source_id)) is not None:
                sources[target].append((confidence, source))
                links[max(source, target)].append((link_id, type_, confidence))
    best = _best_confidences(sources)
    edges = [
        {
            "depth": row["depth"],
            "confidence": best[number],
            "node": {"uid": row["uid"], "label": row["label"]},
            "links": [{"type": type_, "confidence": confidence} for _, type_, confidence in sorted(links[number])],
        }
        for number, row in enumerate(rows)
    ]
    return {"product": {"upstream": {"edges": edges[1:]}}}


def _best_confidences(sources: list[list[tuple[float, int]]]) -> list[float]:
    """Return the greatest product of confidences on a path from the first asset to each: Dijkstra's algorithm."""
    best = [0.0] * len(sources)
    queue = [(-1.0, 0)]
    while queue:
        negated, near = heapq.heappop(queue)
        if best[near]:
            continue
        best[near] = -negated
        for confidence, far in sources[near]:
            if not best[far]:
                heapq.heappush(queue, (negated * confidence, far))
    return best


async def _nested(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    rows = await pool.fetch(_NESTED, variables["name"])
    # the deepest level comes first
    nodes: defaultdict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for depth, target, asset_id, uid, name, owner, status, version in rows:
        node = {"uid": uid, "name": name, "owner": owner, "status": status, "version": version}
        if depth < 3:
            node["upstream"] = {"nodes": nodes[depth + 1, asset_id]}
        nodes[depth, target].append(node)
    return {"product": {"name": variables["name"], "upstream": {"nodes": nodes[0, rows[-1]["target"]]}} if rows else None}


async def _products(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    rows = await pool.fetch(_PRODUCTS)
    return {"products": {"nodes": [dict(it) for it in rows[:50]], "pageInfo": {"hasNextPage": len(rows) > 50}}}


async def _counts(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    return {"products": {"nodes": [dict(it) for it in await pool.fetch(_COUNTS)]}}


async def _entities(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    rows = await pool.fetch(_ENTITIES)
    nodes = [
        {
            "uid": uid,
            "displayName": name,
            "details": [{"type": {"code": it}, "value": value} for it, value in zip(types or (), values or (), strict=True)],
        }
        for uid, name, types, values in rows[:50]
    ]
    return {"entities": {"nodes": nodes, "pageInfo": {"hasNextPage": len(rows) > 50}}}


async def _search(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    text = variables["text"]
    rows = await pool.fetch(_SEARCH, text, f"%{text.lower()}%")
    edges = [{"rank": _RANKS[rank], "node": {"uid": uid, "label": label}} for rank, uid, label in rows]
    return {"search": {"edges": edges}}


async def _represented(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    uids = [it["uid"] for it in variables["representations"]]
    rows = {it["uid"]: dict(it) for it in await pool.fetch(_REPRESENTED, uids)}
    return {"_entities": [rows.get(uid) for uid in uids]}


async def _assets(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    refs = variables["refs"]
    if "uid" in refs[0]:
        rows = await pool.fetch(_WITH_UID, [it["uid"] for it in refs])
    elif "product" in refs[0]:
        rows = await pool.fetch(_NAMED, [it["product"] for it in refs])
    else:
        keys = [it["entity"] for it in refs]
        rows = await pool.fetch(_WITH_KEY, [it["type"] for it in keys], [it["key"] for it in keys])
    found = {ordinal: {"uid": uid, "label": label, "key": key} for ordinal, uid, label, key in rows}
    return {"assets": [found.get(ordinal) for ordinal in range(1, len(refs) + 1)]}


async def _update(pool: Pool, variables: dict[str, Any]) -> dict[str, Any]:
    given = variables["input"]
    uid, description, request_id = given["product"]["uid"], given["description"], str(uuid4())
    while (name := await pool.fetchval(_UPDATE, uid, description, request_id)) is None:
        pass
    return {"updateProduct": {"changed": True, "product": {"uid": uid, "name": name, "description": description}}}


_BY_ROW: dict[str, Answer] = {
    "__typename": _typename,
    "product by name": _product,
    "upstream of 20": _upstream,
    "edges of 450": _edges,
    "lineage between of 450": between,
    "nodes of 450": _shown,
    "page of 50 products": _products,
    "page of 100 products with counts": _counts,
    "page of 50 entities": _entities,
    "4 nested levels": _nested,
    "search of 20": _search,
    "100 changes of links": changes_of_links,
    "100 of _entities": _represented,
    "100 assets by uid": _assets,
    "100 assets by name": _assets,
    "100 assets by key": _assets,
    "update of a product": _update,
}


class FloorApp:
    """The application."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._pool: Pool
        self._answers = {row.document: _BY_ROW[row.name] for row in ROWS if row.name in _BY_ROW}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
            return
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        operation = orjson.loads(body)
        data = await self._answers[operation["query"]](self._pool, operation.get("variables") or {})
        response = orjson.dumps({"data": data})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(response))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": response})

    async def _run_lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        # connections that are never reset, for no request leaves anything behind
        self._pool = await asyncpg.create_pool(
            self._address, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=_keep, server_settings={"jit": "off"}
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _keep(connection: Any) -> None:
    pass


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)


def serve() -> None:
    app = FloorApp(os.environ[DATABASE_VARIABLE])
    config = uvicorn.Config(
        app,
        port=0,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    _Server(config).run()

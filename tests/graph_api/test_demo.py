from db.connection import Author
from db.verification import verify_tenant
from graph_api import demo
from graph_api.auth import DEFAULT_TENANT_ID
from tests.builders import Api

MESH = """
  query ($asOf: DateTime!) {
    products(first: 1, asOf: $asOf) { totalCount }
    domains(asOf: $asOf) { name products(first: 1) { totalCount } }
    lineageLinks(first: 1, asOf: $asOf) { totalCount }
    analytics(asOf: $asOf) { lineage { cycles longestPath byType { count } } }
  }
"""


async def test_the_mesh_is_worth_exploring(api: Api) -> None:
    await demo.load(api.database)
    now = (await api(MESH, asOf="2026-11-01")).data
    in_june = (await api(MESH, asOf="2026-06-15")).data
    at_first = (await api(MESH, asOf="2025-11-15")).data

    assert now["products"]["totalCount"] >= 60
    assert [it["name"] for it in now["domains"]] == ["finance", "logistics", "marketing", "sales", "science", "web"]
    assert all(it["products"]["totalCount"] >= 9 for it in now["domains"])
    assert now["lineageLinks"]["totalCount"] >= 200 > at_first["lineageLinks"]["totalCount"]
    assert all(it["count"] >= 50 for it in now["analytics"]["lineage"]["byType"])
    assert now["analytics"]["lineage"]["longestPath"] >= 8
    assert [it["analytics"]["lineage"]["cycles"] for it in (at_first, in_june, now)] == [0, 2, 1]


async def test_the_mesh_is_what_its_log_says(api: Api) -> None:
    await demo.load(api.database)
    async with api.database.transaction(DEFAULT_TENANT_ID, Author("test")) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_the_mesh_comes_in_batches(api: Api) -> None:
    await demo.load(api.database)
    assert len(api.statements) < 100

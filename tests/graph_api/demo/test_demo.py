from db.author import Author
from db.temporal.verification import verify_tenant
from graph_api import demo
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID
from tests.builders import Api

MESH = """
  query ($asOf: DateTime!) {
    products(first: 1, asOf: $asOf) { totalCount }
    domains(asOf: $asOf) { name products(first: 1) { totalCount } }
    lineageLinks(first: 1, asOf: $asOf) { totalCount }
    relationships(first: 1, asOf: $asOf) { totalCount }
    analytics(asOf: $asOf) { lineage { cycles longestPath byType { count } } }
  }
"""

ANSWERS_FOR = """
  query ($name: String!, $asOf: DateTime!) {
    product(name: $name, asOf: $asOf) {
      steward: related(key: "steward") { nodes { label } }
      contract: related(key: "contract") { nodes { label } }
      customer: related(key: "customer") { nodes { label } }
    }
  }
"""


async def test_the_mesh_is_worth_exploring(demo_api: Api) -> None:
    now = (await demo_api(MESH, asOf="2026-11-01")).data
    in_june = (await demo_api(MESH, asOf="2026-06-15")).data
    at_first = (await demo_api(MESH, asOf="2025-11-15")).data

    assert now["products"]["totalCount"] >= 60
    assert [it["name"] for it in now["domains"]] == ["finance", "logistics", "marketing", "sales", "science", "web"]
    assert all(it["products"]["totalCount"] >= 9 for it in now["domains"])
    assert now["lineageLinks"]["totalCount"] >= 200 > at_first["lineageLinks"]["totalCount"]
    assert all(it["count"] >= 50 for it in now["analytics"]["lineage"]["byType"])
    assert now["analytics"]["lineage"]["longestPath"] >= 8
    assert [it["relationships"]["totalCount"] for it in (at_first, in_june, now)] == [24, 77, 78]
    assert [it["analytics"]["lineage"]["cycles"] for it in (at_first, in_june, now)] == [0, 2, 1]


async def test_the_mesh_is_what_its_log_says(demo_api: Api) -> None:
    async with demo_api.database.transaction(DEFAULT_TENANT_ID, Author("test")) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_the_mesh_comes_in_batches(api: Api) -> None:
    await demo.load(api.database)
    # each type of joins is registered by itself
    assert len(api.statements) < 250


async def test_who_answers_for_what_has_changed_through_the_year(demo_api: Api) -> None:
    async def told(name: str, key: str, *days: str) -> list[list[str]]:
        found = [(await demo_api(ANSWERS_FOR, name=name, asOf=day)).data["product"][key]["nodes"] for day in days]
        return [[it["label"] for it in nodes] for nodes in found]

    # handed over twice, at an instant each, and back in the end
    attribution = await told("attribution", "steward", "2026-07-08", "2026-07-09", "2026-08-08", "2026-08-09")
    assert attribution == [["Lou Petit-Marsh"], ["Ida Brandt"], ["Ida Brandt"], ["Lou Petit-Marsh"]]
    # he left, and so was steward no more
    assert await told("email_events", "steward", "2026-06-30", "2026-07-01") == [["Jon Adler"], ["Lou Petit-Marsh"]]
    # the product went and came back, and its joins with it
    assert await told("affiliate_clicks", "customer", "2026-03-30", "2026-07-06") == [["Partnerwerk"], ["Partnerwerk"]]
    # said late
    assert await told("shipments", "steward", "2026-03-04", "2026-03-05") == [["Sam Whitaker"], ["Kim Seo"]]
    orders = await told("orders", "contract", "2026-01-31", "2026-02-01")
    assert orders == [["Orders by the next morning"], ["Orders within the hour"]]
    # of one customer something was heard later, of the other never
    carrier = await told("parcels", "customer", "2026-02-01", "2026-02-02")
    assert carrier == [["Customer 4107"], ["Kestrel Parcel"]]
    assert await told("audience_export", "customer", "2026-11-01") == [["Brightside Media", "Customer 4140"]]

"""The demo data: rich enough to explore, consistent with its change log, and loaded in batches."""

from db.author import Author
from db.temporal.verification import verify_tenant
from db.tenant_ids import DEFAULT_TENANT_ID
from graph_api import demo
from tests.builders import Api

SIZES = """
  query ($asOf: DateTime!) {
    products(first: 1, asOf: $asOf) { totalCount }
    domains(asOf: $asOf) { nodes { name products(first: 1) { totalCount } } }
    lineageLinks(first: 1, asOf: $asOf) { totalCount }
    relationships(first: 1, asOf: $asOf) { totalCount }
    analytics(asOf: $asOf) { lineage { cycles longestPath byType { count } } }
  }
"""

RELATED = """
  query ($name: String!, $asOf: DateTime!) {
    product(name: $name, asOf: $asOf) {
      steward: related(key: "steward") { nodes { label } }
      contract: related(key: "contract") { nodes { label } }
      customer: related(key: "customer") { nodes { label } }
    }
  }
"""


async def test_there_is_enough_to_explore_at_each_instant(api: Api) -> None:
    await demo.load(api.database)
    november = (await api(SIZES, asOf="2026-11-01")).data
    june = (await api(SIZES, asOf="2026-06-15")).data
    start = (await api(SIZES, asOf="2025-11-15")).data

    assert november["products"]["totalCount"] >= 60
    assert [it["name"] for it in november["domains"]["nodes"]] == ["finance", "logistics", "marketing", "sales", "science", "web"]
    assert all(it["products"]["totalCount"] >= 9 for it in november["domains"]["nodes"])
    assert november["lineageLinks"]["totalCount"] >= 200 > start["lineageLinks"]["totalCount"]
    assert all(it["count"] >= 50 for it in november["analytics"]["lineage"]["byType"])
    assert november["analytics"]["lineage"]["longestPath"] >= 8
    assert [it["relationships"]["totalCount"] for it in (start, june, november)] == [24, 77, 78]
    assert [it["analytics"]["lineage"]["cycles"] for it in (start, june, november)] == [0, 2, 1]


async def test_all_versions_are_the_fold_of_the_change_log(api: Api) -> None:
    await demo.load(api.database)
    async with api.database.transaction(DEFAULT_TENANT_ID, Author("test")) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_the_data_is_loaded_in_batches(api: Api) -> None:
    await demo.load(api.database)
    # Each relationship type takes separate statements.
    assert len(api.statements) < 250


async def test_relationships_change_through_the_year(api: Api) -> None:
    await demo.load(api.database)

    async def labels(name: str, key: str, *days: str) -> list[list[str]]:
        answers = [(await api(RELATED, name=name, asOf=day)).data["product"][key]["nodes"] for day in days]
        return [[it["label"] for it in nodes] for nodes in answers]

    # Two handovers, and back to the first steward in the end.
    attribution = await labels("attribution", "steward", "2026-07-08", "2026-07-09", "2026-08-08", "2026-08-09")
    assert attribution == [["Lou Petit-Marsh"], ["Ida Brandt"], ["Ida Brandt"], ["Lou Petit-Marsh"]]
    # The deletion of the steward ended the relationship.
    assert await labels("email_events", "steward", "2026-06-30", "2026-07-01") == [["Jon Adler"], ["Lou Petit-Marsh"]]
    # The product was deleted and restored, and its relationships with it.
    assert await labels("affiliate_clicks", "customer", "2026-03-30", "2026-07-06") == [["Partnerwerk"], ["Partnerwerk"]]
    # A handover that was recorded late.
    assert await labels("shipments", "steward", "2026-03-04", "2026-03-05") == [["Sam Whitaker"], ["Kim Seo"]]
    orders = await labels("orders", "contract", "2026-01-31", "2026-02-01")
    assert orders == [["Orders by the next morning"], ["Orders within the hour"]]
    # One customer begins as a stub, another one stays a stub.
    carrier = await labels("parcels", "customer", "2026-02-01", "2026-02-02")
    assert carrier == [["Customer 4107"], ["Kestrel Parcel"]]
    assert await labels("audience_export", "customer", "2026-11-01") == [["Brightside Media", "Customer 4140"]]

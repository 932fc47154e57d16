"""Relationships of the demo shop, such as stewards, contracts and customers: their first statements and later changes."""

# key, reverse key, origin, related, cardinality, on delete, foreign key field
RELATIONSHIP_TYPES: list[tuple[str, str, str, str, str, str, str | None]] = [
    ("steward", "stewardOf", "PRODUCT", "PERSON", "MANY_TO_ONE", "CLOSE", None),
    ("contract", "covers", "PRODUCT", "CONTRACT", "ONE_TO_ONE", "RESTRICT", None),
    ("customer", "uses", "PRODUCT", "CUSTOMER", "MANY_TO_MANY", "CLOSE", None),
    ("contact", "contactOf", "CUSTOMER", "PERSON", "MANY_TO_ONE", "CLOSE", "accountManager"),
    ("memberOf", "members", "PERSON", "TEAM", "MANY_TO_ONE", "CLOSE", None),
    ("standsInFor", "standsInFor", "PERSON", "PERSON", "MANY_TO_MANY", "CLOSE", None),
]

# Types of ends that are named by key. Products, people and teams are named by their first names.
BY_KEY = ("CONTRACT", "CUSTOMER")

# key, display name, valid from, details
CONTRACTS: list[tuple[str, str, str, str]] = [
    ("101", "Orders by the next morning", "2025-11-03", "freshness=24"),
    ("102", "Orders within the hour", "2026-02-01", "freshness=1; availability=99.5"),
    ("103", "Catalog every night", "2025-11-17", "freshness=24; availability=99"),
    ("104", "Stock every hour", "2025-11-17", "freshness=1; availability=98"),
    ("104", "Stock every quarter of an hour", "2026-03-16", "freshness=0.25; availability=99"),
    ("105", "Revenue by seven", "2026-01-05", "freshness=31"),
    ("106", "Revenue by six, in each currency", "2026-04-01", "freshness=30; availability=99.5"),
    ("107", "Parcels twice an hour", "2025-11-24", "freshness=0.5; availability=97"),
    ("108", "Settled payments each working day", "2026-02-16", "freshness=72"),
    ("109", "The board's numbers by the third", "2026-02-23", "freshness=72; availability=100"),
    ("110", "Last clicks, daily", "2026-02-11", "freshness=24"),
    ("111", "Shared weights, daily", "2026-08-09", "freshness=24; availability=98"),
    ("112", "The newsletter's readers", "2026-01-27", "freshness=168"),
    ("113", "Audiences each morning", "2026-03-30", "freshness=24"),
    ("114", "Scores every night", "2026-02-16", "freshness=24"),
]

# Another contract covers the orders by then, so RESTRICT allows the deletion. Key, instant.
CONTRACTS_DELETED = [("101", "2026-03-01")]

# type, origins (each makes a relationship), related, valid from, attributes
RELATED: list[tuple[str, str, str, str, str]] = [
    ("steward", "orders, order_lines, customer_accounts", "Ann Okafor", "2025-11-03", "review=quarterly"),
    ("steward", "catalog, price_list", "Bo Lindqvist", "2025-11-03", ""),
    ("steward", "web_events, search_queries, consent_log", "Noor Haddad", "2025-11-03", ""),
    ("steward", "exchange_rates", "Mei Tanaka", "2025-11-03", ""),
    ("steward", "payments, ledger", "Mei Tanaka", "2025-11-05", "review=monthly"),
    ("steward", "stock_levels, shipments, carrier_scans", "Sam Whitaker", "2025-11-08", ""),
    ("steward", "sessions", "Noor Haddad", "2025-11-10", ""),
    ("steward", "campaigns, ad_spend", "Lou Petit", "2025-11-20", ""),
    ("steward", "newsletter_list", "Jon Adler", "2025-11-20", ""),
    ("steward", "parcels", "Sam Whitaker", "2025-11-22", ""),
    ("steward", "email_events", "Jon Adler", "2025-11-24", "review=monthly"),
    ("steward", "orders_clean, order_facts", "Ida Brandt", "2025-11-24", ""),
    ("steward", "refunds", "Bo Lindqvist", "2025-12-01", ""),
    ("steward", "sales_daily", "Ann Okafor", "2025-12-08", ""),
    ("steward", "affiliate_clicks", "Jon Adler", "2025-12-09", ""),
    ("steward", "returns", "Sam Whitaker", "2025-12-10", ""),
    ("steward", "revenue_daily", "Mei Tanaka", "2025-12-15", "review=monthly"),
    ("steward", "attribution", "Lou Petit", "2026-01-20", ""),
    ("steward", "customer_360", "Ida Brandt", "2026-01-26", ""),
    ("steward", "churn_score", "Ida Brandt", "2026-02-15", ""),
    ("steward", "payments_settled", "Ida Brandt", "2026-02-16", ""),
    ("steward", "board_pack", "Mei Tanaka", "2026-02-23", "review=monthly"),
    ("steward", "carrier_scorecard", "Sam Whitaker", "2026-03-10", ""),
    ("steward", "ranking_model", "Ida Brandt", "2026-03-26", "review=weekly"),
    ("steward", "shop_window", "Noor Haddad", "2026-04-20", ""),
    ("steward", "replenishment_plan", "Kim Seo", "2026-04-27", ""),
    # handovers: ENDED ends each at the instant at which the next begins
    ("steward", "affiliate_clicks", "Lou Petit", "2026-03-02", ""),
    ("steward", "parcels, carrier_scorecard", "Kim Seo", "2026-04-13", ""),
    ("steward", "customer_360", "Bo Lindqvist", "2026-04-13", "review=quarterly"),
    ("steward", "newsletter_list", "Bo Lindqvist", "2026-05-25", ""),
    ("steward", "payments_settled", "Mei Tanaka", "2026-06-01", "review=monthly"),
    ("steward", "attribution", "Ida Brandt", "2026-07-09", "review=weekly"),
    ("steward", "attribution", "Lou Petit", "2026-08-09", "review=monthly"),
    ("steward", "customer_accounts", "Bo Lindqvist", "2026-08-17", "review=quarterly"),
    # Jon is deleted at that instant, which ends his relationships
    ("steward", "email_events", "Lou Petit", "2026-07-01", ""),

    ("contract", "orders", "101", "2025-11-03", "signed=2025-10-30"),
    ("contract", "orders", "102", "2026-02-01", "signed=2026-01-22"),
    ("contract", "catalog", "103", "2025-11-17", "signed=2025-11-12"),
    ("contract", "stock_levels", "104", "2025-11-17", "signed=2025-11-12"),
    ("contract", "parcels", "107", "2025-11-24", "signed=2025-11-20"),
    ("contract", "revenue_daily", "105", "2026-01-05", "signed=2026-01-05"),
    ("contract", "newsletter_list", "112", "2026-01-27", ""),
    ("contract", "attribution", "110", "2026-02-11", ""),
    ("contract", "payments_settled", "108", "2026-02-16", "signed=2026-02-16"),
    ("contract", "churn_score", "114", "2026-02-16", ""),
    ("contract", "board_pack", "109", "2026-02-23", "signed=2026-02-20"),
    ("contract", "audience_export", "113", "2026-03-30", ""),
    ("contract", "revenue_daily", "106", "2026-04-01", "signed=2026-03-27"),
    ("contract", "attribution", "111", "2026-08-09", ""),
    # the contract of newsletter_list, which this product replaces
    ("contract", "newsletter_audience", "112", "2026-09-14", ""),

    ("customer", "catalog, price_list, stock_levels", "4101", "2025-11-17", "level=gold"),
    ("customer", "parcels", "4107", "2025-11-24", "level=silver"),
    ("customer", "affiliate_clicks", "4110", "2025-12-09", "level=silver"),
    ("customer", "catalog, stock_levels", "4102", "2026-01-12", "level=silver"),
    ("customer", "attribution", "4110", "2026-02-11", "level=silver"),
    ("customer", "revenue_daily", "4120", "2026-01-15", "level=gold"),
    ("customer", "carrier_scorecard, delivery_times", "4107", "2026-03-10", "level=silver"),
    ("customer", "ledger_export", "4120", "2026-03-16", "level=gold"),
    ("customer", "audience_export", "4115", "2026-03-30", "level=silver"),
    ("customer", "audience_export", "4140", "2026-04-06", ""),
    ("customer", "catalog", "4131", "2026-07-20", ""),
    ("customer", "catalog, stock_levels", "7c0f6a52-6a0e-4b51-9d0c-3f1f2f5a9e14", "2026-08-10", "level=silver"),

    ("contact", "4101, 4102", "Bo Lindqvist", "2026-01-12", ""),
    ("contact", "4107", "Sam Whitaker", "2025-11-24", ""),
    ("contact", "4110", "Jon Adler", "2025-12-09", ""),
    ("contact", "4120", "Mei Tanaka", "2026-01-15", ""),
    ("contact", "4115", "Lou Petit", "2026-03-30", ""),
    ("contact", "4107", "Kim Seo", "2026-04-13", ""),
    ("contact", "4110", "Lou Petit", "2026-07-06", ""),

    ("memberOf", "Ann Okafor, Bo Lindqvist, Noor Haddad", "Commerce", "2025-11-03", ""),
    ("memberOf", "Jon Adler, Lou Petit", "Commerce", "2025-11-03", ""),
    ("memberOf", "Ida Brandt", "Analytics", "2025-11-03", ""),
    ("memberOf", "Sam Whitaker", "Fulfilment", "2025-11-08", ""),
    ("memberOf", "Noor Haddad", "Analytics", "2026-04-20", ""),
    ("memberOf", "Kim Seo", "Fulfilment", "2026-04-01", ""),

    ("standsInFor", "Ann Okafor", "Bo Lindqvist", "2025-11-03", ""),
    ("standsInFor", "Jon Adler", "Lou Petit", "2025-11-24", ""),
    ("standsInFor", "Ida Brandt", "Noor Haddad", "2026-01-05", ""),
    ("standsInFor", "Sam Whitaker", "Kim Seo", "2026-04-01", ""),
]  # fmt: skip

# type, origins, related, instant, attributes
CHANGED: list[tuple[str, str, str, str, str]] = [
    ("steward", "orders", "Ann Okafor", "2026-03-02", "review=weekly"),
    ("customer", "stock_levels", "4102", "2026-07-13", "level=gold"),
    ("customer", "parcels", "4107", "2026-09-01", "level=gold; hourly=yes"),
]

# type, origins, related, instant
ENDED: list[tuple[str, str, str, str]] = [
    ("steward", "affiliate_clicks", "Jon Adler", "2026-03-02"),
    ("steward", "parcels, carrier_scorecard", "Sam Whitaker", "2026-04-13"),
    ("steward", "customer_360", "Ida Brandt", "2026-04-13"),
    ("steward", "newsletter_list", "Jon Adler", "2026-05-25"),
    ("steward", "payments_settled", "Ida Brandt", "2026-06-01"),
    ("steward", "attribution", "Lou Petit", "2026-07-09"),
    ("steward", "attribution", "Ida Brandt", "2026-08-09"),
    ("steward", "customer_accounts", "Ann Okafor", "2026-08-17"),
    ("contract", "orders", "101", "2026-02-01"),
    ("contract", "revenue_daily", "105", "2026-04-01"),
    ("contract", "attribution", "110", "2026-07-09"),
    ("contract", "churn_score", "114", "2026-09-01"),
    ("contract", "newsletter_list", "112", "2026-09-14"),
    ("customer", "price_list", "4101", "2026-06-01"),
    ("contact", "4107", "Sam Whitaker", "2026-04-13"),
    ("memberOf", "Noor Haddad", "Commerce", "2026-04-20"),
]

# States of customers, recorded after their stubs: key, display name, valid from, details. Other customers stay stubs.
CUSTOMERS: list[tuple[str, str, str, str]] = [
    ("4101", "Nordwind Outfitters", "2025-11-17", "city=Kiel; email=data@nordwind.example"),
    ("4102", "Alpenkontor", "2025-11-03", "city=Innsbruck; phone=+43 512 5990"),
    ("4107", "Kestrel Parcel", "2026-02-02", "city=Hamburg; url=https://kestrel.example"),
    ("4110", "Partnerwerk", "2025-12-09", "city=Leipzig"),
    ("4115", "Brightside Media", "2026-03-30", "city=Berlin; email=feeds@brightside.example"),
    ("4120", "Sorrel & Finch, auditors", "2026-01-15", "city=Bremen"),
]

# Relationships that were recorded in October, months after they became valid: as in RELATED and as in ENDED.
RELATED_LATE: list[tuple[str, str, str, str, str]] = [
    ("steward", "shipments", "Kim Seo", "2026-03-05", ""),
    ("memberOf", "Kim Seo", "Fulfilment", "2026-03-02", "loan=yes"),
    ("customer", "returns", "4102", "2026-03-23", "level=silver"),
]
ENDED_LATE: list[tuple[str, str, str, str]] = [("steward", "shipments", "Sam Whitaker", "2026-03-05")]

"""Whom and what the shop's data goes through: as it was first heard of, and what has become of it since."""

from typing import Any

# code, label, domain, where the records live
ENTITY_TYPES: list[tuple[str, str, str | None, dict[str, Any] | None]] = [
    ("PERSON", "Person", None, {"service": "directory", "endpoint": "https://directory.shop.example/graphql",
                                "lookup_field": "employeeNumber"}),
    ("TEAM", "Team", None, None),
    ("TABLE", "Table", None, None),
    ("JOB", "Job", None, None),
    ("DASHBOARD", "Dashboard", "science", None),
    ("WAREHOUSE", "Warehouse", "logistics", None),
]  # fmt: skip

# code, label, format
DETAIL_TYPES: list[tuple[str, str, str | None]] = [
    ("email", "Email", "email"),
    ("phone", "Phone", "phone"),
    ("url", "Where to find it on the web", "uri"),
    ("joined", "First day with the shop", "date"),
    ("role", "Role", "text"),
    ("schedule", "When it runs", None),
    ("minutes", "Minutes it takes", "number"),
    ("rows", "Rows", "number"),
    ("area", "Square metres", "number"),
]

# type, key, display name, since, details
CREATED: list[tuple[str, str | None, str, str, str]] = [
    ("PERSON", "1001", "Ann Okafor", "2025-11-03",
     "email=ann@shop.example; phone=+49 30 23125 101; role=Head of sales; joined=2019-04-01"),
    ("PERSON", "1007", "Bo Lindqvist", "2025-11-03",
     "email=bo@shop.example; phone=+49 30 23125 107; role=Sales; joined=2021-09-01"),
    ("PERSON", "1010", "Ida Brandt", "2025-11-03",
     "email=ida.brandt@shop.example; phone=+49 30 23125 110; role=Data science; joined=2025-11-03"),
    ("PERSON", "1004", "Jon Adler", "2025-11-03",
     "email=jon@shop.example; phone=+49 30 23125 104; role=Marketing; joined=2020-02-15"),
    ("PERSON", "1005", "Lou Petit", "2025-11-03", "email=lou@shop.example; role=Head of marketing; joined=2020-06-01"),
    ("PERSON", "1003", "Mei Tanaka", "2025-11-03",
     "email=mei@shop.example; phone=+49 30 23125 103; role=Finance; joined=2019-11-15"),
    ("PERSON", "1008", "Noor Haddad", "2025-11-03",
     "email=noor@shop.example; phone=+49 30 23125 108; role=Web; joined=2023-01-09"),
    ("PERSON", "1006", "Sam Whitaker", "2025-11-03",
     "email=sam@shop.example; phone=+49 40 66969 206; role=Head of logistics; joined=2020-08-17"),
    ("PERSON", "1012", "Kim Seo", "2026-04-01",
     "email=kim@shop.example; phone=+49 40 66969 212; role=Shipping; joined=2026-04-01"),
    ("TEAM", None, "Commerce", "2025-11-03", "email=commerce@shop.example; url=https://wiki.shop.example/teams/commerce"),
    ("TEAM", None, "Analytics", "2025-11-03", "email=data@shop.example; url=https://wiki.shop.example/teams/data"),
    ("TEAM", None, "Fulfilment", "2025-11-08", "email=fulfilment@shop.example; phone=+49 40 66969 200"),
    ("JOB", "airflow/build_sessions", "Build sessions", "2025-11-10",
     "url=https://airflow.shop.example/dags/build_sessions; schedule=20 * * * *; minutes=6.5"),
    ("JOB", "airflow/revenue_daily", "Daily revenue", "2025-12-15",
     "url=https://airflow.shop.example/dags/revenue_daily; schedule=0 5 * * *; minutes=14"),
    ("JOB", "airflow/campaign_sync", "Campaign sync", "2025-11-20",
     "url=https://airflow.shop.example/dags/campaign_sync; schedule=0 */6 * * *; minutes=3"),
    ("DASHBOARD", "17", "Revenue", "2025-12-15", "url=https://bi.shop.example/dashboards/17"),
    ("DASHBOARD", "21", "Conversion", "2026-01-12", "url=https://bi.shop.example/dashboards/21"),
    ("DASHBOARD", "24", "Revenue forecast", "2026-03-01", "url=https://bi.shop.example/dashboards/24"),
    ("WAREHOUSE", None, "Hamburg", "2025-11-08", "phone=+49 40 66969 200; area=12500"),
    ("WAREHOUSE", None, "Munich", "2026-02-01", "phone=+49 89 99998 142; area=8200.5"),
]  # fmt: skip

# A table as each count found it: key, display name, rows by day.
COUNTED: list[tuple[str, str, dict[str, int]]] = [
    ("shop.public.customers", "customers", {"2025-11-03": 18_204, "2026-03-01": 23_870, "2026-08-01": 31_066}),
    ("shop.public.orders", "orders", {"2025-11-03": 41_310, "2026-03-01": 68_954, "2026-08-01": 120_473}),
    ("shop.public.order_lines", "order_lines", {"2025-11-03": 97_122, "2026-03-01": 160_840, "2026-08-01": 281_517}),
    ("shop.public.payments", "payments", {"2025-11-05": 41_022, "2026-08-01": 119_268}),
    ("shop.public.refunds", "refunds", {"2025-12-01": 1_904, "2026-08-01": 5_377}),
]

# type and display name at first, instant, what changed; a detail that becomes None is taken away
UPDATED: list[tuple[str, str, dict[str, Any]]] = [
    ("PERSON/Ida Brandt", "2026-01-05", {"details": {"email": "ida@shop.example"}}),
    ("TEAM/Analytics", "2026-02-02", {"display_name": "Data science"}),
    ("PERSON/Ann Okafor", "2026-04-20", {"details": {"phone": "+49 171 39200 01"}}),
    ("PERSON/Noor Haddad", "2026-05-11", {"details": {"phone": None}}),
    ("PERSON/Lou Petit", "2026-06-20", {"display_name": "Lou Petit-Marsh"}),
    ("PERSON/Mei Tanaka", "2026-08-03", {"details": {"phone": "+49 30 23125 100"}}),
    ("JOB/Daily revenue", "2026-09-07", {"details": {"schedule": "0 4 * * *", "minutes": "22.5"}}),
    # reported in October, true since June
    ("PERSON/Mei Tanaka", "2026-06-01", {"details": {"role": "Head of finance"}}),
]  # fmt: skip

DELETED = [("JOB/Campaign sync", "2026-05-01"), ("PERSON/Jon Adler", "2026-07-01"), ("DASHBOARD/Revenue forecast", "2026-09-15")]
RESTORED = [("JOB/Campaign sync", "2026-06-15")]

# In October the directory said that she had been there for a month before it knew her.
BORN_EARLIER: list[tuple[str, str | None, str, str, str]] = [
    ("PERSON", "1012", "Kim Seo", "2026-03-02", "email=kim@shop.example; role=Shipping, on loan"),
]

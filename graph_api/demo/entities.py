"""Entities of the demo shop, such as people, tables and jobs: their first states and later changes."""

from typing import Any

# code, label, domain, source of the external records
ENTITY_TYPES: list[tuple[str, str, str | None, dict[str, Any] | None]] = [
    ("PERSON", "Person", None, {"service": "directory", "endpoint": "/people", "lookup_field": "employeeNumber"}),
    ("TEAM", "Team", None, None),
    ("TABLE", "Table", None, None),
    ("JOB", "Job", None, None),
    ("DASHBOARD", "Dashboard", "science", None),
    ("WAREHOUSE", "Warehouse", "logistics", None),
    ("CONTRACT", "Contract", None, {"service": "headwater", "endpoint": "/contracts", "lookup_field": "key", "is_local": True}),
    ("CUSTOMER", "Customer", None, {"service": "crm", "endpoint": "/customers", "lookup_field": "id"}),
]  # fmt: skip

# code, label, format, role
DETAIL_TYPES: list[tuple[str, str, str | None] | tuple[str, str, str | None, str]] = [
    ("email", "Email", "email"),
    ("phone", "Phone", "phone"),
    ("url", "Web address", "uri", "URL"),
    ("joined", "First working day", "date"),
    ("role", "Role", "text"),
    ("schedule", "Schedule", None),
    ("minutes", "Duration in minutes", "number"),
    ("rows", "Rows", "number"),
    ("area", "Area in square metres", "number"),
    ("freshness", "Hours until an update is due", "number"),
    ("availability", "Availability in per cent", "number"),
    ("city", "City", "text"),
]

# type, key, display name, valid from, details
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
    ("JOB", "airflow/parcel_tracking", "Parcel tracking", "2025-11-22",
     "url=https://airflow.shop.example/dags/parcel_tracking; schedule=*/30 * * * *; minutes=4"),
    ("JOB", "spark/clean_events", "Clean events", "2026-01-14", "url=https://spark.shop.example/jobs/clean_events; minutes=38"),
    ("JOB", "airflow/board_mail", "Board mail", "2026-02-23",
     "url=https://airflow.shop.example/dags/board_mail; schedule=0 7 3 * *; minutes=1"),
    ("JOB", "spark/forecast_demand", "Forecast demand", "2026-03-19",
     "url=https://spark.shop.example/jobs/forecast_demand; schedule=0 2 * * 1; minutes=95"),
    ("JOB", "spark/train_ranking", "Train ranking", "2026-03-26",
     "url=https://spark.shop.example/jobs/train_ranking; schedule=0 1 * * *; minutes=140"),
    ("JOB", "airflow/audience_upload", "Audience upload", "2026-03-30",
     "url=https://airflow.shop.example/dags/audience_upload; schedule=0 6 * * *; minutes=9"),
    ("JOB", "airflow/replenish", "Replenish", "2026-04-27",
     "url=https://airflow.shop.example/dags/replenish; schedule=0 4 * * 1; minutes=12"),
    ("DASHBOARD", "12", "Sales", "2025-12-08", "url=https://bi.shop.example/dashboards/12"),
    ("DASHBOARD", "17", "Revenue", "2025-12-15", "url=https://bi.shop.example/dashboards/17"),
    ("DASHBOARD", "21", "Conversion", "2026-01-12", "url=https://bi.shop.example/dashboards/21"),
    ("DASHBOARD", "22", "Customers", "2026-01-26", "url=https://bi.shop.example/dashboards/22"),
    ("DASHBOARD", "23", "Shipping", "2026-02-01", "url=https://bi.shop.example/dashboards/23"),
    ("DASHBOARD", "24", "Revenue forecast", "2026-03-01", "url=https://bi.shop.example/dashboards/24"),
    ("DASHBOARD", "26", "Marketing", "2026-02-02", "url=https://bi.shop.example/dashboards/26"),
    ("DASHBOARD", "27", "Board", "2026-02-23", "url=https://bi.shop.example/dashboards/27"),
    ("DASHBOARD", "31", "Stock", "2026-04-14", "url=https://bi.shop.example/dashboards/31"),
    ("DASHBOARD", "38", "Models", "2026-07-08", "url=https://bi.shop.example/dashboards/38"),
    ("WAREHOUSE", None, "Hamburg", "2025-11-08", "phone=+49 40 66969 200; area=12500"),
    ("WAREHOUSE", None, "Munich", "2026-02-01", "phone=+49 89 99998 142; area=8200.5"),
]  # fmt: skip

# Tables with their number of rows: key, display name, rows by day.
ROW_COUNTS: list[tuple[str, str, dict[str, int]]] = [
    ("shop.public.customers", "customers", {"2025-11-03": 18_204, "2026-03-01": 23_870, "2026-08-01": 31_066}),
    ("shop.public.orders", "orders", {"2025-11-03": 41_310, "2026-03-01": 68_954, "2026-08-01": 120_473}),
    ("shop.public.order_lines", "order_lines", {"2025-11-03": 97_122, "2026-03-01": 160_840, "2026-08-01": 281_517}),
    ("shop.public.payments", "payments", {"2025-11-05": 41_022, "2026-08-01": 119_268}),
    ("shop.public.refunds", "refunds", {"2025-12-01": 1_904, "2026-08-01": 5_377}),
    ("shop.public.articles", "articles", {"2025-11-03": 6_120, "2026-03-01": 6_744, "2026-08-01": 7_902}),
    ("shop.public.prices", "prices", {"2025-11-03": 14_380, "2026-03-01": 17_215, "2026-08-01": 24_960}),
    ("lake.raw.tracker_events", "tracker_events", {"2025-11-03": 8_204_113, "2026-03-01": 41_906_552, "2026-08-01": 112_380_127}),
    ("lake.raw.search_log", "search_log", {"2025-11-03": 412_870, "2026-03-01": 2_067_314, "2026-08-01": 5_530_042}),
    ("psp.settlements", "settlements", {"2025-11-05": 12_377, "2026-03-01": 13_950, "2026-08-01": 15_208}),
    ("erp.bookings", "bookings", {"2025-11-05": 208_114, "2026-08-01": 399_471}),
    ("erp.inbound", "inbound", {"2025-11-08": 3_206, "2026-08-01": 4_815}),
    ("wms.stock", "stock", {"2025-11-08": 12_240, "2026-02-03": 13_488, "2026-08-01": 15_804}),
    ("carriers.scans", "scans", {"2025-11-08": 204_660, "2026-03-01": 761_205, "2026-08-01": 1_560_338}),
    ("ads.costs", "ad_costs", {"2025-11-20": 1_288, "2026-08-01": 9_604}),
    ("mail.events", "mail_events", {"2025-11-24": 316_020, "2026-03-01": 1_240_588, "2026-08-01": 2_871_934}),
    ("ecb.rates", "rates", {"2025-11-03": 7_412, "2026-08-01": 8_190}),
    ("partners.clicks", "partner_clicks", {"2025-12-09": 9_870, "2026-08-01": 14_055}),
    ("desk.tickets", "tickets", {"2025-12-03": 5_021, "2026-08-01": 11_376}),
]

# type and first display name, instant, changed fields; None removes a detail
UPDATED: list[tuple[str, str, dict[str, Any]]] = [
    ("PERSON/Ida Brandt", "2026-01-05", {"details": {"email": "ida@shop.example"}}),
    ("TEAM/Analytics", "2026-02-02", {"display_name": "Data science"}),
    ("PERSON/Sam Whitaker", "2026-02-20", {"keys": {"add": ["0D9F3A7E-5B1C-4A86-9E2D-7C40F1B8A653"]}}),
    ("PERSON/Ann Okafor", "2026-04-20", {"details": {"phone": "+49 171 39200 01"}}),
    ("PERSON/Noor Haddad", "2026-05-11", {"details": {"phone": None}}),
    ("PERSON/Lou Petit", "2026-06-20", {"display_name": "Lou Petit-Marsh"}),
    ("PERSON/Mei Tanaka", "2026-08-03", {"details": {"phone": "+49 30 23125 100"}}),
    ("JOB/Daily revenue", "2026-09-07", {"details": {"schedule": "0 4 * * *", "minutes": "22.5"}}),
]  # fmt: skip

DELETED = [("JOB/Campaign sync", "2026-05-01"), ("PERSON/Jon Adler", "2026-07-01"), ("DASHBOARD/Revenue forecast", "2026-09-15")]
RESTORED = [("JOB/Campaign sync", "2026-06-15")]

# A state that was recorded in October and begins a month before the first one.
CREATED_EARLIER: list[tuple[str, str | None, str, str, str]] = [
    ("PERSON", "1012", "Kim Seo", "2026-03-02", "email=kim@shop.example; role=Shipping, on loan"),
]

# Updates that were recorded in October, months after they became valid: as in UPDATED.
UPDATED_LATE: list[tuple[str, str, dict[str, Any]]] = [
    ("PERSON/Mei Tanaka", "2026-06-01", {"details": {"role": "Head of finance"}}),
]

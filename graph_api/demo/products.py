"""The shop's data products: as they were registered, and what has become of them since."""

from typing import Any

# name, domain, owner, since, schema, description, tags
REGISTERED: list[tuple[str, str, str, str, str, str, str]] = [
    ("web_events", "web", "noor@shop.example", "2025-11-03", "event_id:string session_id:string at:timestamp url:string",
     "Every page view and click, as the tracker sends it.", "raw events"),
    ("sessions", "web", "noor@shop.example", "2025-11-10", "session_id:string customer_id:int started_at:timestamp pages:int",
     "Clicks put together into visits.", "events"),
    ("conversion_funnel", "web", "ida@shop.example", "2026-01-12", "step:string sessions:int share:decimal",
     "How many visits reach each step to a purchase.", "report kpi"),
    ("customer_accounts", "sales", "ann@shop.example", "2025-11-03", "id:int email:string country:string",
     "Everybody who has an account.", "pii core"),
    ("orders", "sales", "ann@shop.example", "2025-11-03", "id:int customer_id:int placed_at:timestamp amount:decimal",
     "Orders as they are placed.", "core"),
    ("order_lines", "sales", "ann@shop.example", "2025-11-03", "order_id:int sku:string quantity:int price:decimal",
     "What each order is made of.", "core"),
    ("refunds", "sales", "bo@shop.example", "2025-12-01", "order_id:int amount:decimal reason:string",
     "Money that went back.", "core"),
    ("payments", "finance", "mei@shop.example", "2025-11-05", "id:string order_id:int amount:decimal provider:string",
     "What the payment provider settled.", "raw pci"),
    ("revenue_daily", "finance", "mei@shop.example", "2025-12-15", "day:date revenue:decimal refunds:decimal",
     "Revenue of each day, refunds taken off.", "report kpi"),
    ("revenue_forecast", "finance", "mei@shop.example", "2026-03-01", "day:date expected:decimal low:decimal high:decimal",
     "What the next ninety days should bring.", "model"),
    ("stock_levels", "logistics", "sam@shop.example", "2025-11-08", "sku:string warehouse:string on_hand:int",
     "What lies in which warehouse.", "raw"),
    ("shipments", "logistics", "sam@shop.example", "2025-11-08", "id:string order_id:int carrier:string shipped_at:timestamp",
     "Parcels on their way.", "raw"),
    ("delivery_times", "logistics", "sam@shop.example", "2026-02-01", "carrier:string country:string days_median:decimal",
     "How long parcels take, by carrier and country.", "report"),
    ("campaigns", "marketing", "lou@shop.example", "2025-11-20", "id:string channel:string budget:decimal",
     "What is advertised where, and for how much.", "raw"),
    ("attribution", "marketing", "lou@shop.example", "2026-01-20", "order_id:int campaign_id:string weight:decimal",
     "Which campaign brought which order.", "model"),
    ("newsletter_list", "marketing", "lou@shop.example", "2025-11-20", "email:string subscribed_at:timestamp",
     "Who receives the newsletter.", "pii"),
    ("churn_score", "science", "ida@shop.example", "2026-02-15", "customer_id:int score:decimal",
     "How likely each customer is to leave.", "model pii"),
    ("recommendations", "science", "ida@shop.example", "2026-04-02", "customer_id:int sku:string rank:int",
     "What to show to whom.", "model"),
]  # fmt: skip

# name at first, instant, what changed
UPDATED: list[tuple[str, str, dict[str, Any]]] = [
    ("orders", "2026-01-15", {"schema": "id:int customer_id:int placed_at:timestamp amount:decimal currency:string",
                              "version": "1.1.0"}),
    ("customer_accounts", "2026-02-10", {"name": "customers", "version": "2.0.0"}),
    ("customer_accounts", "2026-05-04", {"schema": "id:int email:string consent:boolean", "version": "2.1.0"}),
    ("customer_accounts", "2026-08-17", {"owner": "bo@shop.example"}),
    ("payments", "2026-03-20", {"tags": ["raw", "pci", "core"], "version": "1.1.0"}),
    ("revenue_daily", "2026-04-01", {"schema": "day:date currency:string revenue:decimal", "version": "2.0.0"}),
    ("revenue_daily", "2026-06-01", {"description": "Revenue of each day and currency, refunds taken off."}),
    ("conversion_funnel", "2026-06-15", {"status": "DEPRECATED"}),
    ("newsletter_list", "2026-05-25", {"owner": "bo@shop.example", "domain": "sales"}),
    ("delivery_times", "2026-07-01", {"version": "1.1.0", "description": "How long parcels take, by carrier and weight."}),
    ("attribution", "2026-07-09", {"version": "2.0.0-rc.1"}),
    ("attribution", "2026-08-09", {"version": "2.0.0"}),
    ("churn_score", "2026-09-01", {"status": "INACTIVE"}),
    # reported in October, true since March
    ("shipments", "2026-03-05", {"owner": "kim@shop.example"}),
]  # fmt: skip

DELETED = [("revenue_forecast", "2026-09-15"), ("newsletter_list", "2026-10-01")]

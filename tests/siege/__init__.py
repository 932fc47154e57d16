"""The standing attack: every hostile kind beside polite tenants."""

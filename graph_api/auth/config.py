"""Configuration of authentication."""

from dataclasses import dataclass, field

from graph_api.auth.tokens import TrustedIssuer


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Secret of API keys, issuer of accepted tokens, and the seconds for which keys and tenants are cached."""

    key_secret: str | None = field(default=None, repr=False)
    issuer: TrustedIssuer | None = None
    anonymous_introspection: bool = True
    cache_ttl: float = 1

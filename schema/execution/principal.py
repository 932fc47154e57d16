"""Principals: the authenticated caller of an operation."""

from dataclasses import dataclass, field

from db.author import Author
from db.tenancy.scope import WRITE_IN
from schema.language.scopes import Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """Caller of an operation: the tenant, the actor and the scopes."""

    tenant_id: int
    actor: str
    scopes: frozenset[Scope]
    # domains in which a principal without Scope.WRITE may write
    domains: frozenset[str] = frozenset()
    tenant: str = "default"
    # kind of credential, for the audit log
    credential: str = "none"
    # acts in a tenant other than the one the credential belongs to
    operator: bool = False

    # key under which admission slots and rates are counted: one API key, or all tokens of one subject
    rate_key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate_key", f"{self.credential} {self.actor}")

    @property
    def scope_names(self) -> list[str]:
        """Return the scopes as credentials name them."""
        general = [it.value for it in (Scope.READ, Scope.WRITE, Scope.ADMIN) if it in self.scopes]
        return general + [f"{WRITE_IN}{it}" for it in sorted(self.domains)]

    def holds(self, scope: str) -> bool:
        """True if the principal has a scope. The scope `write` includes every `write:` with a domain."""
        return scope in self.scope_names or (scope.startswith(WRITE_IN) and Scope.WRITE in self.scopes)

    def author(self, request_id: str, operation: str) -> Author:
        """Return the author of what an operation of this principal writes."""
        domains = None if Scope.WRITE in self.scopes else self.domains
        return Author(self.actor, request_id, operation, self.credential, self.operator, domains)

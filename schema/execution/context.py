"""What every resolver of one operation stands in: who asks, the transaction, the loaders."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import strawberry

from db.author import Author
from db.tenancy.api_key import KeySigner
from db.tenancy.scope import WRITE_IN
from schema.language.cost import CostMeter
from schema.language.limits import Limits
from schema.language.scopes import Scope

if TYPE_CHECKING:
    from schema.execution.external_record import PendingRecord
    from schema.execution.loading import Loaders
    from schema.execution.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, in which tenant, and what they may do."""

    tenant_id: int
    actor: str
    scopes: frozenset[Scope]
    # where they may write who may not write anywhere
    domains: frozenset[str] = frozenset()
    tenant: str = "default"
    # what they came with, as the audit has it
    credential: str = "none"
    # whether they act in a tenant that is not their own
    operator: bool = False

    @property
    def who(self) -> str:
        """By whom places and rates are counted: a key is one, and of tokens whoever they speak of."""
        return f"{self.credential} {self.actor}"

    @property
    def given(self) -> list[str]:
        """The scopes as they are given to credentials."""
        plain = [it.value for it in (Scope.READ, Scope.WRITE, Scope.ADMIN) if it in self.scopes]
        return plain + [f"{WRITE_IN}{it}" for it in sorted(self.domains)]

    def holds(self, scope: str) -> bool:
        """Whether what a scope allows is theirs. Who may write anywhere may write in any domain."""
        return scope in self.given or (scope.startswith(WRITE_IN) and Scope.WRITE in self.scopes)

    def author(self, request_id: str, operation: str) -> Author:
        """Who writes, on this behalf."""
        domains = None if Scope.WRITE in self.scopes else self.domains
        return Author(self.actor, request_id, operation, self.credential, self.operator, domains)


@dataclass(slots=True)
class Context:
    """One attempt at one operation. Nothing in it outlives the attempt."""

    principal: Principal
    request_id: str
    limits: Limits
    seal: KeySigner
    transaction: "Transaction"
    loaders: "Loaders"
    records: "list[PendingRecord]" = field(default_factory=list)
    spent: CostMeter = field(default_factory=CostMeter)


Info = strawberry.Info[Context, None]

"""What every resolver of one operation stands in: who asks, the transaction, the loaders."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import strawberry

from schema.cost import Spent
from schema.limits import Limits
from schema.scope import Scope

if TYPE_CHECKING:
    from schema.loaders import Loaders
    from schema.record import Asked
    from schema.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, in which tenant, and what they may do."""

    tenant_id: int
    actor: str
    scopes: frozenset[Scope]


@dataclass(slots=True)
class Context:
    """One attempt at one operation. Nothing in it outlives the attempt."""

    principal: Principal
    request_id: str
    limits: Limits
    transaction: "Transaction"
    loaders: "Loaders"
    records: "list[Asked]" = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)


Info = strawberry.Info[Context, None]

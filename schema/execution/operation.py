"""Stages of an operation: requested, prepared, ready to be executed, and answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from graphql import DocumentNode, GraphQLError
from graphql.execution.values import VariableValues

from db.errors import Forbidden, HeadwaterError, Unauthenticated
from db.lineage.figures import Figures
from schema.execution.document import DocumentOperation, PreparedDocument
from schema.execution.principal import Principal
from schema.language.cost_estimator import CostEstimate
from schema.language.errors import describe, graphql_error
from schema.language.scopes import Scope, scope_label
from schema.planning.cache import PlannedOperation
from schema.planning.plan import Plan
from schema.planning.planner import conditions_of


class Request(NamedTuple):
    """GraphQL request: a document by its text, or else by its id."""

    query: str | None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    # header of the caller, forwarded to services that are configured to receive it
    authorization: str | None = None
    # the response shall report the resources that the request used
    wants_resources: bool = False
    traceparent: str | None = None
    # HASH_PREFIX and the hash of the text, or the id of a registered document
    document_id: str = ""


@dataclass(slots=True)
class OperationCost:
    """Cost of an operation: estimated, actual and the limit."""

    requested: int
    actual: int
    limit: int


class Response(NamedTuple):
    """Result of a request. If nothing `ran`, the response has no data, which differs from data of null."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    ran: bool
    operation: str = ""
    resources: dict[str, Any] | None = None
    # None: the request was refused before its cost was estimated
    cost: OperationCost | None = None


class Execution(NamedTuple):
    """The plan of an operation, if it is kept or compiled, and its variables, or their errors."""

    planned: PlannedOperation | None
    variables: VariableValues | None
    errors: Sequence[GraphQLError] = ()

    @property
    def plan(self) -> Plan | None:
        """None: graphql-core has to execute the operation."""
        assert self.planned is not None, "an operation is planned before it runs"
        return self.planned.plan


class PreparedOperation(NamedTuple):
    """Operation that is valid, authorized and within the limits."""

    request: Request
    principal: Principal
    prepared_document: PreparedDocument
    operation: DocumentOperation
    estimate: CostEstimate
    execution: Execution
    # those that lowered the estimate
    figures: Figures | None = None
    # none are known yet, without which it would be refused, or be charged for more than it reads: the estimate is preliminary
    lacks_figures: bool = False

    @property
    def is_planned(self) -> bool:
        """False: its plan is not kept with the document, and has to be compiled."""
        return self.execution.planned is not None

    @property
    def plan_key(self) -> tuple[DocumentOperation, tuple[bool, ...]]:
        """Key of the plan: the operation, and the values of its variables in @skip and @include."""
        assert self.execution.variables is not None, "without variables there is no plan"
        names = self.prepared_document.plans.conditions(self.operation.node, self.document)
        return self.operation, tuple(conditions_of(names, self.execution.variables).values())

    def with_plan(self, planned: PlannedOperation) -> Self:
        """Return the operation with its plan. One that is not kept costs its fields."""
        estimate = self.estimate._replace(requested=self.estimate.requested + planned.cost)
        return self._replace(estimate=estimate, execution=self.execution._replace(planned=planned))

    @property
    def document(self) -> DocumentNode:
        return self.prepared_document.document

    @property
    def writes(self) -> bool:
        return self.operation.writes

    @property
    def uses_database(self) -> bool:
        return self.operation.uses_database


def denied(principal: Principal, coordinate: str, scope: Scope) -> Response:
    """Return the response to a principal without a scope: authenticate, if it is anonymous."""
    error: HeadwaterError
    if Scope.SELF in principal.scopes:
        error = Forbidden(f"{coordinate} requires {scope_label(scope)}, which the credentials of this request do not have.")
    else:
        error = Unauthenticated(
            f"{coordinate} requires authentication. Send an API key as X-API-Key, or a key or token as Authorization: Bearer."
        )
    return refused([graphql_error(error)])


def refused(errors: list[GraphQLError], document: DocumentNode | None = None) -> Response:
    """Return the response to a request of which nothing runs."""
    return Response(None, [describe(error, document) for error in errors], ran=False)

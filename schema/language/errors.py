"""Errors of a response: a message, a path, a stable code and the field at fault. Never SQL, never a traceback."""

import re
from collections.abc import Iterable
from typing import Any

import structlog
from graphql import ArgumentNode, DocumentNode, FieldNode, GraphQLError, Node, ObjectFieldNode, Visitor, visit

from db.errors import BadInput, HeadwaterError, Unavailable

INTERNAL = "Internal error. Quote the requestId when you report it."

# How messages of graphql-core name the field at fault, and the position in a variable.
_NAMED_FIELD = re.compile(r"(?:(?:unknown|required) field '|Argument '[\w.]+\()(\w+)")
_NAMED_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ([\w.\[\]]+):)?")

log = structlog.get_logger("headwater.graphql")


def describe(error: GraphQLError, document: DocumentNode | None = None, *, may_read: bool = True) -> dict[str, Any]:
    """Return an error as the response contains it. Log an unexpected exception and return an internal error for it.

    A caller who may not read gets messages without anything stored.
    """
    cause = error_behind(error)
    if isinstance(cause, HeadwaterError):
        message, code, field = cause.message_for(may_read=may_read), cause.code, cause.field
    elif cause is None:
        message, code, field = error.message, BadInput.code, _field_at_fault(error, document)
    else:
        log.error("internal error", path=error.path, exc_info=cause)
        message, code, field = INTERNAL, "INTERNAL", None
    described: dict[str, Any] = {"message": message}
    if error.locations:
        described["locations"] = [{"line": it.line, "column": it.column} for it in error.locations]
    if error.path is not None:
        described["path"] = error.path
    described["extensions"] = {"code": code} if field is None else {"code": code, "field": field}
    return described


def log_unavailable(errors: Iterable[BaseException | None]) -> None:
    """Log why something was unavailable, once for each cause: a statement that failed can be the cause of many errors.

    The line names the type of the cause and its SQLSTATE, but not its message, which can hold what callers sent.
    """
    by_cause = {_root_cause(it): it for it in errors if isinstance(it, Unavailable) and it.__cause__ is not None}
    for cause, error in by_cause.items():
        log.warning("unavailable", reason=error.message, cause=type(cause).__name__, sqlstate=getattr(cause, "sqlstate", None))


def graphql_error(error: HeadwaterError) -> GraphQLError:
    """Return the error of a response for an error of Headwater."""
    return GraphQLError(error.message, original_error=error)


def code_of(error: GraphQLError) -> str:
    """Return the code that the response contains for an error."""
    cause = error_behind(error)
    if isinstance(cause, HeadwaterError):
        return cause.code
    return BadInput.code if cause is None else "INTERNAL"


def error_behind(error: GraphQLError) -> BaseException | None:
    """Return the exception behind an error; None: the request is at fault."""
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _field_at_fault(error: GraphQLError, document: DocumentNode | None) -> str | None:
    """Return the innermost input field or argument, or else the selected field, that an error of graphql-core is about."""
    if named := _NAMED_FIELD.search(error.message):
        return named[1]
    if variable := _NAMED_VARIABLE.match(error.message):
        return re.sub(r"\[\d+\]", "", variable[2] or "").rpartition(".")[2] or variable[1]
    if document is None or not error.nodes:
        return None
    node = error.nodes[0]
    if isinstance(node, FieldNode | ArgumentNode | ObjectFieldNode):
        return node.name.value
    finder = _EnclosingInput(node)
    visit(document, finder)
    return finder.name


class _EnclosingInput(Visitor):
    """Finds the innermost argument or input field that encloses a node."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self.name: str | None = None

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        self._visit(node)

    def enter_object_field(self, node: ObjectFieldNode, *_: Any) -> None:
        self._visit(node)

    def _visit(self, node: ArgumentNode | ObjectFieldNode) -> None:
        inner, outer = self._node.loc, node.loc
        if inner and outer and outer.start <= inner.start and inner.end <= outer.end:
            self.name = node.name.value

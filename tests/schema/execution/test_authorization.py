"""Authorization: the scopes that the fields of a document require are checked before the database is used."""

from collections.abc import Sequence
from typing import Any

import pytest

from db.author import Author
from db.database import Database
from db.registries import entity_type
from schema.execution.executor import Executor
from schema.execution.operation import PreparedOperation, Request, Response
from schema.execution.principal import Principal
from schema.language.scopes import Scope, parse_scopes, scope_label
from schema.root import schema
from tests.builders import CREATE_ENTITY, REGISTER, Statements, product_fields

# Operations, by the scope that they require.
OPERATIONS = {
    Scope.SCHEMA: [
        "{ __schema { queryType { name } } }",
        '{ __type(name: "Product") { name } }',
        "{ _service { sdl } }",
    ],
    Scope.SELF: ["{ viewer { tenant scopes limits { products { used } } } }"],
    Scope.READ: [
        "{ products { totalCount } }",
        '{ product(name: "orders") { name } }',
        '{ node(id: "x") { id } }',
        "{ entityTypes { nodes { code } } }",
        "{ domains { nodes { name } } }",
        "{ ...F } fragment F on Query { ... { lineageLinks { totalCount } } }",
        '{ _entities(representations: [{ __typename: "Product", name: "orders" }]) { __typename } }',
        "query ($no: Boolean = false) { products @include(if: $no) { totalCount } }",
    ],
    Scope.DOMAIN: [
        'mutation { deleteProduct(input: { product: { name: "x" } }) { __typename } }',
        "mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { __typename } }",
        'mutation { restoreEntity(input: { entity: { uid: "00000000-0000-0000-0000-000000000001" } }) { __typename } }',
        'mutation { removeLineage(input: { link: { uid: "00000000-0000-0000-0000-000000000001" } }) { __typename } }',
        "mutation ($input: UpdateLineageInput!) { updateLineage(input: $input) { __typename } }",
        "mutation ($input: RestoreLineageInput!) { restoreLineage(input: $input) { __typename } }",
        "mutation ($input: UpdateRelationshipInput!) { updateRelationship(input: $input) { __typename } }",
        "mutation ($input: UnrelateInput!) { ...F } fragment F on Mutation { unrelate(input: $input) { __typename } }",
    ],
    Scope.WRITE: [
        'mutation { putEntityType(input: { code: "BANK", label: "Bank", domain: "sales" }) { __typename } }',
        'mutation { removeEntityType(input: { code: "BANK" }) { __typename } }',
        'mutation { putDetailType(input: { code: "note", label: "Note" }) { __typename } }',
        'mutation { removeRelationshipType(input: { code: "A b C" }) { __typename } }',
    ],
    Scope.ADMIN: [
        "{ keys { nodes { prefix } pageInfo { hasNextPage } totalCount } }",
        'mutation { createKey(input: { label: "mine", scopes: ["read"] }) { __typename } }',
        'mutation { revokeKey(input: { prefix: "hw_1_abc" }) { __typename } }',
    ],
}

AUTHENTICATED = {Scope.SCHEMA, Scope.SELF}
# Scope names of a key, or None without a key, and the scopes that they grant.
PRINCIPALS: dict[str, tuple[Sequence[str] | None, set[Scope]]] = {
    "anonymous": (None, set()),
    "unknown scopes": (["nonsense", "schema", "domain", "self"], AUTHENTICATED),
    "read": (["read"], {*AUTHENTICATED, Scope.READ}),
    "write": (["write"], {*AUTHENTICATED, Scope.DOMAIN, Scope.WRITE}),
    "write in sales": (["write:sales"], {*AUTHENTICATED, Scope.DOMAIN}),
    "admin": (["admin"], {*AUTHENTICATED, Scope.ADMIN}),
    "read, and write in sales": (["read", "write:sales"], {*AUTHENTICATED, Scope.READ, Scope.DOMAIN}),
    "all": (["read", "write", "admin"], set(Scope)),
}


def principal(scopes: Sequence[str] | None) -> Principal:
    """Build the principal of a key with these scopes, or the anonymous one."""
    if scopes is None:
        return Principal(0, "anonymous", frozenset(), tenant="")
    granted, domains = parse_scopes(scopes)
    return Principal(1, "tester", granted, domains)


def code(response: Response) -> Any:
    assert len(response.errors) == 1
    return response.errors[0]["extensions"]["code"]


@pytest.mark.parametrize("name", PRINCIPALS)
async def test_a_missing_scope_is_refused_before_any_statement(database: Database, statements: Statements, name: str) -> None:
    executor = Executor(schema, database)
    scopes, granted = PRINCIPALS[name]
    caller = principal(scopes)
    for required, queries in OPERATIONS.items():
        for query in queries:
            prepared = executor.prepare(Request(query, {}), caller)
            if required in granted:
                assert isinstance(prepared, PreparedOperation), (query, prepared)
                continue
            assert isinstance(prepared, Response), query
            # an anonymous caller can authenticate; one with a key needs another key
            assert code(prepared) == ("UNAUTHENTICATED" if scopes is None else "FORBIDDEN")
            assert prepared.data is None
            assert not prepared.ran
            message = prepared.errors[0]["message"]
            assert (scope_label(required) if scopes is not None else "Send an API key") in message
            executed = await executor.execute(Request(query, {}), caller, "request")
            assert (executed.errors, executed.ran) == (prepared.errors, False)
    assert len(statements) == 0


def test_a_document_of_a_caller_without_the_schema_scope_is_not_parsed(database: Database) -> None:
    """It does not wait for a parsing slot either: the wait would reveal which documents are cached."""
    executor, request = Executor(schema, database), Request("{ not_cached: __typename }")
    assert isinstance(executor.prepare_known(request, principal(None)), Response)
    assert isinstance(executor.prepare(request, principal(None)), Response)
    assert executor.prepare_known(request, principal(["read"])) is None


def test_every_mutation_requires_a_scope_that_allows_writing(database: Database) -> None:
    """Covers mutations that are added later."""
    executor = Executor(schema, database)
    mutation = schema._schema.mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        input_ = str(field.args["input"].type)
        query = f"mutation ($input: {input_}) {{ {name}(input: $input) {{ __typename }} }}"
        refused = executor.prepare(Request(query, {}), principal(["read"]))
        assert isinstance(refused, Response), name
        assert (code(refused), name in refused.errors[0]["message"]) == ("FORBIDDEN", True)


@pytest.mark.parametrize(("scopes", "reads"), [(["write"], False), (["write:sales"], False), (["read", "write"], True)])
async def test_a_writer_without_the_read_scope_cannot_read_the_payload(
    database: Database, statements: Statements, scopes: list[str], reads: bool
) -> None:
    executor = Executor(schema, database)
    variables = {"input": product_fields()}
    response = await executor.execute(Request(REGISTER, variables), principal(scopes), "request")
    if reads:
        assert response.errors == []
    else:
        assert (code(response), len(statements)) == ("FORBIDDEN", 0)


async def test_a_write_outside_the_domains_of_the_principal_is_refused(database: Database) -> None:
    async with database.transaction(1, Author("setup")) as connection:
        await entity_type.put(connection, "SHOP", "Shop", "sales")
        await entity_type.put(connection, "BANK", "Bank", "finance")
    executor = Executor(schema, database)
    sales = principal(["read", "write:sales"])

    async def write(query: str, **values: Any) -> list[Any]:
        response = await executor.execute(Request(query, {"input": values}), sales, "request")
        return [it["extensions"]["code"] for it in response.errors]

    def entity(type_: str) -> dict[str, Any]:
        return {"type": type_, "key": "1", "displayName": "One", "details": []}

    assert await write(REGISTER, **product_fields()) == []
    assert await write(REGISTER, **product_fields("ledger", domain="finance")) == ["FORBIDDEN"]
    assert await write(CREATE_ENTITY, **entity("SHOP")) == []
    assert await write(CREATE_ENTITY, **entity("BANK")) == ["FORBIDDEN"]
    # the type cannot be moved into the domain either
    put = "mutation ($input: PutEntityTypeInput!) { putEntityType(input: $input) { entityType { code } } }"
    assert await write(put, code="BANK", label="Bank", domain="sales") == ["FORBIDDEN"]


async def test_resource_tracking_requires_the_admin_scope(database: Database, statements: Statements) -> None:
    executor = Executor(schema, database)
    request = Request("{ products { totalCount } }", wants_resources=True)
    refused = executor.prepare(request, principal(["read", "write"]))
    assert isinstance(refused, Response)
    assert code(refused) == "FORBIDDEN"
    response = await executor.execute(request, principal(["read", "admin"]), "request")
    assert response.resources is not None
    assert response.resources["statements"] == len(statements)


async def test_only_the_operation_that_runs_is_authorized(database: Database) -> None:
    executor = Executor(schema, database)
    both = 'query A { products { totalCount } } mutation B { removeEntityType(input: { code: "X" }) { __typename } }'
    reader = principal(["read"])
    assert isinstance(executor.prepare(Request(both, {}, "A"), reader), PreparedOperation)
    assert isinstance(executor.prepare(Request(both, {}, "B"), reader), Response)
    # the cached scopes of one operation are not used for the other
    assert isinstance(executor.prepare(Request(both, {}, "A"), reader), PreparedOperation)


@pytest.mark.parametrize(
    ("names", "granted", "domains"),
    [
        ([], [], []),
        (["read"], ["read"], []),
        (["write"], ["write", "domain"], []),
        (["write:sales", "write:a:b"], ["domain"], ["sales", "a:b"]),
        (["admin"], ["admin"], []),
        (["domain", "self", "schema", "READ", "read ", "write;", "*"], [], []),
    ],
)
def test_scope_names_grant_their_scopes_and_no_others(names: list[str], granted: list[str], domains: list[str]) -> None:
    assert parse_scopes(names) == (frozenset({Scope.SCHEMA, Scope.SELF, *map(Scope, granted)}), frozenset(domains))


def test_the_domains_of_an_author_follow_from_the_scopes() -> None:
    for scopes, domains in (
        (["write"], None),
        (["write", "write:sales"], None),
        (["write:sales"], {"sales"}),
        (["read", "admin"], set()),
    ):
        assert principal(scopes).author("request", "write").domains == domains


def test_these_tests_cover_every_scope() -> None:
    assert OPERATIONS.keys() == set(Scope)

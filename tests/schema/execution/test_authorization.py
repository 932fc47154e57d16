"""Who may ask for what: seen in the document, by what each field declares, before anything is asked of the database."""

from collections.abc import Sequence
from typing import Any

import pytest

from db.author import Author
from db.database import Database
from db.registries import entity_type
from schema.execution.executor import Executor, PreparedOperation, Request, Response
from schema.execution.principal import Principal
from schema.language.scopes import Scope, parse_scopes, scope_label
from schema.root import schema
from tests.builders import CREATE_ENTITY, REGISTER, Statements, product_fields

# What is asked, by what it needs.
ASKED = {
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
        "{ entityTypes { code } }",
        "{ domains { name } }",
        "{ ...F } fragment F on Query { ... { lineageLinks { totalCount } } }",
        '{ _entities(representations: [{ __typename: "Product", name: "orders" }]) { __typename } }',
        "query ($no: Boolean = false) { products @include(if: $no) { totalCount } }",
    ],
    Scope.DOMAIN: [
        'mutation { deleteProduct(input: { uid: "00000000-0000-0000-0000-000000000001" }) { __typename } }',
        "mutation ($input: RegisterProductInput!) { registerProduct(input: $input) { __typename } }",
        'mutation { restoreEntity(input: { uid: "00000000-0000-0000-0000-000000000001" }) { __typename } }',
        'mutation { removeLineage(input: { uid: "00000000-0000-0000-0000-000000000001" }) { __typename } }',
        "mutation ($input: DeleteInput!) { ...F } fragment F on Mutation { unrelate(input: $input) { __typename } }",
    ],
    Scope.WRITE: [
        'mutation { putEntityType(input: { code: "BANK", label: "Bank", domain: "sales" }) { __typename } }',
        'mutation { removeEntityType(input: { code: "BANK" }) { __typename } }',
        'mutation { putDetailType(input: { code: "note", label: "Note" }) { __typename } }',
        'mutation { removeRelationshipType(input: { code: "A b C" }) { __typename } }',
    ],
    Scope.ADMIN: [
        "{ keys { prefix } }",
        'mutation { createKey(input: { label: "mine", scopes: ["read"] }) { __typename } }',
        'mutation { revokeKey(input: { prefix: "hw_1_abc" }) { __typename } }',
    ],
}

KNOWN = {Scope.SCHEMA, Scope.SELF}
# Who comes, and what of it they may ask.
WHO: dict[str, tuple[Sequence[str] | None, set[Scope]]] = {
    "nobody, where nobody may see the schema": (None, set()),
    "a key for nothing known": (["nonsense", "schema", "domain", "self"], KNOWN),
    "read": (["read"], {*KNOWN, Scope.READ}),
    "write": (["write"], {*KNOWN, Scope.DOMAIN, Scope.WRITE}),
    "write in sales": (["write:sales"], {*KNOWN, Scope.DOMAIN}),
    "admin": (["admin"], {*KNOWN, Scope.ADMIN}),
    "read, and write in sales": (["read", "write:sales"], {*KNOWN, Scope.READ, Scope.DOMAIN}),
    "all": (["read", "write", "admin"], set(Scope)),
}


def principal(scopes: Sequence[str] | None) -> Principal:
    """Who comes with a key of such scopes; without one, nobody."""
    if scopes is None:
        return Principal(0, "anonymous", frozenset(), tenant="")
    allowed, domains = parse_scopes(scopes)
    return Principal(1, "tester", allowed, domains)


def code(response: Response) -> Any:
    assert len(response.errors) == 1
    return response.errors[0]["extensions"]["code"]


@pytest.mark.parametrize("who", WHO)
async def test_what_is_not_granted_is_refused_before_a_statement_is_run(
    database: Database, statements: Statements, who: str
) -> None:
    executor = Executor(schema, database)
    scopes, may = WHO[who]
    asking = principal(scopes)
    for needed, queries in ASKED.items():
        for query in queries:
            prepared = executor.prepare(Request(query, {}), asking)
            if needed in may:
                assert isinstance(prepared, PreparedOperation), (query, prepared)
                continue
            assert isinstance(prepared, Response), query
            # nobody may come with a key; whoever has come with one needs another
            assert code(prepared) == ("UNAUTHENTICATED" if scopes is None else "FORBIDDEN")
            assert prepared.data is None
            assert not prepared.ran
            message = prepared.errors[0]["message"]
            assert (scope_label(needed) if scopes is not None else "Send an API key") in message
            executed = await executor.execute(Request(query, {}), asking, "request")
            assert (executed.errors, executed.ran) == (prepared.errors, False)
    assert len(statements) == 0


def test_for_who_may_not_see_the_schema_no_document_is_read(database: Database) -> None:
    """Nor does it wait for its turn to be read, by which it could tell what others have sent."""
    executor, request = Executor(schema, database), Request("{ is_new_subject: __typename }")
    assert not executor.needs_parsing(request, principal(None))
    assert isinstance(executor.prepare(request, principal(None)), Response)
    assert executor.needs_parsing(request, principal(["read"]))


def test_everything_that_changes_something_needs_a_scope_that_writes(database: Database) -> None:
    """Whatever is added to mutations later: none runs for whoever may only read."""
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
async def test_who_may_write_and_not_read_is_told_nothing_of_what_was_written(
    database: Database, statements: Statements, scopes: list[str], reads: bool
) -> None:
    executor = Executor(schema, database)
    given = {"input": product_fields()}
    response = await executor.execute(Request(REGISTER, given), principal(scopes), "request")
    if reads:
        assert response.errors == []
    else:
        assert (code(response), len(statements)) == ("FORBIDDEN", 0)


async def test_where_one_writes_is_seen_when_it_is_written(database: Database) -> None:
    async with database.transaction(1, Author("setup")) as connection:
        await entity_type.put(connection, "SHOP", "Shop", "sales")
        await entity_type.put(connection, "BANK", "Bank", "finance")
    executor = Executor(schema, database)
    sales = principal(["read", "write:sales"])

    async def write(query: str, **given: Any) -> list[Any]:
        response = await executor.execute(Request(query, {"input": given}), sales, "request")
        return [it["extensions"]["code"] for it in response.errors]

    def entity(type_: str) -> dict[str, Any]:
        return {"type": type_, "key": "1", "displayName": "One", "details": []}

    assert await write(REGISTER, **product_fields()) == []
    assert await write(REGISTER, **product_fields("ledger", domain="finance")) == ["FORBIDDEN"]
    assert await write(CREATE_ENTITY, **entity("SHOP")) == []
    assert await write(CREATE_ENTITY, **entity("BANK")) == ["FORBIDDEN"]
    # nor by making the type one's own
    put = "mutation ($input: PutEntityTypeInput!) { putEntityType(input: $input) { entityType { code } } }"
    assert await write(put, code="BANK", label="Bank", domain="sales") == ["FORBIDDEN"]


async def test_what_an_operation_took_is_told_to_an_admin_only(database: Database, statements: Statements) -> None:
    executor = Executor(schema, database)
    asked = Request("{ products { totalCount } }", wants_resources=True)
    refused = executor.prepare(asked, principal(["read", "write"]))
    assert isinstance(refused, Response)
    assert code(refused) == "FORBIDDEN"
    response = await executor.execute(asked, principal(["read", "admin"]), "request")
    assert response.resources is not None
    assert response.resources["statements"] == len(statements) + 1


async def test_of_several_operations_only_the_one_that_is_run_has_to_be_granted(database: Database) -> None:
    executor = Executor(schema, database)
    both = 'query A { products { totalCount } } mutation B { removeEntityType(input: { code: "X" }) { __typename } }'
    reader = principal(["read"])
    assert isinstance(executor.prepare(Request(both, {}, "A"), reader), PreparedOperation)
    assert isinstance(executor.prepare(Request(both, {}, "B"), reader), Response)
    # what one was found to need is not taken for what the other does
    assert isinstance(executor.prepare(Request(both, {}, "A"), reader), PreparedOperation)


@pytest.mark.parametrize(
    ("given", "allowed", "domains"),
    [
        ([], [], []),
        (["read"], ["read"], []),
        (["write"], ["write", "domain"], []),
        (["write:sales", "write:a:b"], ["domain"], ["sales", "a:b"]),
        (["admin"], ["admin"], []),
        (["domain", "self", "schema", "READ", "read ", "write;", "*"], [], []),
    ],
)
def test_scopes_grant_what_they_say_and_nothing_else(given: list[str], allowed: list[str], domains: list[str]) -> None:
    assert parse_scopes(given) == (frozenset({Scope.SCHEMA, Scope.SELF, *map(Scope, allowed)}), frozenset(domains))


def test_who_may_write_anywhere_is_bound_to_no_domain_and_who_may_not_write_to_none_at_all() -> None:
    for scopes, domains in (
        (["write"], None),
        (["write", "write:sales"], None),
        (["write:sales"], {"sales"}),
        (["read", "admin"], set()),
    ):
        assert principal(scopes).author("request", "write").domains == domains


def test_every_scope_is_asked_for_here() -> None:
    assert ASKED.keys() == set(Scope)

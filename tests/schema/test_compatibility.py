import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from graphql import build_client_schema, get_introspection_query, print_schema

from db.errors import BadInput
from graph_api.cli import app
from schema.compatibility import Effect, announced_in, changes_between
from schema.root import schema
from tests.builders import Api

BREAKING, DANGEROUS, COMPATIBLE = Effect.BREAKING, Effect.DANGEROUS, Effect.COMPATIBLE
EARLIER = """
schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"]) { query: Query mutation: Mutation }
type Mutation { do: Int }
type Query {
  pages(first: Int! = 5): Int product(name: String!, like: String): Product @cost(weight: 10) products(by: By): [Product!]! }
type Product @key(fields: "id") @key(fields: "name") @tag(name: "read") {
  id: ID! name: String! status: Status owner: String @tag(name: "read")
}
type Page @shareable { next: String }
enum Status { ACTIVE ENDED }
input By { id: ID name: String size: Int! = 5 }
input Ref @oneOf { id: ID }
"""


@pytest.mark.parametrize(
    ("was", "becomes", "effect", "coordinate", "told"),
    [
        # what may be asked, and what is answered
        (" owner: String ", " ", BREAKING, "Product.owner", "removed"),
        (" owner: String ", " owner: Int ", BREAKING, "Product.owner", "String to Int"),
        ("name: String! status", "name: String status", BREAKING, "Product.name", "String! to String"),
        (" ENDED", " ", BREAKING, "Status.ENDED", "removed"),
        ("type Page @shareable { next: String }", "", BREAKING, "Page", "removed"),
        (", like: String", "", BREAKING, "Query.product(like:)", "removed"),
        (", like: String", ", like: String!", BREAKING, "Query.product(like:)", "String to String!"),
        (", like: String", ", like: String, at: Int!", BREAKING, "Query.product(at:)", "required"),
        (" id: ID name", " id: ID! name", BREAKING, "By.id", "ID to ID!"),
        (" ENDED", " ENDED DRAFT", DANGEROUS, "Status.DRAFT", "added"),
        (", like: String", ', like: String = "x"', COMPATIBLE, "Query.product(like:)", "added a default"),
        (", like: String", ", like: String, at: Int", DANGEROUS, "Query.product(at:)", "optional"),
        ("next: String", "next: String last: String", COMPATIBLE, "Page.last", "added"),
        ("next: String", 'next: String @deprecated(reason: "x")', COMPATIBLE, "Page.next", "gained @deprecated"),
        # what gateways go by
        (' @key(fields: "name")', "", BREAKING, "Product", 'lost @key(fields: "name")'),
        ('@key(fields: "name")', '@key(fields: "name status")', BREAKING, "Product", 'lost @key(fields: "name")'),
        ('@key(fields: "name")', '@key(fields: "name") @key(fields: "owner")', COMPATIBLE, "Product", "gained @key"),
        (" owner: String ", " owner: String @inaccessible ", BREAKING, "Product.owner", "gained @inaccessible"),
        ("like: String", "like: String @inaccessible", BREAKING, "Query.product(like:)", "gained @inaccessible"),
        (" ENDED", " ENDED @inaccessible", BREAKING, "Status.ENDED", "gained @inaccessible"),
        ("Page @shareable", "Page", BREAKING, "Page", "lost @shareable"),
        ("input By", "input By @oneOf", BREAKING, "By", "gained @oneOf"),
        ("input Ref @oneOf", "input Ref", COMPATIBLE, "Ref", "lost @oneOf"),
        (' @tag(name: "read") {', " {", DANGEROUS, "Product", 'lost @tag(name: "read")'),
        ("type Page", 'type Page @tag(name: "x")', COMPATIBLE, "Page", "gained @tag"),
        ("weight: 10", "weight: 50", DANGEROUS, "Query.product", "@cost(weight: 50) in place of @cost(weight: 10)"),
        ("v2.9", "v2.12", DANGEROUS, "schema", "v2.9"),
        ('@link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])', "", BREAKING, "schema", "lost @link"),
        ("type Page", "type Page @interfaceObject", BREAKING, "Page", "gained @interfaceObject"),
        # what could be left out
        ("first: Int! = 5", "first: Int!", BREAKING, "Query.pages(first:)", "defaultValue"),
        ("size: Int! = 5", "size: Int!", BREAKING, "By.size", "defaultValue"),
        ("size: Int! = 5", "size: Int! = 6", DANGEROUS, "By.size", "defaultValue"),
        ("query: Query mutation: Mutation", "query: Query", BREAKING, "schema", "no type in place of Mutation"),
    ],
)
def test_a_change_is_named_by_its_coordinate_and_for_what_it_breaks(
    was: str, becomes: str, effect: Effect, coordinate: str, told: str
) -> None:
    assert EARLIER.count(was) == 1
    changes = changes_between(EARLIER, EARLIER.replace(was, becomes))
    assert (changes[0].effect, changes[0].coordinate) == (effect, coordinate)
    assert told in changes[0].description


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("", '"Described."'),
        ("@shareable { next", '@shareable { "Described." next'),
        ('["@key"]', '["@key", "@tag"]'),
        ('@key(fields: "id") @key(fields: "name")', '@key(fields:  "name") @key(fields: "id")'),
        ("{ id: ID name: String size", "{ name: String id: ID size"),
        ('@key(fields: "id")', '@key(fields: " id ", resolvable: true)'),
    ],
)
def test_what_promises_nothing_may_change(was: str, becomes: str) -> None:
    assert changes_between(EARLIER, EARLIER.replace(was, becomes, 1)) == []


def test_what_goes_is_told_once_whatever_was_said_of_it() -> None:
    (change,) = changes_between(EARLIER, EARLIER.replace("type Page @shareable { next: String }", ""))
    assert change.coordinate == "Page"


def test_what_breaks_comes_first() -> None:
    later = EARLIER.replace("weight: 10", "weight: 50").replace(" ENDED", " DRAFT").replace("next:", "last: String next:")
    effects = [it.effect for it in changes_between(EARLIER, later)]
    assert effects == [BREAKING, DANGEROUS, DANGEROUS, COMPATIBLE]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("type {", "line 1"),
        ("type A { b: C }", "Unknown type: 'C'"),
        ("type A { b: Int }", "no type Query"),
        ("{ products { totalCount } }", "neither SDL nor the JSON"),
        ("query Q { products { totalCount } }", "an operation"),
        ("", "."),
        ('{"data": {}}', "introspection"),
        ("[1]", "."),
    ],
)
def test_what_is_no_schema_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        changes_between(text, EARLIER)


async def test_a_copy_from_introspection_is_compared_for_what_clients_go_by(api: Api, tmp_path: Path) -> None:
    copy = {"data": (await api(get_introspection_query(descriptions=False))).data}
    for text in (json.dumps(copy), print_schema(build_client_schema(copy["data"]))):
        assert compare(tmp_path, text) == (0, "No differences.\n")
        ended, told = compare(tmp_path, text.replace("totalCount", "sum"))
        assert ended == 1
        assert "Field ProductConnection.sum was removed." in told


def test_a_change_does_not_announce_that_something_goes(tmp_path: Path) -> None:
    changelog = "## [Unreleased]\n### Changed\n- `Query.gone` is described better.\n"
    more = schema.as_str().replace("type Query {", "type Query {\n  gone: Int", 1)
    assert compare(tmp_path, more, changelog)[0] == 1


def test_a_changelog_announces_what_its_next_release_changes_or_removes() -> None:
    changelog = """# Changelog
## [Unreleased]
### Added
- `Query.added`
### Changed
- `Query.product(like:)` and
  `Status.ENDED`.
<!-- - `Status` -->
### Removed
```
`Product`
```
- `Page`.
### Fixed
- `Query.fixed`
## [0.1.0]
### Removed
- `Query.before`
"""
    announced = announced_in(changelog)
    assert announced["Changed"] == {"Query.product(like:)", "Status.ENDED"}
    assert announced["Removed"] == {"Page"}
    assert announced_in("# Changelog\n") == {}


def compare(tmp_path: Path, earlier: str, changelog: str | None = None) -> tuple[int, str]:
    (tmp_path / "earlier.graphql").write_text(earlier)
    arguments = ["schema", "--since", str(tmp_path / "earlier.graphql")]
    if changelog is not None:
        (tmp_path / "changes.md").write_text(changelog)
        arguments += ["--announced", str(tmp_path / "changes.md")]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_the_command_ends_with_1_when_something_breaks_that_was_not_announced(tmp_path: Path) -> None:
    now = schema.as_str()
    assert compare(tmp_path, now) == (0, "No differences.\n")
    more = now.replace("type Query {", "type Query {\n  gone: Int\n  lost: Int", 1)
    gone, lost = "  Field Query.gone was removed.\n", "  Field Query.lost was removed.\n"
    assert compare(tmp_path, more) == (1, f"Breaking:\n{gone}{lost}")
    changelog = "## [Unreleased]\n### Removed\n- `Query.gone`\n"
    assert compare(tmp_path, more, changelog) == (1, f"Breaking:\n{lost}Breaking, and announced:\n{gone}")
    changelog += "- `Query.lost`\n"
    assert compare(tmp_path, more, changelog) == (0, f"Breaking, and announced:\n{gone}{lost}")


def test_the_command_says_which_file_it_cannot_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["schema", "--since", str(tmp_path / "missing.graphql")])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'missing.graphql'} cannot be read: ")

"""Compatibility of schemas: effects and coordinates of changes, and the command that reports them."""

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
    ("old", "new", "effect", "coordinate", "difference"),
    [
        # types, fields, arguments and values
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
        # directives of gateways
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
        # defaults and root types
        ("first: Int! = 5", "first: Int!", BREAKING, "Query.pages(first:)", "defaultValue"),
        ("size: Int! = 5", "size: Int!", BREAKING, "By.size", "defaultValue"),
        ("size: Int! = 5", "size: Int! = 6", DANGEROUS, "By.size", "defaultValue"),
        ("query: Query mutation: Mutation", "query: Query", BREAKING, "schema", "no type in place of Mutation"),
    ],
)
def test_a_change_has_an_effect_and_a_coordinate(old: str, new: str, effect: Effect, coordinate: str, difference: str) -> None:
    assert EARLIER.count(old) == 1
    changes = changes_between(EARLIER, EARLIER.replace(old, new))
    assert (changes[0].effect, changes[0].coordinate) == (effect, coordinate)
    assert difference in changes[0].description


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", '"Described."'),
        ("@shareable { next", '@shareable { "Described." next'),
        ('["@key"]', '["@key", "@tag"]'),
        ('@key(fields: "id") @key(fields: "name")', '@key(fields:  "name") @key(fields: "id")'),
        ("{ id: ID name: String size", "{ name: String id: ID size"),
        ('@key(fields: "id")', '@key(fields: " id ", resolvable: true)'),
    ],
)
def test_a_change_without_meaning_is_not_reported(old: str, new: str) -> None:
    assert changes_between(EARLIER, EARLIER.replace(old, new, 1)) == []


def test_a_removed_type_is_reported_once() -> None:
    (change,) = changes_between(EARLIER, EARLIER.replace("type Page @shareable { next: String }", ""))
    assert change.coordinate == "Page"


def test_breaking_changes_come_first() -> None:
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
def test_an_invalid_schema_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        changes_between(text, EARLIER)


async def test_a_copy_made_by_introspection_is_compared_without_federation(api: Api, tmp_path: Path) -> None:
    copy = {"data": (await api(get_introspection_query(descriptions=False))).data}
    for text in (json.dumps(copy), print_schema(build_client_schema(copy["data"]))):
        assert compare(tmp_path, text) == (0, "No differences.\n")
        exit_code, output = compare(tmp_path, text.replace("totalCount", "sum"))
        assert exit_code == 1
        assert "Field ProductConnection.sum was removed." in output


def test_a_removal_listed_under_changed_is_not_announced(tmp_path: Path) -> None:
    changelog = "## [Unreleased]\n### Changed\n- `Query.gone` is described better.\n"
    more = schema.as_str().replace("type Query {", "type Query {\n  gone: Int", 1)
    assert compare(tmp_path, more, changelog)[0] == 1


def test_announcements_are_read_from_the_next_release_of_a_changelog() -> None:
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


def test_the_command_exits_with_1_on_an_unannounced_breaking_change(tmp_path: Path) -> None:
    current = schema.as_str()
    assert compare(tmp_path, current) == (0, "No differences.\n")
    earlier = current.replace("type Query {", "type Query {\n  gone: Int\n  lost: Int", 1)
    gone, lost = "  Field Query.gone was removed.\n", "  Field Query.lost was removed.\n"
    assert compare(tmp_path, earlier) == (1, f"Breaking:\n{gone}{lost}")
    changelog = "## [Unreleased]\n### Removed\n- `Query.gone`\n"
    assert compare(tmp_path, earlier, changelog) == (1, f"Breaking:\n{lost}Breaking, and announced:\n{gone}")
    changelog += "- `Query.lost`\n"
    assert compare(tmp_path, earlier, changelog) == (0, f"Breaking, and announced:\n{gone}{lost}")


def test_the_command_names_a_file_that_it_cannot_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["schema", "--since", str(tmp_path / "missing.graphql")])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'missing.graphql'} cannot be read: ")

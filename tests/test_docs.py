"""The documentation is true: settings, commands, descriptions, scopes, links, and the answer of every example."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    build_schema,
    is_input_field,
    is_required_argument,
    is_required_input_field,
)
from strawberry.types.base import StrawberryObjectDefinition

from graph_api import demo
from graph_api.auth.remote_key_set import JwksSource
from graph_api.auth.tokens import TokenVerifier
from graph_api.cli import app
from graph_api.graphiql.examples import EXAMPLES
from graph_api.http.responses import STATUSES
from graph_api.records.configuration import Service
from graph_api.settings import Settings
from schema.language.fields import scope_of
from schema.language.scopes import ADMIN, READ, WRITE, parse_scopes
from schema.root import schema
from tests.builders import Api
from tests.graph_api.auth import issuer
from tests.graph_api.http.test_browsers import serving

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
# Lines of prose and of tables; code blocks may be longer.
LINE_LENGTH = 120
# Federation's own fields; its types begin with an underscore or contain two.
FEDERATION = {"_Any", "_Entity", "_Service", "_entities", "_service"}


def test_every_setting_is_documented_as_it_is() -> None:
    assert sorted(entries_in((ROOT / "docs/settings.md").read_text())) == sorted(
        (f"HEADWATER_{name.upper()}", "" if field.default is None else str(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    )


def entries_in(page: str) -> list[tuple[str, str, str]]:
    """Return name, default and description of each list item that describes a setting or an option."""
    entry = re.compile(r"^- `(\w+)`(?: \(default `(.*?)`\))?: (.*?)(?=\n- |\n\n|\Z)", re.MULTILINE | re.DOTALL)
    return [(name, default, " ".join(description.split())) for name, default, description in entry.findall(page)]


def test_every_option_of_a_service_is_documented_as_it_is_and_the_example_is_valid() -> None:
    page = (ROOT / "docs/relationships.md").read_text()
    listed = entries_in(page)
    assert [it for it in listed if it[0] in Service.model_fields] == [
        (name, "" if field.is_required() else json.dumps(field.default), field.description)
        for name, field in Service.model_fields.items()
    ]
    (example,) = re.findall(r"HEADWATER_SERVICES='(.*?)'", page, re.DOTALL)
    assert set(Settings(services=json.loads(example)).services) == {"directory", "crm"}


def test_every_limit_is_documented_with_its_default() -> None:
    table = (ROOT / "docs/security.md").read_text().partition("\n## Limits\n")[2]
    listed = re.findall(r"^\| .*? \| (.*?) \| `HEADWATER_(\w+)` \| (.*?) \|", table, re.MULTILINE)
    assert all(consequence for *_, consequence in listed)
    for limit, name, _ in listed:
        documented = re.sub(r"(?<=\d) (?=\d{3}\b)", "", limit).split()[0]
        assert documented == str(Settings.model_fields[name.lower()].default), name
    limits = re.compile(r"(max|min)_\w+|pool_\w+|tenant_rate|key_rate|(request|statement|lock|body|send|lineage)_timeout")
    assert {name.lower() for _, name, _ in listed} == {name for name in Settings.model_fields if limits.fullmatch(name)}


def test_the_compose_file_and_the_image_use_existing_settings() -> None:
    files = [(ROOT / name).read_text() for name in ("docker-compose.yml", "Dockerfile")]
    named = {name.lower() for text in files for name in re.findall(r"HEADWATER_([A-Z_]+)", text)}
    assert {"database_url", "key_secret", "bootstrap_key", "host"} <= named <= set(Settings.model_fields)
    published = re.findall(r"ports:\n\s+- (.*)", files[0])
    assert published == ['"127.0.0.1:8000:8000"'], "only the service is published, and to this machine only"


async def test_the_documented_settings_accept_the_documented_token(tmp_path: Path) -> None:
    page = (ROOT / "docs/security.md").read_text()
    settings = {name.lower(): value for name, value in re.findall(r"^HEADWATER_(JWT_\w+)=(.*)$", page, re.MULTILINE)}
    published = Settings(**settings).trusted_issuer()
    assert published is not None
    assert published.keys == JwksSource(settings.pop("jwt_jwks_url"), 300)
    ((claims, actor, tenant),) = re.findall(r"```json\n(.*?)```\n\nfor `(.*?)` in the tenant `(.*?)`", page, re.DOTALL)
    (tmp_path / "keys.pem").write_bytes(issuer.public_pem("RS256"))
    trust = Settings(**settings, jwt_keys=tmp_path / "keys.pem").trusted_issuer()
    assert trust is not None
    read = await TokenVerifier(trust).verify(jwt.encode(json.loads(claims), issuer.signing_key("RS256"), "RS256"))
    assert (read.actor, read.tenant) == (actor, tenant)
    scopes, domains = parse_scopes(read.scopes)
    assert scopes & {READ, WRITE, ADMIN} == {READ}
    assert domains == {"sales"}


def test_every_command_is_documented_and_has_help() -> None:
    commands = dict(commands_of(app))
    listed = re.findall(r"^\| `headwater ([\w ]+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(commands)
    for command in commands.values():
        assert command.help
        assert all(parameter.help for parameter in command.params if parameter.name != "help")


def commands_of(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command with the words that run it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_every_make_target_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {str(page.relative_to(ROOT)): set(re.findall(r"make ([a-z]+)\b", code_in(page.read_text()))) for page in PAGES}
    assert {"demo", "test", "check", "conformance", "bench", "schema"} <= named["README.md"]
    assert {name: unknown for name, of_page in named.items() if (unknown := of_page - targets)} == {}


def code_in(page: str) -> str:
    """Return the code blocks and the inline code of a page."""
    return "\n".join(re.findall(r"```.*?```|`[^`]+`", page, re.DOTALL))


def test_every_link_between_pages_leads_to_an_existing_heading() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.name} links to {target}"
            if anchor:
                assert anchor in anchors_of(file), f"{page.name} links to {target}#{anchor}"


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_source_that_a_page_names_exists() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:graph_api|schema|db|tests|docs)/[\w/.]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_the_readme_links_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()))
    pages = {str(page.relative_to(ROOT)) for page in PAGES if page.parent != ROOT / "docs/decisions"}
    assert pages - {"README.md"} <= linked


def test_a_line_of_prose_has_at_most_120_characters() -> None:
    for page in PAGES:
        prose = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), page.read_text(), flags=re.DOTALL)
        assert [it for it in enumerate(prose.splitlines(), 1) if len(it[1]) > LINE_LENGTH] == [], page.name


def test_the_schema_and_every_type_field_argument_and_value_is_described() -> None:
    assert schema._schema.description
    undescribed = []
    for name, known in schema._schema.type_map.items():
        if name.startswith("_") or "__" in name:
            continue
        if not known.description and name not in {"String", "Int", "Float", "Boolean", "ID"}:
            undescribed.append(name)
        if isinstance(known, GraphQLEnumType):
            undescribed += [f"{name}.{value}" for value, it in known.values.items() if not it.description]
        if isinstance(known, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field_name, field in known.fields.items():
                if field_name in FEDERATION:
                    continue
                if not field.description:
                    undescribed.append(f"{name}.{field_name}")
                arguments = getattr(field, "args", {})
                undescribed += [f"{name}.{field_name}({it})" for it, argument in arguments.items() if not argument.description]
    assert undescribed == []


def test_a_comparison_of_schemas_prints_the_documented_lines(tmp_path: Path) -> None:
    ((name, printed),) = re.findall(
        r"\$ headwater schema --since (\S+)\n(.*?)```", (ROOT / "docs/schema.md").read_text(), re.DOTALL
    )
    earlier = schema.as_str()
    for now, then in (
        (r"(type Product implements Asset & Node) (.*\{\n)", r'\1 @key(fields: "sku") \2  steward: String\n\n'),
        (r'  """[^"]*"""\n  INACTIVE\n', ""),
        (r'  """[^"]*"""\n  limits: ViewerLimits!\n', ""),
    ):
        earlier, count = re.subn(now, then, earlier)
        assert count == 1, now
    (tmp_path / name).write_text(earlier)
    result = CliRunner().invoke(app, ["schema", "--since", str(tmp_path / name)])
    assert (result.output, result.exit_code) == (printed, 1)


# By coordinate: the reason of the deprecation, and whether the argument or input field is required.
Deprecated = dict[str, tuple[str, bool]]


def deprecated_in(types: Iterable[GraphQLNamedType]) -> Deprecated:
    found: Deprecated = {}
    for known in types:
        parts: dict[str, Any] = {}
        if isinstance(known, GraphQLEnumType):
            parts = {f"{known.name}.{name}": value for name, value in known.values.items()}
        elif isinstance(known, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for name, field in known.fields.items():
                parts[f"{known.name}.{name}"] = field
                arguments = getattr(field, "args", {})
                parts |= {f"{known.name}.{name}({argument}:)": it for argument, it in arguments.items()}
        for coordinate, it in parts.items():
            if it.deprecation_reason is not None:
                required = (
                    is_required_argument(it) if coordinate.endswith(")") else is_input_field(it) and is_required_input_field(it)
                )
                found[coordinate] = (it.deprecation_reason, required)
    return found


def faults_of(deprecated: Deprecated) -> list[str]:
    """Return the deprecations that are required, or whose reason names no replacement in backticks."""
    return [it for it, (reason, required) in deprecated.items() if required or not re.search(r"\b[Uu]se `\w", reason)]


def test_every_deprecation_is_optional_and_names_its_replacement() -> None:
    assert faults_of(deprecated_in(schema._schema.type_map.values())) == []


def test_a_deprecation_without_a_replacement_is_found() -> None:
    poor = build_schema("""
        type Query {
            good(good: Int @deprecated(reason: "Use `b`.") b: Int): Int @deprecated(reason: "Use `best`.")
            bare: Int @deprecated
            best(required: Int! @deprecated(reason: "Use `b`."), b: Int): Int
        }
        enum E { A B @deprecated(reason: "Old.") }
        input I { required: Int! @deprecated(reason: "Use `c`.") c: Int }
    """)
    found = deprecated_in(poor.type_map.values())
    assert {"Query.good", "Query.good(good:)"} < found.keys()
    assert faults_of(found) == ["Query.bare", "Query.best(required:)", "E.B", "I.required"]


def test_every_field_declares_the_scope_it_needs() -> None:
    undeclared = []
    for name, known in schema.schema_converter.type_map.items():
        definition = known.definition
        if isinstance(definition, StrawberryObjectDefinition) and not definition.is_input and name not in FEDERATION:
            undeclared += [
                f"{name}.{field.name}" for field in definition.fields if field.name not in FEDERATION and scope_of(field) is None
            ]
    assert undeclared == []


def test_every_mutation_field_is_non_null() -> None:
    """A request with several mutations is committed if it has data. Non-null fields make that equal to success of all."""
    mutation = schema._schema.mutation_type
    assert mutation is not None
    assert all(isinstance(field.type, GraphQLNonNull) for field in mutation.fields.values())


def examples() -> list[Any]:
    """Collect each GraphQL block of the pages with the JSON block that follows it."""
    found: list[Any] = []
    for page in PAGES:
        if page.name == "tutorial.md":
            # its queries need the data of its earlier steps: test_tutorial.py runs them
            continue
        blocks = re.findall(r"```(graphql|json)\n(.*?)```", page.read_text(), re.DOTALL)
        for (kind, query), (following, answer) in pairwise(blocks):
            if kind == "graphql":
                assert following == "json", f"an example in {page.name} has no answer"
                found.append(pytest.param(query, json.loads(answer), id=f"{page.name} {len(found)}"))
    assert len(found) >= 5
    return found


@pytest.mark.parametrize(("query", "answer"), examples())
async def test_an_example_gives_the_documented_answer(demo_api: Api, query: str, answer: dict[str, Any]) -> None:
    body = (await demo_api(query)).body
    if "errors" in answer:
        assert [without_locations(it) for it in body["errors"]] == answer["errors"]
    else:
        assert body.get("errors") is None
        assert body["data"] == answer


def test_the_documented_client_code_is_run_by_conformance() -> None:
    folder = ROOT / "tests/conformance"
    programs = [
        (folder / name).read_text()
        for name in (
            "caches/apollo.mjs", "caches/dates.mjs", "caches/types.mjs", "caches/urql.mjs",
            "relay/relay.config.json", "relay/documents.js", "relay.mjs", "typescript/codegen.ts", "typescript/headwater.ts",
            "python/pyproject.toml", "python/program.py",
        )
    ]  # fmt: skip
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs/clients.md").read_text(), re.DOTALL)
    answers = {answer for (kind, _), (_, answer) in pairwise(blocks) if kind == "graphql"}
    shown = [block for kind, block in blocks if kind != "graphql" and block not in answers]
    assert len(shown) >= 16
    assert [block for block in shown if not any(block in text for text in programs)] == []


async def test_an_exceeded_rate_limit_gives_the_documented_answer(address: str) -> None:
    page = (ROOT / "docs/http.md").read_text()
    (rate,) = re.findall(r"HEADWATER_KEY_RATE=(\S+?)`", page)
    ((status, headers, body),) = re.findall(r"```\nHTTP/1.1 (\d+) .*?\n(.*?)\n\n(.*?)\n```", page, re.DOTALL)
    async with serving(address, key_rate=rate) as api:
        answers = [await api("{ __typename }") for _ in range(3)]
    assert [it.status for it in answers] == [200, 200, int(status)]
    for line in headers.splitlines():
        name, value = line.split(": ", 1)
        assert without_seconds(answers[2].headers[name]) == without_seconds(value)
    refused = {**answers[2].body, "extensions": {"requestId": "…"}}
    assert without_seconds(json.dumps(refused)) == without_seconds(json.dumps(json.loads(body)))


def without_seconds(text: str) -> str:
    """Replace the seconds that remain of a window, which depend on the time of the request."""
    return re.sub(r"(t=|in |^)\d+", r"\1…", text)


async def test_a_query_by_get_gives_the_documented_answer(demo_api: Api) -> None:
    page = (ROOT / "docs/http.md").read_text()
    ((name, value, query, body),) = re.findall(r'--header "(.*?): (.*?)" --data-urlencode "query=(.*?)" .*?\n(.*?)\n```', page)
    response = await demo_api.client.get("/graphql", params={"query": query}, headers={name: value})
    assert response.json()["data"] == json.loads(body)["data"]


async def test_a_persisted_document_gives_the_documented_answers(demo_api: Api) -> None:
    examples = re.findall(r"^\$ curl \S+ --json '(.*?)'\n(.*?)$", (ROOT / "docs/persisted.md").read_text(), re.MULTILINE)
    assert len(examples) == 3
    for sent, answer in examples:
        body = (await demo_api.client.post("/graphql", json=json.loads(sent))).json()
        assert {**body, "extensions": {**body["extensions"], "requestId": "…"}} == json.loads(answer)


def test_the_documented_manifests_are_checked_with_the_documented_output(tmp_path: Path) -> None:
    page = (ROOT / "docs/persisted.md").read_text()
    manifests = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(manifests) == 2
    file = tmp_path / "manifest.json"
    for manifest in manifests:
        file.write_text(manifest)
        assert CliRunner().invoke(app, ["documents", str(file)]).exit_code == 0
    file.write_text(manifests[1].replace("{ nodes { name } }", "{ titles }"))
    ((printed,),) = [re.findall(r"\$ headwater documents manifest\.json\n(.*?)```", page, re.DOTALL)]
    checked = CliRunner().invoke(app, ["documents", str(file)])
    assert (checked.exit_code, checked.stdout) == (1, printed)


def test_the_status_of_each_error_code_is_documented() -> None:
    listed = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", (ROOT / "docs/http.md").read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in listed} == STATUSES


def without_locations(error: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in error.items() if name != "locations"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda it: it.name)
async def test_the_examples_of_graphiql_return_data(demo_api: Api, example: Any) -> None:
    data = (await demo_api(example.query)).data
    assert all(data.values())


async def test_the_demo_is_loaded_once(api: Api) -> None:
    assets = "products(first: 100) { nodes { ...fields } } entities(first: 100) { nodes { ...fields } }"
    everything = f"{{ {assets} entityTypes {{ nodes {{ code }} }} }}"
    query = f"{everything} fragment fields on Asset {{ id history {{ totalCount }} }}"
    assert await demo.load(api.database) is True
    before = (await api(query)).data
    assert all(before.values())
    assert await demo.load(api.database) is False
    assert (await api(query)).data == before


# Files on the page that no profile shows: uvicorn's protocol is not part of the application, and SQL is not Python.
NOT_PROFILED = re.compile(r"graph_api/http/(http_protocol|request_parser|exchange)\.py|.*\.sql")
# Each process enters these for a new document or a new statement only.
ENTERED_ONCE = {
    "db/lineage/figures.py",
    "schema/language/document_limits.py",
    "schema/execution/authorization.py",
    "schema/language/columns.py",
    "schema/language/fields.py",
    "schema/planning/planner.py",
    "schema/planning/shaping.py",
    "db/assets/node.py",
    "db/driver.py",
    "db/sql.py",
}


async def test_the_files_of_one_request_are_those_that_the_page_lists(api: Api) -> None:
    await demo.load(api.database)
    page = (ROOT / "docs/architecture.md").read_text()
    ((query, count),) = re.findall(r"through which `(.*?)` passes .*?There are (\d+)\.", page, re.DOTALL)
    listed = re.findall(r"^\| \d+ \| \**`(.*?)`\** \|", page, re.MULTILINE)
    assert len(listed) == int(count)
    assert all((ROOT / file).exists() for file in listed)
    # the first request builds the middleware
    await api("{ __typename }")
    # figures of the tenant are read in the background
    assert api.figures is not None
    api.figures.known(1)
    await api.figures.wait_until_idle()

    async def entered() -> list[str]:
        """Return the files that the request enters, in order."""
        found: dict[str, None] = {}

        def note(frame: FrameType, event: str, _: Any) -> None:
            if event == "call" and frame.f_code.co_filename.startswith(f"{ROOT}/"):
                found[frame.f_code.co_filename.removeprefix(f"{ROOT}/")] = None

        sys.setprofile(note)
        try:
            await api(query.replace('"x"', '"board_pack"'))
        finally:
            sys.setprofile(None)
        return [file for file in found if re.match(r"(graph_api|schema|db)/", file)]

    files = await entered()
    assert set(files) - set(listed) == set()
    assert {file for file in listed if not NOT_PROFILED.fullmatch(file)} - set(files) <= ENTERED_ONCE
    assert [file for file in listed if file in files and file not in ENTERED_ONCE] == [
        file for file in files if file not in ENTERED_ONCE
    ]
    (count,) = re.findall(r"second request with the same document enters (\d+)", page)
    assert len(await entered()) == int(count)

"""The documentation tells the truth: settings, commands, descriptions, scopes, and every example in it."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jwt
import pytest
import typer
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
from typer.testing import CliRunner

from graph_api import demo
from graph_api.auth.jwks import Published
from graph_api.auth.tokens import Tokens
from graph_api.cli import app
from graph_api.graphiql.examples import EXAMPLES
from graph_api.http.responses import STATUSES
from graph_api.records.configuration import Service
from graph_api.settings import Settings
from schema.language.scopes import ADMIN, READ, WRITE, parse_scopes, scope_of
from schema.root import schema
from tests.builders import Api
from tests.graph_api.auth import issuer
from tests.graph_api.http.test_browsers import serving

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Federation's own fields; its types begin with an underscore or contain two.
FEDERATION = {"_Any", "_Entity", "_Service", "_entities", "_service"}


def test_every_setting_is_documented_as_it_is() -> None:
    listed = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? *\| (.*?) \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    assert listed == [
        (f"HEADWATER_{name.upper()}", "" if field.default is None else str(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]


def test_every_option_of_a_service_is_documented_as_it_is_and_the_example_is_one() -> None:
    page = (ROOT / "docs/relationships.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? *\| (.*?) \|$", page, re.MULTILINE)
    assert [it for it in listed if it[0] in Service.model_fields] == [
        (name, "" if field.is_required() else json.dumps(field.default), field.description)
        for name, field in Service.model_fields.items()
    ]
    (example,) = re.findall(r"HEADWATER_SERVICES='(.*?)'", page, re.DOTALL)
    assert set(Settings(services=json.loads(example)).services) == {"directory", "crm"}


def test_every_limit_is_documented_with_what_it_is_by_default() -> None:
    table = (ROOT / "docs/security.md").read_text().partition("\n## Limits\n")[2]
    listed = re.findall(r"^\| .*? \| (.*?) \| `HEADWATER_(\w+)` \| (.*?) \|", table, re.MULTILINE)
    assert all(beyond for *_, beyond in listed)
    for limit, name, _ in listed:
        said = re.sub(r"(?<=\d) (?=\d{3}\b)", "", limit).split()[0]
        assert said == str(Settings.model_fields[name.lower()].default), name
    limits = re.compile(r"max_\w+|pool_\w+|tenant_rate|key_rate|(request|statement|lock|body|lineage)_timeout")
    assert {name.lower() for _, name, _ in listed} == {name for name in Settings.model_fields if limits.fullmatch(name)}


def test_every_setting_in_the_compose_file_and_the_image_is_one() -> None:
    files = [(ROOT / name).read_text() for name in ("docker-compose.yml", "Dockerfile")]
    named = {name.lower() for text in files for name in re.findall(r"HEADWATER_([A-Z_]+)", text)}
    assert {"database_url", "key_secret", "bootstrap_key", "host"} <= named <= set(Settings.model_fields)
    published = re.findall(r"ports:\n\s+- (.*)", files[0])
    assert len(published) == 2
    assert all(it.startswith('"127.0.0.1:') for it in published), "what is published is open to this machine only"


async def test_a_token_is_read_by_the_settings_and_to_the_effect_that_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/security.md").read_text()
    said = dict(re.findall(r"^HEADWATER_(JWT_\w+)=(.*)$", page, re.MULTILINE))
    settings = {name.lower(): value for name, value in said.items()}
    published = Settings(**settings).trust()
    assert published is not None
    assert published.keys == Published(settings.pop("jwt_jwks_url"), 300)
    ((claims, actor, tenant),) = re.findall(r"```json\n(.*?)```\n\nfor `(.*?)` in the tenant `(.*?)`", page, re.DOTALL)
    (tmp_path / "keys.pem").write_bytes(issuer.public_pem("RS256"))
    trust = Settings(**settings, jwt_keys=tmp_path / "keys.pem").trust()
    assert trust is not None
    read = await Tokens(trust).read(jwt.encode(json.loads(claims), issuer.signing_key("RS256"), "RS256"))
    assert (read.actor, read.tenant) == (actor, tenant)
    scopes, domains = parse_scopes(read.scopes)
    assert scopes & {READ, WRITE, ADMIN} == {READ}
    assert domains == {"sales"}


def test_every_command_is_documented_and_explains_itself() -> None:
    commands = dict(commands_of(typer.main.get_command(app)))
    listed = re.findall(r"^\| `headwater ([\w ]+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(commands)
    for command in commands.values():
        assert command.help
        assert all(parameter.help for parameter in command.params if parameter.name != "help")


def commands_of(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What can be run, by the words that run it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_every_make_target_that_readme_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)\b", (ROOT / "README.md").read_text()))
    assert {"demo", "test", "check", "conformance", "bench", "schema"} <= named <= targets


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


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


def test_a_comparison_of_schemas_reads_as_the_page_says(tmp_path: Path) -> None:
    ((name, told),) = re.findall(r"\$ headwater schema --since (\S+)\n(.*?)```", (ROOT / "docs/schema.md").read_text(), re.DOTALL)
    ours = schema.as_str()
    for now, then in (
        ("type Product implements Asset & Node", 'type Product implements Asset & Node @key(fields: "sku")'),
        ('  """Its semantic version."""\n', "  steward: String\n\n"),
        ('  """No longer fed."""\n  INACTIVE\n', ""),
        ('  """How much they may ask for, and their tenant may keep."""\n  limits: Limits!\n', ""),
    ):
        assert now in ours
        ours = ours.replace(now, then, 1)
    (tmp_path / name).write_text(ours)
    result = CliRunner().invoke(app, ["schema", "--since", str(tmp_path / name)])
    assert (result.output, result.exit_code) == (told, 1)


# Coordinates, each with the reason for which it is deprecated, and whether it has to be given.
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
    """A reason names, between backticks, what to use instead; what has to be given cannot be done without."""
    return [it for it, (reason, required) in deprecated.items() if required or not re.search(r"\b[Uu]se `\w", reason)]


def test_what_is_deprecated_can_be_done_without_and_says_what_to_use_instead() -> None:
    assert faults_of(deprecated_in(schema._schema.type_map.values())) == []


def test_a_deprecation_that_helps_nobody_is_found() -> None:
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
    """A request of several is kept only if there is data; that is the same as all having succeeded because of this."""
    mutation = schema._schema.mutation_type
    assert mutation is not None
    assert all(isinstance(field.type, GraphQLNonNull) for field in mutation.fields.values())


def examples() -> list[Any]:
    """Each GraphQL block in the pages, with the JSON block that follows it."""
    found: list[Any] = []
    for page in PAGES:
        blocks = re.findall(r"```(graphql|json)\n(.*?)```", page.read_text(), re.DOTALL)
        for (kind, query), (following, answer) in pairwise(blocks):
            if kind == "graphql":
                assert following == "json", f"an example in {page.name} has no answer"
                found.append(pytest.param(query, json.loads(answer), id=f"{page.name} {len(found)}"))
    assert len(found) >= 5
    return found


@pytest.mark.parametrize(("query", "answer"), examples())
async def test_an_example_answers_as_the_page_says(api: Api, query: str, answer: dict[str, Any]) -> None:
    await demo.load(api.database)
    body = (await api(query)).body
    if "errors" in answer:
        assert [without_locations(it) for it in body["errors"]] == answer["errors"]
    else:
        assert body.get("errors") is None
        assert body["data"] == answer


def test_what_clients_are_shown_is_what_conformance_runs() -> None:
    folder = ROOT / "tests/conformance"
    run = [
        (folder / name).read_text()
        for name in (
            "relay/relay.config.json", "relay/documents.js", "relay.mjs", "typescript/codegen.ts", "typescript/headwater.ts",
            "python/pyproject.toml", "python/program.py",
        )
    ]  # fmt: skip
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs/clients.md").read_text(), re.DOTALL)
    answers = {answer for (kind, _), (_, answer) in pairwise(blocks) if kind == "graphql"}
    shown = [block for kind, block in blocks if kind != "graphql" and block not in answers]
    assert len(shown) >= 9
    assert [block for block in shown if not any(block in text for text in run)] == []


async def test_a_caller_that_has_spent_all_is_answered_as_the_page_says(address: str) -> None:
    page = (ROOT / "docs/http.md").read_text()
    (rate,) = re.findall(r"HEADWATER_KEY_RATE=(\S+?)`", page)
    ((status, told, body),) = re.findall(r"```\nHTTP/1.1 (\d+) .*?\n(.*?)\n\n(.*?)\n```", page, re.DOTALL)
    async with serving(address, key_rate=rate) as api:
        answers = [await api("{ __typename }") for _ in range(3)]
    assert [it.status for it in answers] == [200, 200, int(status)]
    for line in told.splitlines():
        name, value = line.split(": ", 1)
        assert without_seconds(answers[2].headers[name]) == without_seconds(value)
    refused = {**answers[2].body, "extensions": {"requestId": "…"}}
    assert without_seconds(json.dumps(refused)) == without_seconds(json.dumps(json.loads(body)))


def without_seconds(told: str) -> str:
    """How long a window lasts still depends on when it is asked."""
    return re.sub(r"(t=|in |^)\d+", r"\1…", told)


async def test_a_query_in_the_address_is_answered_as_the_page_says(api: Api) -> None:
    await demo.load(api.database)
    page = (ROOT / "docs/http.md").read_text()
    ((name, value, query, body),) = re.findall(r'--header "(.*?): (.*?)" --data-urlencode "query=(.*?)" .*?\n(.*?)\n```', page)
    response = await api.client.get("/graphql", params={"query": query}, headers={name: value})
    assert response.json()["data"] == json.loads(body)["data"]


async def test_a_document_is_named_as_the_page_says(api: Api) -> None:
    await demo.load(api.database)
    examples = re.findall(r"^\$ curl \S+ --json '(.*?)'\n(.*?)$", (ROOT / "docs/persisted.md").read_text(), re.MULTILINE)
    assert len(examples) == 3
    for sent, told in examples:
        body = (await api.client.post("/graphql", json=json.loads(sent))).json()
        assert {**body, "extensions": {**body["extensions"], "requestId": "…"}} == json.loads(told)


def test_documents_are_registered_and_checked_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/persisted.md").read_text()
    manifests = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(manifests) == 2
    file = tmp_path / "manifest.json"
    for manifest in manifests:
        file.write_text(manifest)
        assert CliRunner().invoke(app, ["documents", str(file)]).exit_code == 0
    file.write_text(manifests[1].replace("{ nodes { name } }", "{ titles }"))
    ((said,),) = [re.findall(r"\$ headwater documents manifest\.json\n(.*?)```", page, re.DOTALL)]
    checked = CliRunner().invoke(app, ["documents", str(file)])
    assert (checked.exit_code, checked.stdout) == (1, said)


def test_the_status_of_what_was_not_run_is_documented() -> None:
    listed = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", (ROOT / "docs/http.md").read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in listed} == STATUSES


def without_locations(error: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in error.items() if name != "locations"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda it: it.name)
async def test_what_graphiql_opens_with_answers_something(api: Api, example: Any) -> None:
    await demo.load(api.database)
    data = (await api(example.query)).data
    assert all(data.values())


async def test_the_demo_is_loaded_once_and_whole(api: Api) -> None:
    whole = "{ products(first: 100) { nodes { ...lived } } entities(first: 100) { nodes { ...lived } } entityTypes { code } }"
    query = f"{whole} fragment lived on Asset {{ id history {{ totalCount }} }}"
    assert await demo.load(api.database) is True
    before = (await api(query)).data
    assert all(before.values())
    assert await demo.load(api.database) is False
    assert (await api(query)).data == before

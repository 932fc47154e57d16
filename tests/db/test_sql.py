"""Tests of the SQL renderer, and of the SQL files of db: each is reachable, named by its role, and has a header."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import db
from db.sql import load, render, statement, tokens_of
from db.temporal.kind import projection_path
from db.temporal.kinds import KINDS

ROOT = Path(db.__file__).parent
FILES = {f"{path.parents[1].name}/{path.stem}": path.read_text() for path in sorted(ROOT.glob("*/sql/*.sql"))}
FRAGMENTS = {path for path in FILES if path.rpartition("/")[2].startswith("_")}
STATEMENTS = FILES.keys() - FRAGMENTS

LONGEST_COMMENT = 140

INCLUDE = re.compile(r"\{include ([\w/]+)\}")
PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?![:\w])")


def calls() -> Iterator[tuple[str, str]]:
    """Yield the name of each function called in db with a path of an SQL file as its first argument, and the path."""
    for module in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if node.args[0].value in FILES:
                    yield name, node.args[0].value


def literals() -> set[str]:
    """Return the string literals of the Python code of db."""
    return {
        node.value
        for module in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def included_by(path: str) -> set[str]:
    package = path.rpartition("/")[0]
    return {name if "/" in name else f"{package}/{name}" for name in INCLUDE.findall(FILES[path])}


def header_of(path: str) -> str:
    """Return the comment lines at the start of a file, as one text."""
    lines = []
    for line in FILES[path].splitlines():
        if not line.lstrip().startswith("--"):
            break
        lines.append(line.lstrip().removeprefix("--").strip())
    return " ".join(lines)


def section_of(header: str, title: str) -> str:
    """Return the part of a header that begins with a title, up to the next title or the end."""
    found = re.search(rf"\b{title}: (.*?)(?=(?:Parameters|Returns|Tokens|Used by|Expects|Provides): |$)", header)
    return found[1] if found else ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"tokens without a value \['versions'\]"),
        ({"version": "v"}, r"tokens without a value \['versions'\], values without a token \['version'\]"),
        ({"versions": "product_version", "kind": "PRODUCT"}, r"values without a token \['kind'\]"),
    ],
    ids=["missing", "unknown", "unused"],
)
def test_renderer_refuses_missing_unknown_and_unused_tokens(values: dict[str, str], message: str) -> None:
    assert tokens_of("temporal/count_versions") == {"versions"}
    for fill in (lambda: render("temporal/count_versions", values), lambda: statement("temporal/count_versions", **values)):
        with pytest.raises(ValueError, match=message):
            fill()


def test_kind_refuses_unknown_tokens() -> None:
    with pytest.raises(ValueError, match=r"values without a token \['direction'\]"):
        KINDS[0].statement("temporal/count_versions", direction="ASC")
    with pytest.raises(ValueError, match=r"tokens without a value \['direction'\]"):
        KINDS[0].statement("temporal/history")


def test_renderer_refuses_unknown_files() -> None:
    with pytest.raises(FileNotFoundError):
        render("temporal/nothing")


def test_renderer_fills_tokens_includes_fragments_and_drops_comment_lines() -> None:
    text = render("temporal/count_versions", {"versions": "product_version"})
    assert "FROM product_version v" in text
    for path in FILES:
        assert "{include" not in load(path)
        assert not [line for line in load(path).splitlines() if line.lstrip().startswith("--")]


def test_every_file_is_reachable_by_name() -> None:
    named = literals()
    reachable = {
        *named,
        *(projection_path(name, verb) for name in named for verb in ("project", "verify") if "/" in name),
        *(projection_path(name, verb) for kind in KINDS for name in kind.projections for verb in ("project", "verify")),
        *(projection_path(name, "verify") for kind in KINDS for name in kind.verifications),
    } & FILES.keys()
    pending = list(reachable)
    while pending:
        new = included_by(pending.pop()) - reachable
        reachable |= new
        pending += new
    assert FILES.keys() == reachable


def test_fragments_begin_with_an_underscore_and_are_no_statements() -> None:
    included = {path for file in FILES for path in included_by(file)}
    assert included <= FRAGMENTS
    assert not [path for name, path in calls() if name == "statement" and path in FRAGMENTS]


@pytest.mark.parametrize("path", sorted(FILES))
def test_file_has_a_header(path: str) -> None:
    """The header of a statement names its users, and no parameter or token that the file lacks."""
    header = header_of(path)
    assert re.match(r"[A-Z].*\.", header), "a header begins with a sentence"
    parameters = set(PARAMETER.findall(load(path)))
    # those of fragments that the caller may render as values of its tokens
    of_fragments = {name for it in FRAGMENTS if it.startswith(path.rpartition("/")[0]) for name in PARAMETER.findall(load(it))}
    described = section_of(header, "Parameters")
    assert set(PARAMETER.findall(described)) <= parameters | of_fragments, "a parameter is named that the file has not"
    if path in STATEMENTS and "those of" not in described:
        assert parameters - set(PARAMETER.findall(header)) <= {"tenant"}, "a parameter is not described"
    assert set(re.findall(r"\{(\w+)\}", section_of(header, "Tokens"))) <= tokens_of(path), (
        "a token is named that the file has not"
    )
    if path in STATEMENTS:
        users = re.findall(r"\bdb(?:\.\w+)+", section_of(header, "Used by"))
        assert users, "no user is named"
        for user in users:
            resolve(user)


def test_header_names_the_modules_that_have_the_path() -> None:
    """Each user has the path as a literal, or imports the module that has; a projection is named by its kind alone."""
    modules = {
        ".".join(("db", *it.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): it.read_text()
        for it in ROOT.rglob("*.py")
    }
    for path in sorted(STATEMENTS):
        users = {
            max((it for it in modules if f"{user}.".startswith(f"{it}.")), key=len)
            for user in re.findall(r"\bdb(?:\.\w+)+", section_of(header_of(path), "Used by"))
        }
        having = {name for name, text in modules.items() if f'"{path}"' in text}
        for user in users if having else ():
            imports = re.findall(r"^from ([\w.]+) import|^import ([\w.]+)", modules[user], re.MULTILINE)
            assert having & {user, *(name for names in imports for name in names)}, f"{path}: {user} does not have it"
        unnamed = {it for it in having - users if not any(f"from {it} import" in modules[user] for user in users)}
        assert not unnamed, f"{path} is used by {unnamed}, which its header leaves out"


def test_comments_are_no_longer_than_the_longest_line_allowed() -> None:
    long = [(path, line) for path, text in FILES.items() for line in text.splitlines() if len(line) > LONGEST_COMMENT]
    assert not [(path, line) for path, line in long if line.lstrip().startswith("--")]


def resolve(name: str) -> Any:
    """Return the module, class or function of a dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"{name} names nothing")

"""Style: docstrings begin with a verb or a noun phrase, as CONTRIBUTING.md asks."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("db", "schema", "graph_api", "tests")

_QUESTION = re.compile(r"(What|Whether|Which|How|Where|That|Who|Whose|When|Why)\b")


def test_no_docstring_begins_like_a_question() -> None:
    files = [it for package in PACKAGES for it in (ROOT / package).rglob("*.py") if not {".venv", "node_modules"} & {*it.parts}]
    assert [f"{it.relative_to(ROOT)}: {found}" for it in files for found in questions(it.read_text())] == []


def test_a_docstring_that_begins_like_a_question_is_found() -> None:
    module = 'def f() -> None:\n    """Whether it rains."""\n\n\nclass A:\n    """A rainy day."""\n'
    assert questions(module) == ["Whether it rains."]


def questions(source: str) -> list[str]:
    """List the docstrings of a module that begin with a question word."""
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, described))
    return [it for it in docstrings if it is not None and _QUESTION.match(it)]

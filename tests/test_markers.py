"""Tests that start processes are marked `integration`, also where they use no database server of the run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A name that a test refers to in order to start a process, itself or through a helper of its module.
STARTERS = {"subprocess", "create_subprocess_exec", "EmbeddedServer", "start_command", "start_on", "run_on", "serve_on"}


@pytest.mark.parametrize("module", sorted(str(it.relative_to(ROOT)) for it in (ROOT / "tests").rglob("test_*.py")))
def test_no_unit_test_starts_a_process(module: str, request: pytest.FixtureRequest) -> None:
    """Of the collected tests of the module, none that is marked `unit` refers to a starter."""
    starting = set(functions_that_start(ast.parse((ROOT / module).read_text())))
    unit = {
        getattr(it, "originalname", it.name)
        for it in request.session.items
        if it.path == ROOT / module and it.get_closest_marker("unit")
    }
    assert not starting & unit


@pytest.mark.xdist_group("markers")
def test_tests_of_a_group_go_to_one_worker(request: pytest.FixtureRequest) -> None:
    """Without groups, each worker prepares the same databases. The scheduler of xdist reads the group from the id of the test."""
    in_worker = hasattr(request.config, "workerinput")
    assert request.node.nodeid.endswith("@markers") == in_worker


def test_functions_that_start_processes_are_found_through_helpers() -> None:
    text = "def a(): subprocess.run([])\ndef b(): a()\ndef test_c(): b()\ndef test_d(): d()\ndef test_e(a): pass"
    assert set(functions_that_start(ast.parse(text))) == {"a", "b", "test_c", "test_e"}


def functions_that_start(module: ast.Module) -> Iterator[str]:
    """Yield the functions and classes of a module that refer to a starter, themselves or through others of the module."""
    references = {
        it.name: {
            name.id if isinstance(name, ast.Name) else name.attr if isinstance(name, ast.Attribute) else name.arg
            for name in ast.walk(it)
            if isinstance(name, ast.Name | ast.Attribute | ast.arg)
        }
        for it in module.body
        if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    starting = set(STARTERS)
    while new := {name for name, used in references.items() if used & starting} - starting:
        starting |= new
    yield from starting - STARTERS

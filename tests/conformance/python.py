"""Python: ariadne-codegen makes an asynchronous client of the schema, and a strictly typed program asks with it."""

import shutil

from tests.conformance.relay import SCHEMA
from tests.conformance.stage import HERE, PYTHON, CannotCheck, Stage

SOURCES = HERE / "python"
COMMANDS = SOURCES / ".venv" / "bin"


def run(stage: Stage) -> None:
    if not (COMMANDS / "ariadne-codegen").is_file():
        raise CannotCheck("ariadne-codegen is not installed in tests/conformance/python. Run: make conformance")
    work = stage.directory / "python"
    shutil.copytree(SOURCES, work, ignore=shutil.ignore_patterns(".*"))
    shutil.copy(SCHEMA, work)
    stage.run("ariadne-codegen takes the schema", [COMMANDS / "ariadne-codegen"], cwd=work)
    # what is generated is checked as far as the program uses it
    options = ("--strict", "--follow-imports=silent", "--cache-dir", SOURCES / ".mypy_cache")
    stage.run("a program with the client passes mypy, strictly", [PYTHON, "-m", "mypy", *options, "program.py"], cwd=work)
    if all(it.ok for it in stage.results[-2:]):
        guarded = stage.guarded
        addresses = [f"{it}/graphql" for it in (stage.demo, guarded.address)]
        stage.reporting([COMMANDS / "python", work / "program.py", *addresses, guarded.key])

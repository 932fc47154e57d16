"""Python: ariadne-codegen generates an asynchronous client from the schema, and a strictly typed program uses it."""

import shutil

from tests.conformance.relay import SCHEMA
from tests.conformance.stage import HERE, PYTHON, CannotRun, Stage

SOURCES = HERE / "python"
COMMANDS = SOURCES / ".venv" / "bin"


def run(stage: Stage) -> None:
    if not (COMMANDS / "ariadne-codegen").is_file():
        raise CannotRun("ariadne-codegen is not installed in tests/conformance/python. Run: make conformance")
    work = stage.directory / "python"
    shutil.copytree(SOURCES, work, ignore=shutil.ignore_patterns(".*"))
    shutil.copy(SCHEMA, work)
    stage.run_program("ariadne-codegen accepts the schema", [COMMANDS / "ariadne-codegen"], cwd=work)
    # the generated code is checked as far as the program uses it
    options = ("--strict", "--follow-imports=silent", "--cache-dir", SOURCES / ".mypy_cache")
    command = (PYTHON, "-m", "mypy", *options, "program.py")
    stage.run_program("a program with the generated client passes mypy --strict", command, cwd=work)
    if all(it.ok for it in stage.results[-2:]):
        guarded = stage.guarded
        addresses = [f"{it}/graphql" for it in (stage.demo, guarded.address)]
        stage.run_script([COMMANDS / "python", work / "program.py", *addresses, guarded.key])

"""TypeScript: graphql-codegen generates typed documents from the schema, and a strictly typed program uses them."""

import shutil

from tests.conformance.relay import SCHEMA
from tests.conformance.stage import HERE, Stage


def run(stage: Stage) -> None:
    work = stage.directory / "typescript"
    shutil.copytree(HERE / "typescript", work)
    shutil.copy(SCHEMA, work)
    shutil.copy(HERE / "results.mjs", work)
    (work / "package.json").write_text('{ "type": "module" }')
    (work / "node_modules").symlink_to(HERE / "node_modules")
    commands = work / "node_modules" / ".bin"
    stage.run_program("graphql-codegen accepts the schema", [commands / "graphql-codegen", "--config", "codegen.ts"], cwd=work)
    stage.run_program("a program with the generated types compiles strictly", [commands / "tsc"], cwd=work)
    if all(it.ok for it in stage.results[-2:]):
        guarded = stage.guarded
        addresses = [f"{it}/graphql" for it in (stage.demo, guarded.address)]
        stage.run_node(str(work / "built" / "program.js"), *addresses, guarded.key, guarded.stranger_uid)

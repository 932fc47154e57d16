"""TypeScript: graphql-codegen makes typed documents of the schema, and a strictly typed program asks with them."""

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
    stage.run("graphql-codegen takes the schema", [commands / "graphql-codegen", "--config", "codegen.ts"], cwd=work)
    stage.run("a program with its types compiles strictly", [commands / "tsc"], cwd=work)
    if all(it.ok for it in stage.results[-2:]):
        guarded = stage.guarded
        addresses = [f"{it}/graphql" for it in (stage.demo, guarded.address)]
        stage.node(str(work / "built" / "program.js"), *addresses, guarded.key, guarded.stranger_uid)

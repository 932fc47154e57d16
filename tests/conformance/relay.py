"""Relay: its compiler accepts the schema, and its runtime paginates, refetches and keeps instants apart."""

import shutil

from tests.conformance.stage import HERE, Stage

SCHEMA = HERE.parent.parent / "schema" / "schema.graphql"


def run(stage: Stage) -> None:
    work = stage.directory / "relay"
    shutil.copytree(HERE / "relay", work)
    shutil.copy(SCHEMA, work)
    (work / "__generated__").mkdir()
    compiler = HERE / "node_modules" / ".bin" / "relay-compiler"
    command = (compiler, "relay.config.json")
    stage.run_program("relay-compiler accepts the schema with its federation directives", command, cwd=work)
    if not stage.results[-1].ok:
        return
    # Relay warns about inconsistent responses in its development build only
    stage.run_node("relay.mjs", f"{stage.demo}/graphql", work / "__generated__", NODE_ENV="development")

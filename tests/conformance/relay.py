"""Relay: its compiler takes the schema, and its runtime pages, fetches again and keeps instants apart."""

import shutil

from tests.conformance.stage import HERE, Stage

SCHEMA = HERE.parent.parent / "schema" / "schema.graphql"


def run(stage: Stage) -> None:
    work = stage.directory / "relay"
    shutil.copytree(HERE / "relay", work)
    shutil.copy(SCHEMA, work)
    (work / "__generated__").mkdir()
    compiler = HERE / "node_modules" / ".bin" / "relay-compiler"
    stage.run("relay-compiler takes the schema with its federation directives", [compiler, "relay.config.json"], cwd=work)
    if not stage.results[-1].ok:
        return
    # what Relay has to say of an answer, it says while a front end is being developed
    stage.node("relay.mjs", f"{stage.demo}/graphql", work / "__generated__", NODE_ENV="development")

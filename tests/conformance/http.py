"""GraphQL over HTTP: every audit of the reference implementation."""

from tests.conformance.stage import Stage


def run(stage: Stage) -> None:
    stage.run_node("http.mjs", f"{stage.demo}/graphql")

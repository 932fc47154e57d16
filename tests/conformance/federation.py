"""The service as a subgraph: composed with another one, and asked through a gateway."""

from tests.conformance.stage import Stage


def run(stage: Stage) -> None:
    stage.node("federation.mjs", f"{stage.demo}/graphql")

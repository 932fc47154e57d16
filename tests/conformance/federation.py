"""The service as a subgraph: called directly, composed with other subgraphs, and called through a gateway."""

import json
from dataclasses import asdict

from tests.conformance.stage import Stage


def run(stage: Stage) -> None:
    stage.run_node("federation.mjs", f"{stage.demo}/graphql", json.dumps(asdict(stage.guarded)))

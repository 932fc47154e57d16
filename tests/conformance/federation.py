"""The service as a subgraph: composed with others, and asked through a gateway."""

import json
from dataclasses import asdict

from tests.conformance.stage import Stage


def run(stage: Stage) -> None:
    stage.node("federation.mjs", f"{stage.demo}/graphql", json.dumps(asdict(stage.guarded)))

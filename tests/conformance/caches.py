"""Normalised caches: Apollo Client and urql with their defaults, against the demo and a service with authentication."""

from tests.conformance.stage import Stage

# Days of a date picker begin in the time zone of its user.
BERLIN = {"TZ": "Europe/Berlin"}


def run(stage: Stage) -> None:
    addresses = [f"{it}/graphql" for it in (stage.demo, stage.guarded.address)]
    for script in ("apollo.mjs", "urql.mjs"):
        # the caches warn in their development builds only
        stage.run_node(f"caches/{script}", *addresses, stage.guarded.key, NODE_ENV="development", **BERLIN)

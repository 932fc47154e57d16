"""Persisted documents: registered by clients at run time, and by manifests at start."""

from tests.conformance.stage import HEADWATER, Stage


def run(stage: Stage) -> None:
    apollo, relay = stage.directory / "apollo.json", stage.directory / "relay.json"
    stage.run_node("manifests.mjs", apollo, relay)
    for manifest in (apollo, relay):
        stage.run_program(f"every document of {manifest.name} is valid", [HEADWATER, "documents", manifest])
    key = stage.guarded.key
    settings = {"HEADWATER_PERSISTED_ONLY": "true", "HEADWATER_MAX_BATCH": "10"}
    with (
        stage.serve(HEADWATER_PERSISTED_DOCUMENTS=str(apollo), **settings) as by_hash,
        stage.serve(HEADWATER_PERSISTED_DOCUMENTS=str(relay), **settings) as by_id,
    ):
        stage.run_node("persisted.mjs", *(f"{it}/graphql" for it in (stage.demo, by_hash, by_id)), HEADWATER_KEY=key)

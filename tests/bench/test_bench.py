"""The benchmark runs to its end and checks itself. The figures of these runs mean nothing, because other tests run beside it."""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from tests.bench import overload
from tests.bench.__main__ import WHOLE
from tests.bench.data import DATABASE_VARIABLE
from tests.bench.entities import surname
from tests.bench.graph import DEPTH, QUICK, REACHED, Asset, Component, components, root_of
from tests.bench.overload import Observations, Overload, Round
from tests.bench.relationships import relationships
from tests.bench.versions import MIDDLE, VERSIONS, since

REPOSITORY = Path(__file__).parent.parent.parent
ROWS = ("update", "entity by uid", "related", "relationships", "same file again", "walk of 20", "overload")


@pytest.fixture(scope="module")
def printed() -> str:
    """The output of one quick run of these rows."""
    environment = {name: value for name, value in os.environ.items() if name != DATABASE_VARIABLE}
    command = [sys.executable, "-m", "tests.bench", "--quick", *(argument for row in ROWS for argument in ("--rows", row))]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow(60)
@pytest.mark.xdist_group("bench")
class TestQuickRun:
    def test_the_service_is_compared_with_the_baseline_server(self, printed: str) -> None:
        assert re.search(r"update of a product .*\d\.\d\d×", printed), printed
        assert re.search(r"update of an entity .*\d\.\d\d×", printed), printed
        assert re.search(r"entity by uid, as-of : now = \d+\.\d\d×", printed), printed

    def test_relationships_are_followed(self, printed: str) -> None:
        assert re.search(r"related two levels deep, as-of : now = \d+\.\d\d×", printed), printed
        assert re.search(r"page of 50 relationships .*\d\.\d\d×", printed), printed

    def test_loads_are_compared_with_copy(self, printed: str) -> None:
        """The chosen load comes after another one, which is loaded too but not shown."""
        assert re.search(r"load of the same file again .* 0 .*\d\.\d× .*≤ 9×", printed), printed
        assert "load of new rows" not in printed

    def test_rows_that_were_not_chosen_are_not_measured(self, printed: str) -> None:
        assert "product by name" not in printed.partition("Operations of the readers")[0]
        assert "walk of 450 " not in printed.partition("Operations of the readers")[0]

    def test_a_loaded_graph_is_walked(self, printed: str) -> None:
        assert re.search(r"load of a graph's assets .*load of a graph's links ", printed, re.DOTALL), printed
        assert re.search(r"[\d,]+ assets in .* link versions in [\d.]+ s", printed), printed
        assert re.search(r"walk of 20, as-of : now = \d+\.\d\d×", printed), printed
        assert re.search(r"walk of 20 .* 1 .* 21 .* 1\.00× ", printed), printed

    def test_overload_ends_as_documented(self, printed: str) -> None:
        """No unexpected error, a response to every request, attacks refused as documented, and no statement left running: else
        the run fails."""
        assert re.search(r"readers only .* with attackers ", printed, re.DOTALL), printed
        assert re.search(r"10 000 aliases .* 200 LIMIT_EXCEEDED × \d", printed), printed
        assert re.search(r"a forged key .* 401 UNAUTHENTICATED × \d", printed), printed
        assert re.search(r"a byte a second .* 408 TIMEOUT × \d", printed), printed


@pytest.mark.parametrize(("entities", "products"), [(400, 200), (120, 120)])
def test_every_person_has_the_same_number_of_relationships_at_any_instant(entities: int, products: int) -> None:
    for instant in (MIDDLE, since(VERSIONS)):
        counts: Counter[tuple[str, UUID]] = Counter()
        for relationship in relationships(entities, products):
            notes = [note for version, note in relationship.timeline if since(version) <= instant]
            counts[relationship.type.key, relationship.origin] += bool(notes) and notes[-1] is not None
        assert {count for (key, _), count in counts.items() if key != "reports-to"} == {3}


def test_the_root_of_a_pipeline_reaches_the_same_number_of_assets_at_any_instant() -> None:
    by_name = {it.name: it for it in components(replace(QUICK, most_reached=REACHED["most"]))}
    for family, count in REACHED.items():
        pipeline = by_name[f"{family}-0"]
        for instant in (MIDDLE, since(VERSIONS)):
            assert len(reached_from(root_of(family, 0), pipeline, instant)) == count


def reached_from(root: Asset, pipeline: Component, instant: datetime) -> set[Asset]:
    """Return the assets that a root reaches in the steps of a measured walk. Links lead out of ordinary pipelines only."""
    targets = defaultdict(list)
    for number in range(pipeline.size):
        for link in pipeline.links_to(Asset(pipeline.name, number)):
            confidences = [confidence for version, confidence in link.changes if since(version) <= instant]
            if confidences and confidences[-1] is not None:
                targets[link.source].append(link.target)
    reached, level = {root}, {root}
    for _ in range(DEPTH):
        level = {target for source in level for target in targets[source]} - reached
        reached |= level
    return reached - {root}


def test_a_search_has_a_few_dozen_hits() -> None:
    names = [surname(number, VERSIONS - 1).lower() for number in range(WHOLE.entities)]
    for sample in range(20):
        assert 36 <= sum(names[sample] in name for name in names) <= 48


def test_failures_of_an_overload_are_described() -> None:
    observed = {"page": {"200": [0.1], "503 UNAVAILABLE": [0.1]}}
    good = Round(Observations(1, observed, [0.1]), {}, (1, 1), 1, 1, 1, 1, {}, 0.0)
    observed = {"page": {"200": [0.1], "200 INTERNAL": [0.1], "hung": [45.0], "429 RATE_LIMITED": [0.1]}}
    aliases = Observations(1, {"10 000 aliases": {"200": [0.1]}}, [])
    bad = replace(
        good,
        readers=Observations(1, observed, [0.1]),
        attackers={"10 000 aliases": aliases},
        backends={("headwater", "active"): 15},
        settled=None,
    )
    assert list(Overload(overload.QUICK, good, good).failures()) == []
    assert [it.partition(": {")[0] for it in Overload(overload.QUICK, good, bad).failures()] == [
        "Readers beside attackers: outcome 200 INTERNAL, 1 times.",
        "Readers beside attackers: outcome hung, 1 times.",
        "Readers beside attackers: outcome 429 RATE_LIMITED, 1 times.",
        "5 s after readers beside attackers, connections are still active",
        "After readers beside attackers, the service has more than 14 connections",
        "Attack with 10 000 aliases: outcome 200, 1 times.",
    ]

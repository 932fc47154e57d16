"""The benchmark runs. What it measures here says nothing: other tests run beside it."""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from tests.bench import overload
from tests.bench.__main__ import WHOLE
from tests.bench.data import GIVEN
from tests.bench.entities import surname
from tests.bench.graph import DEPTH, QUICK, REACHED, Asset, Component, components, root_of
from tests.bench.overload import Met, Overload, Round
from tests.bench.relationships import joins
from tests.bench.versions import MIDDLE, VERSIONS, since

REPOSITORY = Path(__file__).parent.parent.parent


def bench(*rows: str) -> str:
    """What a quick run of these rows prints."""
    environment = {name: value for name, value in os.environ.items() if name != GIVEN}
    command = [sys.executable, "-m", "tests.bench", "--quick", *(it for row in rows for it in ("--rows", row))]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_quick_run_compares_the_service_with_its_floor() -> None:
    printed = bench("update", "entity by uid")
    assert re.search(r"update of a product .*\d\.\d\d×", printed), printed
    assert re.search(r"update of an entity .*\d\.\d\d×", printed), printed
    assert re.search(r"entity by uid, as-of : now = \d+\.\d\d×", printed), printed


def test_a_quick_run_follows_joins() -> None:
    printed = bench("related", "relationships")
    assert re.search(r"related two levels deep, as-of : now = \d+\.\d\d×", printed), printed
    assert re.search(r"page of 50 relationships .*\d\.\d\d×", printed), printed


def test_everybody_is_joined_with_as_many_at_any_instant() -> None:
    for instant in (MIDDLE, since(VERSIONS)):
        joined: Counter[tuple[str, UUID]] = Counter()
        for join in joins(entities=400, products=200):
            said = [note for version, note in join.tale if since(version) <= instant]
            joined[join.type.key, join.origin] += bool(said) and said[-1] is not None
        assert {number for (key, _), number in joined.items() if key != "reports-to"} == {3}


def test_a_quick_run_compares_loads_with_copy() -> None:
    """One that comes after another one, which is loaded then too but not shown."""
    printed = bench("same file again")
    assert re.search(r"load of the same file again .* 0 .*\d\.\d× .*≤ 9×", printed), printed
    assert "load of new rows" not in printed


def test_a_quick_run_walks_a_graph_that_it_has_loaded() -> None:
    printed = bench("walk of 20")
    assert re.search(r"load of a graph's assets .*load of a graph's links ", printed, re.DOTALL), printed
    assert re.search(r"[\d,]+ assets in .* link versions in [\d.]+ s", printed), printed
    assert re.search(r"walk of 20, as-of : now = \d+\.\d\d×", printed), printed
    assert re.search(r"walk of 20 .* 1 .* 21 .* 1\.00× ", printed), printed


def test_roots_of_pipelines_reach_at_any_instant_what_rows_are_named_for() -> None:
    there = {it.name: it for it in components(replace(QUICK, most_reached=REACHED["most"]))}
    for family, reached in REACHED.items():
        pipeline = there[f"{family}-0"]
        for instant in (MIDDLE, since(VERSIONS)):
            assert len(reached_from(root_of(family, 0), pipeline, instant)) == reached


def reached_from(root: Asset, pipeline: Component, instant: datetime) -> set[Asset]:
    """What a root reaches in as many steps as a row takes. Nothing leads out of a pipeline but those that are ordinary."""
    onward = defaultdict(list)
    for place in range(pipeline.size):
        for link in pipeline.links_to(Asset(pipeline.name, place)):
            said = [confidence for version, confidence in link.said if since(version) <= instant]
            if said and said[-1] is not None:
                onward[link.source].append(link.target)
    seen, level = {root}, {root}
    for _ in range(DEPTH):
        level = {there for here in level for there in onward[here]} - seen
        seen |= level
    return seen - {root}


def test_what_is_searched_for_has_a_few_dozen_hits() -> None:
    names = [surname(number, VERSIONS - 1).lower() for number in range(WHOLE.entities)]
    for sample in range(20):
        assert 36 <= sum(names[sample] in name for name in names) <= 48


def test_a_quick_run_crowds_the_service_which_stands() -> None:
    """Nothing unforeseen, nobody without an answer, hostile ones refused as documented, nobody left at work in the database: else
    the run says so, and fails."""
    printed = bench("overload")
    assert re.search(r"alone .* beside ", printed, re.DOTALL), printed
    assert re.search(r"10 000 aliases .* 200 LIMIT_EXCEEDED × \d", printed), printed
    assert re.search(r"a forged key .* 401 UNAUTHENTICATED × \d", printed), printed
    assert re.search(r"a byte a second .* 408 TIMEOUT × \d", printed), printed


def test_what_should_never_be_in_a_crowd_is_said() -> None:
    good = Round(Met(1, {"page": {"200": [0.1], "503 UNAVAILABLE": [0.1]}}, [0.1]), {}, (1, 1), 1, 1, 1, 1, {}, 0.0)
    bad = Met(1, {"page": {"200": [0.1], "200 INTERNAL": [0.1], "hung": [45.0], "429 RATE_LIMITED": [0.1]}}, [0.1])
    aliases = Met(1, {"10 000 aliases": {"200": [0.1]}}, [])
    leaking = replace(
        good, readers=bad, hostile={"10 000 aliases": aliases}, backends={("headwater", "active"): 15}, settled=None
    )
    assert list(Overload(overload.QUICK, good, good).faults()) == []
    assert [it.split(":")[0] for it in Overload(overload.QUICK, good, leaking).faults()] == [
        "Readers beside hostile ones met with 200 INTERNAL, 1 times.",
        "Readers beside hostile ones met with hung, 1 times.",
        "Readers beside hostile ones met with 429 RATE_LIMITED, 1 times.",
        "5 s after readers beside hostile ones, connections are still at work",
        "After readers beside hostile ones, the service has more than 14 connections",
        "Who sends 10 000 aliases met with 200, 1 times.",
    ]

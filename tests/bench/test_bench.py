"""The benchmark runs to its end and checks itself. The figures of these runs mean nothing, because other tests run beside it."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest

from tests.bench.databases import DATABASE_VARIABLE
from tests.bench.loads import graph
from tests.bench.loads.entities import surname
from tests.bench.loads.graph import DEPTH, REACHED, Asset, Component, components, root_of
from tests.bench.overload import measure as overload
from tests.bench.overload.measure import Observations, Overload, Round
from tests.bench.plans.check import Checked, failures
from tests.bench.plans.fill import KNOWN, NEW
from tests.bench.requests import servers
from tests.bench.requests.measure import CONNECTIONS
from tests.bench.requests.pipelines import (
    LARGE,
    MILLION,
    QUICK,
    SMALL,
    WHOLE,
    asset_lines,
    link_lines,
    product_name,
    product_uid,
)
from tests.bench.versions import MIDDLE, VERSIONS, since

REPOSITORY = Path(__file__).parent.parent.parent
ROWS = (
    "__typename",
    "upstream of 20",
    "edges",
    "100 changes of links",
    "100 of _entities",
    "update",
    "same file again",
    "overload",
)


@pytest.fixture(scope="module")
def printed() -> str:
    """The output of one quick run of these rows."""
    environment = {name: value for name, value in os.environ.items() if name != DATABASE_VARIABLE}
    rows = [argument for row in ROWS for argument in ("--rows", row)]
    command = [sys.executable, "-m", "tests.bench", "--quick", "--memory", "30", *rows]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow(40)
@pytest.mark.xdist_group("bench")
class TestQuickRun:
    def test_requests_are_compared_with_the_floor(self, printed: str) -> None:
        """All answers are equal and each write adds the same rows: else the run fails."""
        assert re.search(r"\| __typename +\| +[\d,]+ \| +\| +[\d,]+ \| +\| +\| +\d+% \(.*\) \| ≥ 40%", printed), printed
        assert re.search(r"\| update of a product +\| .*% \(.*\) \| ≥ 50%", printed), printed
        assert re.search(r"\| edges of 450 +\| .*% \(.*\) \| ≥ 40%", printed), printed
        assert re.search(r"\| 100 changes of links +\| .*% \(.*\) \| ≥ 50%", printed), printed
        assert re.search(r"\| upstream of 20 as of an instant +\| .*% \(.*\) \| ≥ 95%", printed), printed
        assert "Raised for 64 connections: `HEADWATER_MAX_WAITING=" in printed

    def test_postgraphile_is_compared_if_it_is_installed(self, printed: str) -> None:
        if servers.node() is None:
            assert "PostGraphile is not installed and left out" in printed
        else:
            assert re.search(r"\| upstream of 20 +\| +[\d,]+ \| +[\d,]+ \| +[\d,]+ \| +\d+% \(.*\) \| ≥ 100%", printed), printed

    @pytest.mark.parametrize("connections", CONNECTIONS)
    def test_every_server_has_all_figures_at_each_number_of_connections(self, printed: str, connections: int) -> None:
        for server in ("floor", "Headwater"):
            figures = r" +[\d,]+ \|( +\d+\.\d\d \|){4}"
            assert re.search(rf"\| 100 of _entities +\| +{connections} \| +{server} \|{figures}", printed), printed

    def test_slow_responses_are_compared_with_the_median(self, printed: str) -> None:
        assert re.search(r"\| 100 of _entities +\|( +\d+\.\d \|){2}( +\d+\.\d× \|){2} +\| ≤ 4× \|", printed), printed

    def test_memory_is_measured(self, printed: str) -> None:
        assert re.search(r"### Memory of Headwater.*\| 0 +\| +\d+ \|.*\| 30 +\| +\d+ \|", printed, re.DOTALL), printed

    def test_loads_are_compared_with_copy(self, printed: str) -> None:
        """The chosen load comes after another one, which is loaded too but not shown."""
        assert re.search(r"load of the same file again .* 0 .*\d\.\d× .*≤ 9×", printed), printed
        assert "load of new rows" not in printed

    def test_rows_that_were_not_chosen_are_not_measured(self, printed: str) -> None:
        assert "product by name" not in printed.partition("Operations of the readers")[0]
        assert "upstream of 450" not in printed

    def test_overload_ends_as_documented(self, printed: str) -> None:
        """No unexpected error, a response to every request, attacks refused as documented, and no statement left running: else
        the run fails."""
        assert re.search(r"readers only .* with attackers ", printed, re.DOTALL), printed
        assert re.search(r"10 000 aliases .* 200 LIMIT_EXCEEDED × \d", printed), printed
        assert re.search(r"a forged key .* 401 UNAUTHENTICATED × \d", printed), printed
        assert re.search(r"a byte a second .* 408 TIMEOUT × \d", printed), printed


@pytest.mark.slow(10)
def test_plans_are_checked_in_two_tenants() -> None:
    environment = {name: value for name, value in os.environ.items() if name != DATABASE_VARIABLE}
    command = [sys.executable, "-m", "tests.bench", "--plans", "--quick", "--rows", "assets by key", "--rows", "deleted assets"]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"\| assets by key \| [1-9]\d* \| [1-9]\d* \| 1,650 \|\n\| deleted assets \| [1-9]", ran.stdout), ran.stdout


def test_look_ups_that_read_too_much_are_described() -> None:
    good = Checked("good", 10, {KNOWN: 10, NEW: 9}, set(), "")
    dear = Checked("dear", 10, {KNOWN: 9, NEW: 11}, set(), "its statement")
    whole = Checked("whole", 10, {KNOWN: 9, NEW: 9}, {"asset"}, "")
    assert list(failures([good, dear, whole])) == [
        "dear: 11 of 10, reads whole: no table. its statement",
        "whole: 9 of 10, reads whole: asset. ",
    ]


class TestData:
    """The roots of pipelines reach what the names of rows say, at any size of the data."""

    @pytest.mark.parametrize(("pipeline", "reached"), [("small-00000", SMALL), ("large-00000", LARGE), ("nested-00000", 82)])
    def test_a_root_reaches_a_fixed_number_of_assets(self, pipeline: str, reached: int) -> None:
        found, level = set[str](), {str(product_uid(product_name(pipeline, 0)))}
        while level:
            level = set().union(*(sources()[it] for it in level)) - found
            found |= level
        assert len(found) == reached

    def test_four_nested_levels_list_about_200_assets(self) -> None:
        level, listed = [str(product_uid(product_name("nested-00000", 0)))], 0
        for _ in range(4):
            level = [source for it in level for source in sorted(sources()[it])]
            listed += len(level)
        assert listed == 5 + 15 + 45 + 135

    def test_sizes_are_those_that_are_printed(self) -> None:
        assert (WHOLE.products, WHOLE.links) == (30_000, 74_980)
        assert MILLION.products == 1_000_000
        assert 2_900_000 < MILLION.links < 3_000_000
        assert sum(1 for _ in link_lines(QUICK)) == QUICK.links
        assert sum(it["kind"] == "product" for it in asset_lines(QUICK)) == 2 * QUICK.products


@cache
def sources() -> dict[str, set[str]]:
    """The direct sources of each product, by uid."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in link_lines(replace(QUICK, reached=LARGE)):
        found[str(line["target"]["uid"])].add(str(line["source"]["uid"]))
    return found


def test_the_root_of_a_pipeline_reaches_the_same_number_of_assets_at_any_instant() -> None:
    by_name = {it.name: it for it in components(replace(graph.QUICK, most_reached=REACHED["most"]))}
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
    names = [surname(number, VERSIONS - 1).lower() for number in range(40_000)]
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
        backends={("headwater", "active"): 26},
        settled=None,
    )
    assert list(Overload(overload.QUICK, good, good).failures()) == []
    assert [it.partition(": {")[0] for it in Overload(overload.QUICK, good, bad).failures()] == [
        "Readers beside attackers: outcome 200 INTERNAL, 1 times.",
        "Readers beside attackers: outcome hung, 1 times.",
        "Readers beside attackers: outcome 429 RATE_LIMITED, 1 times.",
        "5 s after readers beside attackers, connections are still active",
        "After readers beside attackers, the service has more than 25 connections",
        "Attack with 10 000 aliases: outcome 200, 1 times.",
    ]

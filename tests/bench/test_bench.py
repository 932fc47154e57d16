"""The benchmark runs. What it measures here says nothing: other tests run beside it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.bench.__main__ import WHOLE
from tests.bench.data import GIVEN
from tests.bench.entities import surname
from tests.bench.versions import VERSIONS

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


def test_a_quick_run_compares_loads_with_copy() -> None:
    """One that comes after another one, which is loaded then too but not shown."""
    printed = bench("same file again")
    assert re.search(r"load of the same file again .* 0 .*\d\.\d× .*≤ 9×", printed), printed
    assert "load of new rows" not in printed


def test_what_is_searched_for_has_a_few_dozen_hits() -> None:
    names = [surname(number, VERSIONS - 1).lower() for number in range(WHOLE.entities)]
    for sample in range(20):
        assert 36 <= sum(names[sample] in name for name in names) <= 48

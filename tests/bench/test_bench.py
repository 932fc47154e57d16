"""The benchmark runs. What it measures here says nothing: other tests run beside it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.bench.data import GIVEN

REPOSITORY = Path(__file__).parent.parent.parent


def test_a_quick_run_compares_the_service_with_its_floor() -> None:
    environment = {name: value for name, value in os.environ.items() if name != GIVEN}
    command = [sys.executable, "-m", "tests.bench", "--quick", "--rows", "update"]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"update of a product .*\d\.\d\d×", ran.stdout), ran.stdout

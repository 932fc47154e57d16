"""The table of random tests lists all of them, and sources that exist."""

import re

from tests.soak import ROOT, SUBJECTS


def test_every_module_of_random_tests_is_listed() -> None:
    marked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"pytest\.mark\.random\b", path.read_text())
    }
    assert marked == SUBJECTS.keys()


def test_every_listed_source_exists() -> None:
    assert all((ROOT / path).exists() for paths in SUBJECTS.values() for path in paths)

"""The table of random tests lists all of them, and sources that exist."""

import re

from tests.soak import FAULTS, ROOT, SUBJECTS, subject


def test_every_module_of_random_tests_is_listed() -> None:
    marked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"pytest\.mark\.random\b", path.read_text())
    }
    assert marked == {*SUBJECTS, FAULTS}


def test_every_listed_source_exists() -> None:
    assert all((ROOT / path).exists() for module in SUBJECTS for path in subject(module))


def test_subject_holds_every_module_that_a_random_test_imports_from_its_packages() -> None:
    for module in SUBJECTS:
        covered = [ROOT / path for path in subject(module)]
        for name in re.findall(r"^from ((?:db|tests)\.[\w.]+) import", (ROOT / module).read_text(), re.MULTILINE):
            path = ROOT / name.replace(".", "/")
            assert any(path.with_suffix(".py") == it or path.is_relative_to(it) for it in covered), f"{module}: {name}"

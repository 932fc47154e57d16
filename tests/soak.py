"""Run the random tests at length and the siege, and record that they passed: `python -m tests.soak`.

tests/soaked.json holds, for each module of random tests, a digest of it and of the sources that it tests, as of its last soak.
`--changed` runs only the modules whose digest differs. It leaves out the faults and the siege, which test the whole service: any
change would call for them, and they take most of an hour.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.randomness import SOAK

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).with_name("soaked.json")

# What every random test uses. A folder stands for its sources without its test modules.
COMMON = (
    "db",
    "tests/builders.py",
    "tests/conftest.py",
    "tests/databases.py",
    "tests/hooks.py",
    "tests/randomness.py",
    "tests/db",
)
INGESTION = ("graph_api/commands", "graph_api/ingestion", "tests/commands.py", "tests/processes.py", "tests/graph_api")

# Modules of random tests, and what each of them uses besides.
SUBJECTS: dict[str, tuple[str, ...]] = {
    "tests/db/assets/test_entity_key.py": (),
    "tests/db/associations/test_histories_random.py": (),
    "tests/db/associations/test_relationships_random.py": (),
    "tests/db/associations/test_stubs_random.py": (),
    "tests/db/bulk/test_purge.py": (),
    "tests/db/consistency/test_concurrency.py": ("schema",),
    "tests/db/lineage/test_analytics.py": (),
    "tests/db/lineage/test_graph.py": (),
    "tests/db/lineage/test_walk_random.py": (),
    "tests/db/lineage/test_window_random.py": (),
    "tests/db/registries/test_detail_format.py": (),
    "tests/db/temporal/test_change_log_machine.py": (),
    "tests/db/temporal/test_changes.py": (),
    "tests/db/tenancy/test_scope.py": (),
    "tests/graph_api/commands/test_ingest_csv.py": INGESTION,
    "tests/graph_api/commands/test_ingest_jsonl.py": INGESTION,
    "tests/graph_api/ingestion/test_jsonl.py": INGESTION,
    "tests/graph_api/ingestion/test_spreadsheet_cells.py": ("graph_api/ingestion",),
    "tests/schema/assets/test_entity_machine.py": ("schema", "graph_api/auth"),
    "tests/schema/assets/test_lists_random.py": ("schema",),
    "tests/schema/language/test_cursors.py": ("schema",),
    "tests/schema/language/test_limits.py": ("schema",),
    "tests/schema/planning/test_differential.py": ("schema", "tests/schema/planning", "tests/golden"),
    "tests/schema/test_search_random.py": ("schema",),
    "tests/security/test_tenants.py": ("schema", "tests/security"),
}
# Faults at random moments, and the siege, which measures durations and so runs alone.
FAULTS, SIEGE = "tests/graph_api/commands/test_faults.py", "tests/siege"
SOURCES = (".py", ".sql")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--changed", action="store_true", help="only modules whose subject changed since their last soak")
    parser.add_argument("modules", nargs="*", help="modules to run; all unless some are named")
    arguments = parser.parse_args()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    chosen = arguments.modules or [*SUBJECTS, *(() if arguments.changed else (FAULTS, SIEGE))]
    digests = {module: digest(subject(module)) for module in chosen if module in SUBJECTS}
    modules = [it for it in chosen if not arguments.changed or record.get(it) != digests[it]]
    if not modules:
        print("No subject of a random test has changed since its last soak.")
        return 0
    print("Soaking", *modules, sep="\n  ", flush=True)
    random_tests = [it for it in modules if it != SIEGE]
    if random_tests:
        if status := _run("pytest", "-n", "auto", "-m", "random", f"--hypothesis-profile={SOAK}", *random_tests):
            return status
        # a source that changed meanwhile was not the one that ran
        record |= {it: digests[it] for it in random_tests if it in digests and digest(subject(it)) == digests[it]}
        RECORD.write_text(json.dumps({it: record[it] for it in sorted(record) if it in SUBJECTS}, indent=2) + "\n")
        print(f"Recorded in {RECORD.relative_to(ROOT)}. Commit it.")
    return _run("tests.siege") if SIEGE in modules else 0


def _run(*command: str) -> int:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode


def subject(module: str) -> tuple[str, ...]:
    """Return the paths whose change calls for another soak of a module."""
    return (module, *COMMON, *SUBJECTS[module])


def digest(paths: Iterable[str]) -> str:
    """Return a digest of the names and contents of all sources below these paths."""
    found = hashlib.sha256()
    for source in sorted(source for path in paths for source in _sources(ROOT / path)):
        found.update(f"{source.relative_to(ROOT)}\n".encode())
        found.update(source.read_bytes())
    return found.hexdigest()[:16]


def _sources(path: Path) -> list[Path]:
    return (
        [path] if path.is_file() else [it for it in path.rglob("*") if it.suffix in SOURCES and not it.name.startswith("test_")]
    )


if __name__ == "__main__":
    sys.exit(main())

"""Run the random tests at length and record that they passed: `python -m tests.soak`.

tests/soaked.json holds, for each module of random tests, a digest of that module and of the sources that it tests, as of
its last soak. `--changed` runs only the modules whose digest differs.
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

# Modules of random tests, and the sources that each of them tests.
SUBJECTS = {
    "tests/db/associations/test_relationships_random.py": ("db/associations", "db/consistency", "db/temporal"),
    "tests/db/bulk/test_purge.py": ("db/bulk",),
    "tests/db/consistency/test_concurrency.py": ("db/assets", "db/consistency", "db/temporal"),
    "tests/db/lineage/test_analytics.py": ("db/lineage",),
    "tests/db/lineage/test_graph.py": ("db/lineage",),
    "tests/db/lineage/test_walk_random.py": ("db/lineage",),
    "tests/db/registries/test_detail_format.py": ("db/registries",),
    "tests/db/temporal/test_change_log_machine.py": ("db/assets", "db/consistency", "db/temporal"),
    "tests/db/temporal/test_changes.py": ("db/consistency", "db/temporal"),
    "tests/db/tenancy/test_scope.py": ("db/assets", "db/associations", "db/tenancy"),
    "tests/graph_api/commands/test_ingest_jsonl.py": ("db/bulk", "graph_api/ingestion"),
    "tests/schema/assets/test_entity_machine.py": ("db/assets", "db/bulk", "db/consistency", "db/temporal", "schema/assets"),
}
SOURCES = (".py", ".sql")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--changed", action="store_true", help="only modules whose subject changed since their last soak")
    parser.add_argument("modules", nargs="*", help="modules to run; all unless some are named")
    arguments = parser.parse_args()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    digests = {module: digest((module, *SUBJECTS[module])) for module in arguments.modules or SUBJECTS}
    modules = [it for it in digests if not arguments.changed or record.get(it) != digests[it]]
    if not modules:
        print("No subject of a random test has changed since its last soak.")
        return 0
    print("Soaking", *modules, sep="\n  ", flush=True)
    command = [sys.executable, "-m", "pytest", "-n", "auto", "-m", "random", f"--hypothesis-profile={SOAK}", *modules]
    if status := subprocess.run(command, cwd=ROOT, check=False).returncode:
        return status
    # a source that changed meanwhile was not the one that ran
    record |= {it: digests[it] for it in modules if digest((it, *SUBJECTS[it])) == digests[it]}
    RECORD.write_text(json.dumps({it: record[it] for it in sorted(record) if it in SUBJECTS}, indent=2) + "\n")
    print(f"Recorded in {RECORD.relative_to(ROOT)}. Commit it.")
    return 0


def digest(paths: Iterable[str]) -> str:
    """Return a digest of the names and contents of all sources below these paths."""
    found = hashlib.sha256()
    for source in sorted(source for path in paths for source in _sources(ROOT / path)):
        found.update(f"{source.relative_to(ROOT)}\n".encode())
        found.update(source.read_bytes())
    return found.hexdigest()[:16]


def _sources(path: Path) -> list[Path]:
    return [path] if path.is_file() else [it for it in path.rglob("*") if it.suffix in SOURCES]


if __name__ == "__main__":
    sys.exit(main())

"""Run suites of consumers' tools against real services, and print the result of each check."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.conformance import caches, explorer, federation, http, package, persisted, python, relay, typescript
from tests.conformance.stage import HERE, CannotRun, Result, Stage, find_node

SUITES: dict[str, Callable[[Stage], None]] = {
    "federation": federation.run,
    "http": http.run,
    "persisted": persisted.run,
    "relay": relay.run,
    "caches": caches.run,
    "typescript": typescript.run,
    "python": python.run,
    "explorer": explorer.run,
    "package": package.run,
}


def main() -> int:
    # exit by an exception, so that the context managers stop the other processes
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"suites to run, of {', '.join(SUITES)}; default: all")
    suites = parser.parse_args().suites or list(SUITES)
    if unknown := [it for it in suites if it not in SUITES]:
        parser.error(f"unknown suite {unknown[0]!r}")
    try:
        node = find_node()
        if not (HERE / "node_modules").is_dir():
            raise CannotRun("The packages of tests/conformance are not installed. Run: make conformance")
        failed = passed = 0
        with tempfile.TemporaryDirectory(prefix="headwater-conformance-") as directory, Stage(Path(directory), node) as stage:
            for name in suites:
                start = len(stage.results)
                SUITES[name](stage)
                results = stage.results[start:]
                show(name, results)
                failed += sum(not it.ok for it in results)
                passed += sum(it.ok for it in results)
    except CannotRun as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def show(suite: str, results: list[Result]) -> None:
    print(f"{suite}:")
    width = max((len(it.name) for it in results), default=0)
    for result in results:
        detail = result.detail.strip().replace("\n", "\n      ")
        print(f"  {result.name:{width}}  {'ok' if result.ok else 'FAILED':6}  {detail}".rstrip(), flush=True)


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

"""Lets each suite ask real services with the tools that their consumers use, and says what came of it."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.conformance import explorer, federation, http, package, persisted, python, relay, typescript
from tests.conformance.stage import HERE, CannotCheck, Result, Stage, find_node

SUITES: dict[str, Callable[[Stage], None]] = {
    "federation": federation.run,
    "http": http.run,
    "persisted": persisted.run,
    "relay": relay.run,
    "typescript": typescript.run,
    "python": python.run,
    "explorer": explorer.run,
    "package": package.run,
}


def main() -> int:
    # ended by a signal, this process leaves through the doors that stop the others
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    asked = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    asked.add_argument(
        "suites", nargs="*", metavar="suite", help=f"which to run, of {', '.join(SUITES)}; all unless some are named"
    )
    suites = asked.parse_args().suites or list(SUITES)
    if unknown := [it for it in suites if it not in SUITES]:
        asked.error(f"there is no suite {unknown[0]!r}")
    try:
        node = find_node()
        if not (HERE / "node_modules").is_dir():
            raise CannotCheck("The packages of tests/conformance are not installed. Run: make conformance")
        failed = passed = 0
        with tempfile.TemporaryDirectory(prefix="headwater-conformance-") as directory, Stage(Path(directory), node) as stage:
            for name in suites:
                begun = len(stage.results)
                SUITES[name](stage)
                results = stage.results[begun:]
                show(name, results)
                failed += sum(not it.ok for it in results)
                passed += sum(it.ok for it in results)
    except CannotCheck as error:
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


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

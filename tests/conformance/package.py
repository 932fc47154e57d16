"""What an ordinary install brings, and what one brings where npm reaches nothing."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import httpx

from tests.conformance.stage import Stage

ROOT = Path(__file__).parents[2]
PATIENCE = 300
GRAPHIQL = "graph_api/graphiql"
MAKE_SOURCES = "import sys, with_graphiql; with_graphiql.build_sdist(sys.argv[1])"


def run(stage: Stage) -> None:
    with stage.check("a source distribution is made where nothing has been built") as detail:
        sources = _sources(stage)
        detail.append(sources.name)
    with stage.check("a package of it brings GraphiQL, and serves it from any directory") as detail:
        detail.append(_install(stage, sources))
    with stage.check("where npm fails, a package is whole but for GraphiQL") as detail:
        ended, told, held = _wheel_without_npm(stage, sources)
        assert ended == 0, told
        assert [it for it in held if it.startswith(GRAPHIQL)] == [f"{GRAPHIQL}/page.html"]
        (warning,) = re.findall(r"warning: this package.*", told)
        detail.append(warning)
    with stage.check("where GraphiQL is required, that fails") as detail:
        ended, told, held = _wheel_without_npm(stage, sources, "--config-settings=graphiql=required")
        assert (ended != 0, held) == (True, [])
        (reason,) = re.findall(r"CannotBuild: .*", told)
        detail.append(reason)


def _sources(stage: Stage) -> Path:
    """A source distribution, unpacked. It is made of a checkout of its own, in which nothing has been built."""
    checkout, venv = stage.directory / "checkout", stage.directory / "venv"
    listed = _output(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    for name in listed.rstrip("\0").split("\0"):
        # one that was removed is still listed
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    _output([sys.executable, "-m", "venv", "--without-pip", venv])
    _output([*_pip(stage), "install", "--quiet", "--constraint", checkout / "constraints.txt", "setuptools"])
    _output([venv / "bin/python", "-c", MAKE_SOURCES, stage.directory], cwd=checkout, PYTHONPATH=GRAPHIQL)
    (packed,) = stage.directory.glob("headwater-*.tar.gz")
    # made here, and by a Python that may be too old to be told which of its members to trust
    shutil.unpack_archive(packed, stage.directory)
    return packed.with_name(packed.name.removesuffix(".tar.gz"))


def _install(stage: Stage, sources: Path) -> str:
    elsewhere, venv = stage.directory / "elsewhere", stage.directory / "venv"
    elsewhere.mkdir()
    pins = str(sources / "constraints.txt")
    # all that it needs is here already, by the same pins
    _output([*_pip(stage), "install", "--quiet", "--no-deps", sources], PIP_CONSTRAINT=pins, PIP_BUILD_CONSTRAINT=pins)
    settings = {"PYTHONPATH": sysconfig.get_path("purelib")}
    serve: list[Path | str] = ["demo", "--host", "127.0.0.1", "--port", "0", "--data", stage.directory / "installed"]
    command: list[Path | str] = [venv / "bin/headwater", *serve]
    (installed,) = venv.glob(f"lib/*/site-packages/{GRAPHIQL}")
    with (
        stage.service(command, settings, cwd=elsewhere) as (_, address),
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        page = client.get("/graphql", headers={"Accept": "text/html"}).text
        named = set(re.findall(r'"(/graphiql/.*?)"', page))
        assert named == {"/graphiql/graphiql.js", "/graphiql/graphiql.css"}, page
        files = [it.relative_to(installed / "dist") for it in (installed / "dist").rglob("*") if it.is_file()]
        statuses = {client.get(path).status_code for path in [*named, *(f"/graphiql/{it}" for it in files)]}
    assert statuses == {200}, statuses
    return f"its {len(files)} files are there: 200"


def _wheel_without_npm(stage: Stage, sources: Path, *options: str) -> tuple[int, str, list[str]]:
    """How a build ends that finds an npm that fails, what it says, and what of a wheel comes of it."""
    broken, made = stage.directory / "broken", stage.directory / f"wheel{len(options)}"
    broken.mkdir(exist_ok=True)
    npm = broken / "npm"
    npm.write_text("#!/bin/sh\necho no registry answers >&2\nexit 1\n")
    npm.chmod(0o755)
    shutil.rmtree(sources / GRAPHIQL / "dist", ignore_errors=True)
    command = [*_pip(stage), "wheel", "--verbose", "--no-deps", "--no-build-isolation", "--wheel-dir", made, *options, sources]
    done = _run(command, PATH=f"{broken}{os.pathsep}{os.environ['PATH']}")
    held = [name for it in made.glob("*.whl") for name in ZipFile(it).namelist()]
    return done.returncode, done.stdout, held


def _pip(stage: Stage) -> list[Path | str]:
    return [sys.executable, "-m", "pip", "--python", stage.directory / "venv/bin/python"]


def _output(command: list[Path | str], *, cwd: Path | None = None, **environment: str) -> str:
    done = _run(command, cwd=cwd, **environment)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}.\n{done.stdout[-2000:]}"
    return done.stdout


def _run(command: list[Path | str], *, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    told, both = subprocess.PIPE, subprocess.STDOUT
    return subprocess.run(
        command, stdout=told, stderr=both, text=True, cwd=cwd, env={**os.environ, **environment}, timeout=PATIENCE, check=False
    )

"""The installed package: with GraphiQL, and without it where npm reaches no registry."""

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
TIMEOUT = 300
GRAPHIQL = "graph_api/graphiql"
MAKE_SOURCES = "import sys, with_graphiql; with_graphiql.build_sdist(sys.argv[1])"


def run(stage: Stage) -> None:
    with stage.check("a source distribution is built from a clean checkout") as detail:
        sources = _sources(stage)
        detail.append(sources.name)
    with stage.check("its package contains GraphiQL and serves it from any directory") as detail:
        detail.append(_install(stage, sources))
    with stage.check("without npm, the package is complete except GraphiQL") as detail:
        status, output, names = _wheel_without_npm(stage, sources)
        assert status == 0, output
        examples = {str(it.relative_to(ROOT)) for it in (ROOT / GRAPHIQL / "examples").glob("*.graphql")}
        data = {it for it in names if it.startswith(GRAPHIQL) and not it.endswith(".py")}
        assert data == {f"{GRAPHIQL}/page.html", *examples}, data
        (warning,) = re.findall(r"warning: this package.*", output)
        detail.append(warning)
    with stage.check("without npm, a build that requires GraphiQL fails") as detail:
        status, output, names = _wheel_without_npm(stage, sources, "--config-settings=graphiql=required")
        assert (status != 0, names) == (True, [])
        (reason,) = re.findall(r"CannotBuild: .*", output)
        detail.append(reason)


def _sources(stage: Stage) -> Path:
    """Build a source distribution from a clean checkout. Return the directory that it is unpacked to."""
    checkout, venv = stage.directory / "checkout", stage.directory / "venv"
    listed = _output(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    for name in listed.rstrip("\0").split("\0"):
        # git lists files that were removed, too
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    _output([sys.executable, "-m", "venv", "--without-pip", venv])
    _output([*_pip(stage), "install", "--quiet", "--constraint", checkout / "constraints.txt", "setuptools"])
    _output([venv / "bin/python", "-c", MAKE_SOURCES, stage.directory], cwd=checkout, PYTHONPATH=GRAPHIQL)
    (packed,) = stage.directory.glob("headwater-*.tar.gz")
    # without a filter of members: the file is trusted, and the Python may be too old for one
    shutil.unpack_archive(packed, stage.directory)
    return packed.with_name(packed.name.removesuffix(".tar.gz"))


def _install(stage: Stage, sources: Path) -> str:
    elsewhere, venv = stage.directory / "elsewhere", stage.directory / "venv"
    elsewhere.mkdir()
    pins = str(sources / "constraints.txt")
    # its dependencies are those of this environment, by the same pins
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
        linked = set(re.findall(r'"(/graphiql/.*?)"', page))
        assert linked == {"/graphiql/graphiql.js", "/graphiql/graphiql.css"}, page
        files = [it.relative_to(installed / "dist") for it in (installed / "dist").rglob("*") if it.is_file()]
        statuses = {client.get(path).status_code for path in [*linked, *(f"/graphiql/{it}" for it in files)]}
    assert statuses == {200}, statuses
    return f"all of its {len(files)} files are served: 200"


def _wheel_without_npm(stage: Stage, sources: Path, *options: str) -> tuple[int, str, list[str]]:
    """Build a wheel with an npm that fails. Return the exit status, the output, and the names in the wheel."""
    broken, built = stage.directory / "broken", stage.directory / f"wheel{len(options)}"
    broken.mkdir(exist_ok=True)
    npm = broken / "npm"
    npm.write_text("#!/bin/sh\necho no registry responds >&2\nexit 1\n")
    npm.chmod(0o755)
    shutil.rmtree(sources / GRAPHIQL / "dist", ignore_errors=True)
    command = [*_pip(stage), "wheel", "--verbose", "--no-deps", "--no-build-isolation", "--wheel-dir", built, *options, sources]
    done = _run(command, PATH=f"{broken}{os.pathsep}{os.environ['PATH']}")
    names = [name for it in built.glob("*.whl") for name in ZipFile(it).namelist()]
    return done.returncode, done.stdout, names


def _pip(stage: Stage) -> list[Path | str]:
    return [sys.executable, "-m", "pip", "--python", stage.directory / "venv/bin/python"]


def _output(command: list[Path | str], *, cwd: Path | None = None, **environment: str) -> str:
    done = _run(command, cwd=cwd, **environment)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}.\n{done.stdout[-2000:]}"
    return done.stdout


def _run(command: list[Path | str], *, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=TIMEOUT,
        check=False,
    )

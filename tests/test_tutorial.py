"""The tutorial: each of its steps is run in order, with the real command, and gives the printed answer."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from graph_api import graphiql
from tests.browser import CHROMIUM, Browser

# the steps run once, for all tests here
pytestmark = [
    pytest.mark.integration,
    pytest.mark.api,
    pytest.mark.slow(40),
    pytest.mark.xdist_group("tutorial"),
]

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/tutorial.md").read_text()
HEADWATER = Path(sys.executable).with_name("headwater")
HEADERS = ".graphiql-editor-tool .graphiql-editor:not(.hidden)"
BUNDLE = Path(graphiql.__file__).parent / "dist/graphiql.js"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/graphql")


class Step(NamedTuple):
    """A command or a query of the page, the answer that the page prints, and the answer given."""

    text: str
    printed: Any
    given: Any


class Walkthrough:
    """A person who follows the page: two terminals on one data directory, and a client with the key."""

    def __init__(self, directory: Path) -> None:
        self.steps: list[Step] = []
        self.key = ""
        self.address = ""
        self._directory = directory
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
            "HEADWATER_DATA": str(directory / "tutorial"),
            "HEADWATER_PORT": "0",
            "COLUMNS": "200",
        }
        self._service: subprocess.Popen[str] | None = None

    def follow(self, page: str) -> None:
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for (language, text), (_, following) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
            if language == "graphql":
                self.steps.append(Step(text, json.loads(following), self.query(text)))
            elif language == "" and text.startswith("$ "):
                for line, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                    self._enter(line, output)

    @property
    def walk(self) -> Step:
        """The step whose answer the page draws."""
        (step,) = [it for it in self.steps if "truncated" in it.text]
        return step

    def query(self, text: str) -> Any:
        body = httpx.post(self.address, json={"query": text}, headers={"X-API-Key": self.key}, timeout=30, trust_env=False).json()
        return body["errors"] if "errors" in body else body["data"]

    def _enter(self, line: str, output: str) -> None:
        program, *arguments = shlex.split(line)
        if program == "cat":
            (self._directory / arguments[0]).write_text(output)
            return
        assert program == "headwater"
        if arguments == ["serve"]:
            self._serve()
            return
        command = [str(HEADWATER), *arguments]
        result = subprocess.run(command, cwd=self._directory, env=self._environment, capture_output=True, text=True, timeout=120)
        # a load prints its counts on standard output and its duration on standard error
        given = result.stdout + result.stderr if arguments[0] == "ingest" else result.stdout
        assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
        if arguments[:2] == ["keys", "create"]:
            self.key = result.stdout.strip()
        self.steps.append(Step(line, output, given))

    def _serve(self) -> None:
        self._service = subprocess.Popen(
            [str(HEADWATER), "serve"], cwd=self._directory, env=self._environment, stderr=subprocess.PIPE, text=True
        )
        assert self._service.stderr
        for line in self._service.stderr:
            if found := ADDRESS.search(line):
                self.address = found[0]
                return
        raise AssertionError("the service ended before it named its address")

    def stop(self) -> None:
        if self._service is not None:
            self._service.send_signal(signal.SIGINT)
            self._service.communicate(timeout=60)


@pytest.fixture(scope="module")
def walkthrough() -> Iterator[Walkthrough]:
    with tempfile.TemporaryDirectory(prefix="headwater-tutorial-") as directory:
        # as root, the embedded server works as a user that has to reach the directory
        Path(directory).chmod(0o755)
        person = Walkthrough(Path(directory))
        try:
            person.follow(PAGE)
            yield person
        finally:
            person.stop()


def test_every_step_gives_the_printed_answer(walkthrough: Walkthrough) -> None:
    assert len(walkthrough.steps) > 15
    for step in walkthrough.steps:
        if isinstance(step.printed, str):
            assert re.fullmatch(re.escape(step.printed).replace("…", ".+"), step.given), f"{step.text}\n{step.given}"
        else:
            assert step.given == step.printed, step.text


def test_a_repeated_request_gets_the_first_answer(walkthrough: Walkthrough) -> None:
    registration = next(step for step in walkthrough.steps if "registerProduct" in step.text)
    assert walkthrough.query(registration.text) == registration.printed
    assert walkthrough.query("{ products { totalCount } }") == {"products": {"totalCount": 3}}


def test_the_drawing_has_the_links_of_the_walk_before_it(walkthrough: Walkthrough) -> None:
    (drawing,) = re.findall(r"^```mermaid\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    labels = dict(re.findall(r"(\w+)\[(.*?)\]", drawing))
    drawn = {(labels[source], labels[target]) for source, target in re.findall(r"(\w+)(?:\[.*?\])? --> (\w+)", drawing)}
    links = walkthrough.walk.printed["product"]["upstream"]["links"]
    assert drawn == {(it["source"]["label"], it["target"]["label"]) for it in links}


def test_the_commands_of_the_installation_exist() -> None:
    installation, preparation = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    subprocess.run([*installation.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)
    shell = ["sh", "-c", f"{preparation}\ncommand -v headwater && echo $HEADWATER_DATA"]
    directory = HEADWATER.parent.parent.parent
    result = subprocess.run(shell, cwd=directory, check=True, capture_output=True, text=True)
    assert result.stdout.splitlines() == [str(HEADWATER), "tutorial"]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.skipif(not BUNDLE.is_file(), reason="GraphiQL is not built: make graphiql")
def test_graphiql_shows_the_lineage_with_the_key_under_headers(walkthrough: Walkthrough, tmp_path: Path) -> None:
    walk = walkthrough.walk
    with Browser(tmp_path / "profile") as browser:
        browser.open(walkthrough.address)
        browser.wait_for("text('.graphiql-query-editor .view-lines').includes('query')")
        browser.wait_for("document.querySelectorAll('.graphiql-editor-tool .monaco-editor').length === 2")
        browser.click(".graphiql-tab-add")
        browser.wait_for("!text('.graphiql-query-editor .view-lines').includes('# ')")
        browser.wait_for("document.querySelector('[data-name=headers]').classList.contains('active')")
        browser.paste(HEADERS, json.dumps({"X-API-Key": walkthrough.key}))
        browser.paste(".graphiql-query-editor", " ".join(walk.text.split()))
        browser.click(".graphiql-execute-button")
        for edge in walk.printed["product"]["upstream"]["edges"]:
            browser.wait_for(f"text('.result-window').includes({json.dumps(edge['node']['label'])})")

"""The GraphiQL page: safe embedding of examples, assets, the page without a bundle, and a browser without a network."""

import asyncio
import html
import json
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from graphql import build_schema, graphql_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from graph_api import graphiql
from graph_api.graphiql.page import Example
from tests.browser import CHROMIUM, Browser

HOSTILE = """</script><script>alert(1)</script><!-- & ' " $examples ${examples} \u2028 é"""
BUNDLE = Path(graphiql.__file__).parent / "dist"

SCHEMA = build_schema("""
    type Product { name: String!, owner: String! }
    type Query { product(name: String!): Product }
""")


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle that the page takes for complete."""
    bundle = tmp_path / "dist"
    bundle.mkdir()
    (bundle / "graphiql.js").write_text("export {};")
    monkeypatch.setattr(graphiql.page, "_BUNDLE", bundle)
    return bundle


@pytest.fixture
def not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    missing = tmp_path / "dist"
    monkeypatch.setattr(graphiql.page, "_BUNDLE", missing)
    return missing


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a running service with GraphiQL and a schema of one field."""

    async def graphql(request: Request) -> Response:
        if request.method == "GET":
            examples = [
                Example("One product", 'query OneProduct { product(name: "orders") { owner } }', '{"unused": 1}'),
                Example("Markup", 'query Markup { product(name: "</script>") { name } }'),
            ]
            policy = {"Content-Security-Policy": graphiql.page.CONTENT_SECURITY_POLICY}
            return HTMLResponse(graphiql.page.render_page(examples), headers=policy)
        operation = await request.json()
        result = graphql_sync(SCHEMA, operation["query"], {"product": {"name": "orders", "owner": "sales"}})
        return JSONResponse(result.formatted)

    app = Starlette(routes=[Route("/graphql", graphql, methods=["GET", "POST"]), graphiql.page.assets()])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/graphql"
        server.should_exit = True
        thread.join(timeout=10)


def get(app: Starlette, path: str, **headers: str) -> httpx.Response:
    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(answer())


def embedded(page: str) -> object:
    """Return the examples as a browser reads them: the text up to the first end tag of a script element."""
    match = re.search(r'<script type="application/json" id="examples">(.*?)</script', page, re.DOTALL | re.IGNORECASE)
    assert match
    return json.loads(match[1])


def test_examples_with_any_content_are_embedded_unchanged(built: Path) -> None:
    page = graphiql.page.render_page([Example(HOSTILE, HOSTILE, HOSTILE), Example("plain", "{ a }")])

    assert embedded(page) == [
        {"name": HOSTILE, "query": HOSTILE, "variables": HOSTILE},
        {"name": "plain", "query": "{ a }", "variables": ""},
    ]
    assert page.count("<script") == page.count("</script>") == 2
    assert "<!--" not in page


def test_a_page_without_examples_embeds_an_empty_list(built: Path) -> None:
    assert embedded(graphiql.page.render_page([])) == []


def test_the_page_is_marked_if_the_service_requires_authentication(built: Path) -> None:
    assert '<div id="graphiql"></div>' in graphiql.page.render_page([])
    assert '<div id="graphiql" data-require-auth></div>' in graphiql.page.render_page([], require_auth=True)


def test_the_page_refers_to_no_other_host_and_holds_no_inline_script(built: Path) -> None:
    page = graphiql.page.render_page([])

    assert "//" not in page
    assert re.findall(r"<script(.*?)>", page) == [
        ' type="application/json" id="examples"',
        ' type="module" src="/graphiql/graphiql.js"',
    ]


def test_assets_are_revalidated_at_each_use(built: Path) -> None:
    app = Starlette(routes=[graphiql.page.assets()])
    first = get(app, "/graphiql/graphiql.js")
    second = get(app, "/graphiql/graphiql.js", **{"If-None-Match": first.headers["ETag"]})

    assert (first.status_code, first.text, second.status_code) == (200, "export {};", 304)
    assert first.headers["Cache-Control"] == second.headers["Cache-Control"] == "no-cache"


def test_no_file_outside_the_directory_of_assets_is_served(built: Path) -> None:
    (built.parent / "secret.txt").write_text("not for the world")
    app = Starlette(routes=[graphiql.page.assets()])

    assert get(app, "/graphiql/%2e%2e/secret.txt").status_code == 404
    assert get(app, "/graphiql/..%2fsecret.txt").status_code == 404
    assert get(app, "/graphiql/").status_code == 404


def test_without_a_bundle_the_page_says_how_to_build_it_and_assets_are_missing(not_built: Path) -> None:
    page = graphiql.page.render_page([Example("one", "{ a }")])

    assert "make graphiql" in page
    assert "<script" not in page
    assert get(Starlette(routes=[graphiql.page.assets()]), "/graphiql/graphiql.js").status_code == 404


def test_a_bundle_built_while_the_service_runs_is_served(not_built: Path) -> None:
    app = Starlette(routes=[graphiql.page.assets()])
    before = get(app, "/graphiql/graphiql.js")
    not_built.mkdir()
    (not_built / "graphiql.js").write_text("export {};")
    after = get(app, "/graphiql/graphiql.js")

    assert (before.status_code, after.status_code) == (404, 200)
    assert embedded(graphiql.page.render_page([])) == []


def test_without_a_bundle_the_displayed_command_is_safe_to_paste(not_built: Path) -> None:
    page = graphiql.page.render_page([Example("hostile", HOSTILE)], address="http://127.0.0.1/$(touch x)'<b>")
    command = re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)

    assert command
    program, target, *_, body = shlex.split(html.unescape(command[1]))
    assert (program, target) == ("curl", "http://127.0.0.1/$(touch x)'<b>")
    assert json.loads(body) == {"query": HOSTILE}
    assert "<b>" not in page


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("examples", "data"),
    [
        ([Example("one", '# A comment\nquery { product(name: "o\'s") { owner } }\n')], {"product": {"owner": "sales"}}),
        ([Example("needs variables", "query ($a: Int) { a }", '{"a": 1}')], {"__typename": "Query"}),
    ],
)
@pytest.mark.integration
def test_without_a_bundle_the_displayed_command_works(
    not_built: Path, address: str, examples: list[Example], data: dict[str, object]
) -> None:
    command = re.search(r"<pre>(.*?)</pre>", graphiql.page.render_page(examples, address), re.DOTALL)

    assert command
    shell = ["sh", "-c", html.unescape(command[1]) + " --silent --noproxy '*'"]
    result = subprocess.run(shell, capture_output=True, check=True, timeout=30)
    assert json.loads(result.stdout) == {"data": data}


def test_the_lock_file_names_no_host() -> None:
    lock = (BUNDLE.parent / "package-lock.json").read_text()

    assert "http" not in lock
    assert json.loads(lock)["packages"]["node_modules/graphiql"]["integrity"]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.skipif(not (BUNDLE / "graphiql.js").is_file(), reason="GraphiQL is not built: make graphiql")
def test_a_browser_without_a_network_opens_the_examples_and_runs_one(address: str, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(address)
        browser.wait_for("text('.graphiql-doc-explorer').includes('All Schema Types')")
        browser.wait_for("text('.graphiql-query-editor .view-lines').includes('query OneProduct { product(name: ')")
        browser.wait_for("text('.graphiql-editor-tool .view-lines').includes('unused')")
        browser.wait_for("new Set(all('.graphiql-query-editor .view-line span span', e => e.className)).size > 2")

        browser.click(".graphiql-execute-button")
        browser.wait_for("""text('.result-window').includes('"owner": "sales"')""")
        assert browser.evaluate("all('.graphiql-tab-button', e => e.textContent)") == ["OneProduct", "Markup"]

        browser.click(".graphiql-tab-close")
        browser.wait_for("!localStorage['headwater:graphiql:tabState'].includes('OneProduct')")
        browser.open(address)
        browser.wait_for("text('.graphiql-query-editor .view-lines').includes('query Markup')")
        assert browser.evaluate("all('.graphiql-tab-button', e => e.textContent)") == ["Markup"]
        assert browser.messages == []

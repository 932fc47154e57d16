"""GraphiQL in a browser that reaches only the service, without and with authentication."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph_api.graphiql.examples import EXAMPLES
from tests.browser import CHROMIUM, Browser
from tests.conformance.stage import Stage

# Names a file for a screenshot; that of the service with authentication is put beside it.
SCREENSHOT = "HEADWATER_SCREENSHOT"

TABS = [re.findall(r"^(?:query|mutation) (\w+)", example.query, re.MULTILINE)[0] for example in EXAMPLES]
HEADERS = ".graphiql-editor-tool .graphiql-editor:not(.hidden)"
HAS_DATA = "text('.result-window').includes('\"data\"')"
IS_REFUSED = "text('.result-window').includes('UNAUTHENTICATED')"
TOTAL = r'"totalCount": (\d+)'
NOW = r'"now": { "id": "(.*?)"'
DOCUMENTED = "text('.graphiql-doc-explorer').includes('mutation: Mutation')"


def run(stage: Stage) -> None:
    if CHROMIUM is None:
        stage.report("GraphiQL works in a browser", False, "Chromium is not installed.")
        return
    _without_authentication(stage)
    _with_authentication(stage)
    _without_anonymous_introspection(stage)


def _without_authentication(stage: Stage) -> None:
    address = stage.demo
    with _page(stage, "demo", address) as browser:
        with stage.check("every example has a tab") as detail:
            assert _tabs(browser) == TABS, _tabs(browser)
            detail.append(f"{len(TABS)}: {', '.join(TABS)}")
        with stage.check("the documentation shows the schema") as detail:
            browser.wait_for(DOCUMENTED)
            detail.append(f"{_types(browser)} types")
        with stage.check("the first example runs") as detail:
            _run(browser, HAS_DATA)
            detail.append(f"totalCount {_response(browser, TOTAL)}")
        with stage.check("the headers editor is empty") as detail:
            assert _header_text(browser) == "", _header_text(browser)
        _screenshot(stage, browser, "")
        with stage.check("no request goes to another host, and the console is empty") as detail:
            detail.append(_check_requests(browser, address))


def _with_authentication(stage: Stage) -> None:
    guarded = stage.guarded
    with _page(stage, "guarded", guarded.address) as browser:
        with stage.check("a service with authentication shows its schema and where to enter a key") as detail:
            browser.wait_for(DOCUMENTED)
            assert _header_text(browser) == '{ "X-API-Key": "" }'
            detail.append(_header_text(browser))
        with stage.check("without a key, the response says what to send") as detail:
            _run(browser, IS_REFUSED)
            detail.append(_response(browser, r'"message": "(.*?)"'))
            assert not _credentials(browser), "an empty key was sent"
            assert [it["entry"]["url"] for it in browser.messages] == [f"{guarded.address}/graphql"]
            browser.messages.clear()
        with stage.check("with a key in the headers editor, operations run") as detail:
            _enter(browser, guarded.key)
            _run(browser, HAS_DATA)
            detail.append(f"totalCount {_response(browser, TOTAL)}")
        _screenshot(stage, browser, "-guarded")
        with stage.check("operations of another tab run with the same key") as detail:
            browser.evaluate("document.querySelectorAll('.graphiql-tab-button')[1].click()")
            browser.wait_for(f"text('.graphiql-query-editor .view-lines').includes('query {TABS[1]}')")
            # GraphiQL stores the state of its tabs half a second after a change
            browser.wait_for("localStorage['headwater:graphiql:tabState'].includes('\"activeTabIndex\":1')")
            assert _header_text(browser) == '{ "X-API-Key": "" }'
            _run(browser, HAS_DATA)
            detail.append(f"{TABS[1]}: {_response(browser, NOW)}")
        with stage.check("a removed key is not sent any more") as detail:
            browser.evaluate("document.querySelectorAll('.graphiql-tab-button')[0].click()")
            browser.wait_for(f"text('.graphiql-query-editor .view-lines').includes('query {TABS[0]}')")
            browser.wait_for("localStorage['headwater:graphiql:tabState'].includes('\"activeTabIndex\":0')")
            assert guarded.key[:8] in _header_text(browser)
            _enter(browser, "")
            _run(browser, IS_REFUSED)
            browser.messages.clear()
            _enter(browser, guarded.key)
            _run(browser, HAS_DATA)
            detail.append("UNAUTHENTICATED until it is entered again")
        with stage.check("the key is not stored by the browser") as detail:
            stored = str(browser.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])"))
            assert guarded.key not in stored
            _visit(browser, guarded.address, TABS[0])
            _run(browser, IS_REFUSED)
            browser.messages.clear()
            detail.append("after a reload, it has to be entered again")
        with stage.check("a service with authentication: no request goes to another host, and the console is empty") as detail:
            detail.append(_check_requests(browser, guarded.address))


def _without_anonymous_introspection(stage: Stage) -> None:
    key = stage.guarded.key
    with (
        stage.serve(HEADWATER_ANONYMOUS_INTROSPECTION="false") as address,
        _page(stage, "unseen", address) as browser,
        stage.check("a schema that needs a key is shown once a key is entered") as detail,
    ):
        browser.wait_for("text('.graphiql-doc-explorer').includes('Error fetching schema')")
        browser.wait_for(f"text('{HEADERS} .view-lines').includes('X-API-Key')")
        browser.paste(HEADERS, json.dumps({"Authorization": f"Bearer {key}"}))
        browser.wait_for(DOCUMENTED)
        detail.append(f"{_types(browser)} types")


@contextmanager
def _page(stage: Stage, name: str, address: str) -> Iterator[Browser]:
    with Browser(stage.directory / f"profile-{name}") as browser:
        _visit(browser, address, TABS[0])
        yield browser


def _visit(browser: Browser, address: str, tab: str) -> None:
    """Open the page, and wait until its editors are there, with this tab in front."""
    browser.open(f"{address}/graphql")
    browser.wait_for(f"text('.graphiql-query-editor .view-lines').includes('query {tab}')")
    browser.wait_for("document.querySelectorAll('.graphiql-editor-tool .monaco-editor').length === 2")
    browser.wait_for("document.querySelector('.result-window .monaco-editor') !== null")


def _enter(browser: Browser, key: str) -> None:
    """Enter a key in the headers editor, and wait until it is shown there."""
    browser.paste(HEADERS, json.dumps({"X-API-Key": key}))
    browser.wait_for(f"text('{HEADERS} .view-lines').startsWith({json.dumps(json.dumps({'X-API-Key': key})[:30])})")


def _run(browser: Browser, until: str) -> None:
    browser.click(".graphiql-execute-button")
    browser.wait_for(until)


def _tabs(browser: Browser) -> list[str]:
    return list(browser.evaluate("all('.graphiql-tab-button', e => e.textContent)"))


def _types(browser: Browser) -> int:
    return len(browser.evaluate("all('.graphiql-doc-explorer-content a.graphiql-doc-explorer-type-name', e => e.textContent)"))


def _header_text(browser: Browser) -> str:
    return str(browser.evaluate(f"text('{HEADERS} .view-lines')"))


def _response(browser: Browser, pattern: str) -> str:
    """Return the group of a pattern in the shown response, whose lines are wrapped to the width of the pane."""
    match = re.search(pattern, re.sub(r"\s+", " ", browser.evaluate("text('.result-window')")))
    assert match, browser.evaluate("text('.result-window')")
    return match[1]


def _credentials(browser: Browser) -> set[str]:
    """Return the names of credential headers that were sent."""
    names = {name.lower() for request in browser.requests for name in request["headers"]}
    return names & {"x-api-key", "authorization"}


def _check_requests(browser: Browser, address: str) -> str:
    """Check that no request went to another host and the console is empty. The icon is a data URL."""
    elsewhere = [it["url"] for it in browser.requests if not it["url"].startswith((f"{address}/", "data:"))]
    assert elsewhere == []
    assert browser.messages == []
    return f"{len(browser.requests)} requests, all to {address}"


def _screenshot(stage: Stage, browser: Browser, suffix: str) -> None:
    if (name := os.environ.get(SCREENSHOT)) is not None:
        path = Path(name)
        browser.screenshot(path.with_name(f"{path.stem}{suffix}.png"))

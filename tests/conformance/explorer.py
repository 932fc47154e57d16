"""GraphiQL as people use it: in a browser that reaches nothing but the service, open and guarded."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph_api.graphiql.examples import EXAMPLES
from tests.browser import CHROMIUM, Browser
from tests.conformance.stage import Stage

# Where pictures of what was seen are to be kept; the guarded one beside it.
SCREENSHOT = "HEADWATER_SCREENSHOT"

TABS = [re.findall(r"^(?:query|mutation) (\w+)", example.query, re.MULTILINE)[0] for example in EXAMPLES]
HEADERS = ".graphiql-editor-tool .graphiql-editor:not(.hidden)"
ANSWERED = "text('.result-window').includes('\"data\"')"
REFUSED = "text('.result-window').includes('UNAUTHENTICATED')"
TOTAL = r'"totalCount": (\d+)'
NOW = r'"now": { "id": "(.*?)"'
DOCUMENTED = "text('.graphiql-doc-explorer').includes('mutation: Mutation')"


def run(stage: Stage) -> None:
    if CHROMIUM is None:
        stage.report("GraphiQL is seen in a browser", False, "Chromium is not installed.")
        return
    _open(stage)
    _guarded(stage)
    _without_anonymous_introspection(stage)


def _open(stage: Stage) -> None:
    address = stage.demo
    with _page(stage, "demo", address) as browser:
        with stage.check("every example has a tab") as detail:
            assert _tabs(browser) == TABS, _tabs(browser)
            detail.append(f"{len(TABS)}: {', '.join(TABS)}")
        with stage.check("the documentation shows the schema") as detail:
            browser.wait_for(DOCUMENTED)
            detail.append(f"{_types(browser)} types")
        with stage.check("the first example runs") as detail:
            _run(browser, ANSWERED)
            detail.append(f"totalCount {_answer(browser, TOTAL)}")
        with stage.check("no header is asked for") as detail:
            assert _header_text(browser) == "", _header_text(browser)
        _picture(stage, browser, "")
        with stage.check("nothing is asked of another host, and the console is silent") as detail:
            detail.append(_silent(browser, address))


def _guarded(stage: Stage) -> None:
    guarded = stage.guarded
    with _page(stage, "guarded", guarded.address) as browser:
        with stage.check("a guarded service shows its schema, and where to enter a key") as detail:
            browser.wait_for(DOCUMENTED)
            assert _header_text(browser) == '{ "X-API-Key": "" }'
            detail.append(_header_text(browser))
        with stage.check("without a key, the answer says what to send") as detail:
            _run(browser, REFUSED)
            detail.append(_answer(browser, r'"message": "(.*?)"'))
            assert not _credentials(browser), "what was only prepared for a key was sent"
            assert [it["entry"]["url"] for it in browser.complaints] == [f"{guarded.address}/graphql"]
            browser.complaints.clear()
        with stage.check("with a key in the headers editor it answers") as detail:
            _enter(browser, guarded.key)
            _run(browser, ANSWERED)
            detail.append(f"totalCount {_answer(browser, TOTAL)}")
        _picture(stage, browser, "-guarded")
        with stage.check("another tab answers without it") as detail:
            browser.evaluate("document.querySelectorAll('.graphiql-tab-button')[1].click()")
            browser.wait_for(f"text('.graphiql-query-editor .view-lines').includes('query {TABS[1]}')")
            # half a second after a change GraphiQL has read what is there now, and has written it down
            browser.wait_for("localStorage['headwater:graphiql:tabState'].includes('\"activeTabIndex\":1')")
            assert _header_text(browser) == '{ "X-API-Key": "" }'
            _run(browser, ANSWERED)
            detail.append(f"{TABS[1]}: {_answer(browser, NOW)}")
        with stage.check("a key that is taken out is sent no more") as detail:
            browser.evaluate("document.querySelectorAll('.graphiql-tab-button')[0].click()")
            browser.wait_for(f"text('.graphiql-query-editor .view-lines').includes('query {TABS[0]}')")
            browser.wait_for("localStorage['headwater:graphiql:tabState'].includes('\"activeTabIndex\":0')")
            assert guarded.key[:8] in _header_text(browser)
            _enter(browser, "")
            _run(browser, REFUSED)
            browser.complaints.clear()
            _enter(browser, guarded.key)
            _run(browser, ANSWERED)
            detail.append("UNAUTHENTICATED, until it is entered again")
        with stage.check("the key is kept by the page alone") as detail:
            kept = str(browser.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])"))
            assert guarded.key not in kept
            _visit(browser, guarded.address, TABS[0])
            _run(browser, REFUSED)
            browser.complaints.clear()
            detail.append("opened anew, the page has to be told again")
        with stage.check("a guarded service: nothing is asked of another host, and the console is silent") as detail:
            detail.append(_silent(browser, guarded.address))


def _without_anonymous_introspection(stage: Stage) -> None:
    key = stage.guarded.key
    with (
        stage.serve(HEADWATER_ANONYMOUS_INTROSPECTION="false") as address,
        _page(stage, "unseen", address) as browser,
        stage.check("a schema that is shown to nobody is shown when a key is entered") as detail,
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
    """Opens the page, and waits until its editors are there, with this tab in front."""
    browser.open(f"{address}/graphql")
    browser.wait_for(f"text('.graphiql-query-editor .view-lines').includes('query {tab}')")
    browser.wait_for("document.querySelectorAll('.graphiql-editor-tool .monaco-editor').length === 2")
    browser.wait_for("document.querySelector('.result-window .monaco-editor') !== null")


def _enter(browser: Browser, key: str) -> None:
    """Types a key into the headers editor, and waits until it is seen there."""
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


def _answer(browser: Browser, wanted: str) -> str:
    """What a pattern finds in the answer, whose lines are wrapped to the width of the pane."""
    found = re.search(wanted, re.sub(r"\s+", " ", browser.evaluate("text('.result-window')")))
    assert found, browser.evaluate("text('.result-window')")
    return found[1]


def _credentials(browser: Browser) -> set[str]:
    """The headers of those that were sent."""
    names = {name.lower() for request in browser.asked for name in request["headers"]}
    return names & {"x-api-key", "authorization"}


def _silent(browser: Browser, address: str) -> str:
    """Nothing was asked of anybody else; the icon is in its own address."""
    elsewhere = [it["url"] for it in browser.asked if not it["url"].startswith((f"{address}/", "data:"))]
    assert elsewhere == []
    assert browser.complaints == []
    return f"{len(browser.asked)} requests, all to {address}"


def _picture(stage: Stage, browser: Browser, suffix: str) -> None:
    if (wanted := os.environ.get(SCREENSHOT)) is not None:
        path = Path(wanted)
        browser.screenshot(path.with_name(f"{path.stem}{suffix}.png"))

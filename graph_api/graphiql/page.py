"""The GraphiQL page, its example tabs and its assets. Nothing is fetched from another host."""

import html
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from os import PathLike, stat_result
from pathlib import Path
from string import Template

from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_SOURCE = Path(__file__).parent
_BUNDLE = _SOURCE / "dist"

# Monaco creates <style> elements and style attributes at run time, and some of its icons are data: images. Everything else comes
# from the service's own files, so that a script injected through a response cannot run.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self'",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

_NOT_BUILT = Template("""\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Headwater</title>
    <link rel="icon" href="data:,">
  </head>
  <body>
    <h1>GraphiQL is not installed</h1>
    <p>GraphiQL is built from npm packages. In a checkout, run <code>make graphiql</code> and reload this page. An installed
    package lacks it if npm could not fetch them during the installation: run
    <code>pip install --force-reinstall --no-cache-dir</code> to try again. The API works without it:</p>
    <pre>$command</pre>
  </body>
</html>
""")


@dataclass(frozen=True)
class Example:
    """A query that GraphiQL opens in a tab. `variables` is the JSON text of the variables editor."""

    name: str
    query: str
    variables: str = ""


def render_page(
    examples: Sequence[Example], address: str = "http://127.0.0.1:8000/graphql", *, require_auth: bool = False
) -> str:
    """Render GraphiQL with a tab for each example, or, without a bundle, a page that says how to build it.

    If the service requires authentication, the tabs show the headers editor, in which a key is entered.
    """
    if not (_BUNDLE / "graphiql.js").is_file():
        return _NOT_BUILT.substitute(command=html.escape(_curl(examples, address)))
    content = _json_for_script([asdict(example) for example in examples])
    return _template().substitute(examples=content, attributes=" data-require-auth" if require_auth else "")


def assets() -> Mount:
    """Return the route of the files that the page loads. They are 404 until the bundle is built."""
    return Mount("/graphiql", _Bundle(directory=_BUNDLE, check_dir=False), name="graphiql")


class _Bundle(StaticFiles):
    """Files of the bundle, which may be built while the service runs."""

    async def check_config(self) -> None:
        """Accept a missing directory."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the file, to be revalidated at each use: a browser must not mix the files of two builds."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


@cache
def _template() -> Template:
    return Template((_SOURCE / "page.html").read_text(encoding="utf-8"))


def _json_for_script(value: object) -> str:
    """Return JSON that can neither close the script element around it nor open a comment in it."""
    return json.dumps(value).replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _curl(examples: Sequence[Example], address: str) -> str:
    """Return a command that sends the first example without variables."""
    query = next((example.query for example in examples if not example.variables), "{ __typename }")
    body = json.dumps({"query": query.strip()})
    return f"curl {shlex.quote(address)} -H 'Content-Type: application/json' -d {shlex.quote(body)}"

"""The queries that GraphiQL opens with. Each file begins with its title; a test runs them all against the demo."""

from importlib.resources import files

from graph_api.graphiql.page import Example


def _load() -> list[Example]:
    texts = (it.read_text() for it in sorted(files(__package__).iterdir(), key=str) if it.name.endswith(".graphql"))
    split = (text.partition("\n") for text in texts)
    return [Example(name=title.lstrip("# "), query=query) for title, _, query in split]


EXAMPLES = _load()

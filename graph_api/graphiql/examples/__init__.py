"""Example queries that GraphiQL opens in tabs. The first line of each file is its title; a test runs them against the demo."""

from importlib.resources import files

from graph_api.graphiql.page import Example


def _load() -> list[Example]:
    examples = []
    for file in sorted(files(__package__).iterdir(), key=str):
        if file.name.endswith(".graphql"):
            title, _, query = file.read_text().partition("\n")
            examples.append(Example(name=title.lstrip("# "), query=query))
    return examples


EXAMPLES = _load()

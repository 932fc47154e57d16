"""The look-ups that are checked, each with the most work that it may take: those of new tenants, searches, and filters."""

from dataclasses import replace

from tests.builders import day, iso
from tests.security.lookups import LAST, LOOKUPS, Lookup

# Assets have two versions here, and more links, than in the tests of new tenants.
_MORE = 3
# Entries that a page of 50 may read, and those that a search may read that the index of texts helps.
_PAGE, _SEARCH = 3_000, 6_000
# Entries of all versions in an index and in the table. A search reads those that match a common text, and a list of the oldest
# changes those that have ended since.
_ALL = 1_000_000

_PERIOD = f'from: "{iso(day(-1))}", to: "{iso(day(3))}"'
_LINKS = f"{_PERIOD}, subjects: [LINEAGE_LINK], first: 50"
_LINEAGE = f"lineageOf: {{ asset: {{ uid: {LAST} }}, direction: UPSTREAM, maxDepth: 3 }}"
_NAMES = ", ".join(f'{{ product: "p{number}" }}' for number in range(100))
_KEYS = ", ".join(f'{{ entity: {{ type: "TABLE", key: "other-{number}" }} }}' for number in range(100))


def _search(text: str) -> str:
    return f'{{ search(text: "{text}", first: 20) {{ edges {{ rank node {{ label }} }} }} }}'


def _changes(filter_: str, arguments: str = _LINKS) -> str:
    return f"{{ changes({arguments}, filter: {{ {filter_} }}) {{ nodes {{ kind at actor }} }} }}"


_OTHERS = {
    "entity by alternate key": Lookup('{ entity(ref: { key: { type: "TABLE", key: "other-500" } }) { label } }', 150),
    "100 assets by name": Lookup(f"{{ assets(refs: [{_NAMES}]) {{ label }} }}", _PAGE),
    "100 assets by alternate key": Lookup(f"{{ assets(refs: [{_KEYS}]) {{ label }} }}", _PAGE),
    "history of an asset": Lookup(
        f"{{ asset(ref: {{ uid: {LAST} }}) {{ history {{ nodes {{ at: validFrom actor }} }} }} }}", 150
    ),
    "products of a domain": Lookup('{ products(first: 50, filter: { domains: ["domain 7"] }) { nodes { name } } }', _PAGE),
    "search of a key": Lookup(_search("other-777"), _SEARCH),
    "search of a rare text": Lookup(_search("c81e728d9d4c"), _SEARCH),
    "search of a name": Lookup(_search("p900"), _SEARCH),
    "search of a common beginning": Lookup(_search("entity"), _ALL),
    "search of a common word": Lookup(_search("daily"), _ALL),
    "changes of links by an actor": Lookup(_changes('actors: ["loader"]'), _PAGE),
    "changes of links of a type": Lookup(_changes("linkTypes: [DIRECT]"), _PAGE),
    "changes of links that began": Lookup(_changes("kinds: [CREATED]"), _PAGE),
    "changes of lineage": Lookup(_changes(_LINEAGE), _PAGE),
    "changes of lineage and its assets": Lookup(_changes(_LINEAGE, f"{_PERIOD}, subjects: [PRODUCT, LINEAGE_LINK]"), _PAGE),
    "products changed since": Lookup(LOOKUPS["products changed since"].query, _ALL),
    "deleted assets": Lookup(_changes("kinds: [DELETED]", f"{_PERIOD}, first: 50"), _PAGE),
}
CHECKED = {name: replace(it, bound=_MORE * it.bound) for name, it in LOOKUPS.items()} | _OTHERS

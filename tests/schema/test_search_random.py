"""Search against a plain model: what it finds, its ranks, filters, counts and pages, at any instant."""

import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from tests.builders import Api, day, iso
from tests.randomness import seeds

ASSETS = 14
SEARCHES = 30

SEARCH = """
  query ($text: String!, $kinds: [AssetKind!], $types: [String!], $domains: [String!], $tags: [String!], $owners: [String!],
    $first: Int, $after: String, $asOf: DateTime) {
    search(text: $text, kinds: $kinds, types: $types, domains: $domains, tags: $tags, owners: $owners, first: $first,
      after: $after, asOf: $asOf) {
      edges { cursor rank node { uid label owner tags } } pageInfo { hasNextPage } totalCount isComplete
      facets { kind { value count } type { value count } domain { value count } owner { value count } tag { value count }
        tagCount ownerCount }
    }
  }
"""
ROLES = """
  mutation {
    steward: putDetailType(input: { code: "steward", label: "Steward", role: OWNER }) { detailType { code } }
    class: putDetailType(input: { code: "class", label: "Class", role: TAG }) { detailType { code } }
  }
"""
WORDS = ("orders", "Order", "re-orders", "sales", "SALE", "été", "100%", "a_b", "x", "(gold)")
DOMAINS = {"PERSON": "people", "TABLE": None}


@dataclass(frozen=True)
class State:
    """An asset as it is from an instant on."""

    uid: str
    kind: str
    label: str
    keys: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    type: str | None = None
    domain: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()

    def rank(self, text: str) -> str | None:
        """Return how well a text matches."""
        wanted = text.lower()
        names = [it.lower() for it in (self.label, *self.keys)]
        values = [*names, *(it.lower() for it in self.others)]
        if wanted in names:
            return "EXACT"
        if any(it.startswith(wanted) for it in names):
            return "PREFIX"
        if not re.search(r"[^\W_]{3}", wanted) or not any(wanted in it for it in values):
            return None
        is_word = re.compile(rf"(?<![^\W_]){re.escape(wanted)}(?![^\W_])")
        return "WORD" if any(map(is_word.search, values)) else "SUBSTRING"


class Model:
    """The states of all assets, each with the instant from which it holds; None: the asset is deleted."""

    def __init__(self) -> None:
        self.states: dict[str, list[tuple[datetime, State | None]]] = {}

    def put(self, uid: str, at: datetime, state: State | None) -> None:
        self.states.setdefault(uid, []).append((at, state))

    def at(self, instant: datetime) -> list[State]:
        """List the assets that exist at an instant."""
        valid = [[state for since, state in states if since <= instant] for states in self.states.values()]
        return [states[-1] for states in valid if states and states[-1] is not None]


RANKS = ("EXACT", "PREFIX", "WORD", "SUBSTRING")


@pytest.mark.random
@pytest.mark.parametrize("seed", seeds(quick=3, soak=40))
async def test_a_search_finds_what_the_model_finds(api: Api, seed: int) -> None:
    chance = random.Random(seed)
    model = Model()
    await api.put_types()
    assert (await api(ROLES)).data
    for number in range(ASSETS):
        await (put_product if chance.random() < 0.5 else put_entity)(api, chance, model, number)
    for _ in range(SEARCHES):
        await check(api, chance, model)


def phrase(chance: random.Random, most: int = 3) -> str:
    return chance.choice(" -.").join(chance.choice(WORDS) for _ in range(chance.randint(1, most)))


async def put_product(api: Api, chance: random.Random, model: Model, number: int) -> None:
    """Register a product, and change or delete it later."""
    fields: dict[str, Any] = {
        "name": f"{phrase(chance)} {number}",
        "description": phrase(chance),
        "tags": chance.sample(WORDS, chance.randint(0, 2)),
        "domain": chance.choice(("people", "finance")),
        "owner": chance.choice(WORDS),
    }
    uid = (await api.register(**fields))["uid"]

    def state() -> State:
        others = (fields["description"], *fields["tags"])
        return State(uid, "PRODUCT", fields["name"], (), others, None, fields["domain"], fields["owner"], tuple(fields["tags"]))

    model.put(uid, day(0), state())
    if chance.random() < 0.6:
        fields["name"], fields["description"] = f"{phrase(chance)} {number}", phrase(chance)
        changed = {"name": fields["name"], "description": fields["description"]}
        reference = {"uid": uid}
        query = "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed } }"
        assert (await api(query, input={"product": reference, **changed, "at": iso(day(10))})).data
        model.put(uid, day(10), state())


async def put_entity(api: Api, chance: random.Random, model: Model, number: int) -> None:
    """Create an entity, and change it later."""
    details = {"note": phrase(chance), "steward": chance.choice(WORDS), "class": chance.choice(WORDS)}
    details = {code: details[code] for code in chance.sample(sorted(details), chance.randint(0, 3))}
    type_, key = chance.choice(sorted(DOMAINS)), chance.choice((None, f"{phrase(chance, 1)}/{number}"))
    uid = (await api.create(label := phrase(chance), type=type_, key=key, details=details))["uid"]
    state = State(
        uid,
        "ENTITY",
        label,
        () if key is None else (key,),
        tuple(details.values()),
        type_,
        DOMAINS[type_],
        details.get("steward"),
        tuple(it for code, it in details.items() if code == "class"),
    )
    model.put(uid, day(0), state)
    if chance.random() < 0.6:
        label = phrase(chance)

        assert (await api.change(uid, displayName=label, at=day(10))).data
        model.put(uid, day(10), replace(state, label=label))


async def check(api: Api, chance: random.Random, model: Model) -> None:
    """Search for a text, and compare all pages with the model."""
    text = chance.choice((chance.choice(WORDS), phrase(chance, 2)[:8].strip(" -."), phrase(chance, 1)[1:5]))
    if len(text) < 2 or not any(map(str.isalnum, text)):
        return
    instant = day(chance.choice((5, 15)))
    filters: dict[str, list[str]] = {}
    for name, values in (
        ("kinds", ["PRODUCT", "ENTITY"]),
        ("types", list(DOMAINS)),
        ("domains", ["people", "finance"]),
        ("tags", list(WORDS)),
        ("owners", list(WORDS)),
    ):
        if chance.random() < 0.15:
            filters[name] = chance.sample(values, chance.randint(1, len(values)))
    expected = [
        (rank, it)
        for it in model.at(instant)
        if (rank := it.rank(text)) is not None
        and it.kind in filters.get("kinds", [it.kind])
        and it.type in filters.get("types", [it.type])
        and it.domain in filters.get("domains", [it.domain])
        and it.owner in filters.get("owners", [it.owner])
        and ("tags" not in filters or set(it.tags) & set(filters["tags"]))
    ]
    found: list[tuple[str, str, str]] = []
    # the fields of nodes, the filters and the facets agree
    states = {it.uid: (it.owner, set(it.tags)) for _, it in expected}
    arguments: dict[str, Any] = {"text": text, "asOf": iso(instant), "first": chance.randint(1, 5), **filters}
    while True:
        page = (await api(SEARCH, **arguments)).data["search"]
        found += [(it["rank"], it["node"]["label"], it["node"]["uid"]) for it in page["edges"]]
        assert (page["totalCount"], page["isComplete"]) == (len(expected), True), (text, filters)
        for node in (it["node"] for it in page["edges"]):
            assert (node["owner"], set(node["tags"])) == states[node["uid"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        arguments["after"] = page["edges"][-1]["cursor"]
    assert Counter(found) == Counter((rank, it.label, it.uid) for rank, it in expected), (text, filters)
    assert [(RANKS.index(rank), label) for rank, label, _ in found] == sorted(
        (RANKS.index(rank), label) for rank, label, _ in found
    )
    facets = {
        "kind": Counter(it.kind for _, it in expected),
        "type": Counter(it.type for _, it in expected if it.type),
        "domain": Counter(it.domain for _, it in expected if it.domain),
        "owner": Counter(it.owner for _, it in expected if it.owner),
        "tag": Counter(tag for _, it in expected for tag in set(it.tags)),
    }
    counted = {f"{name}Count": page["facets"].pop(f"{name}Count") for name in ("tag", "owner")}
    assert counted == {name: len(facets[name.removesuffix("Count")]) for name in counted}
    assert {name: {it["value"]: it["count"] for it in values} for name, values in page["facets"].items()} == facets

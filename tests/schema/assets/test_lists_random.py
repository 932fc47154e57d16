"""Lists of products and entities against a plain model: any filters, order, page size and direction, at any instant."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from tests.builders import DELETE, DELETE_ENTITY, Api, day, iso
from tests.randomness import seeds

ASSETS = 12
LISTS = 40

PRODUCTS = """
  query ($filter: ProductFilter, $orderBy: ProductOrder!, $first: Int, $after: String, $last: Int, $before: String,
    $asOf: DateTime) {
    list: products(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before, asOf: $asOf) {
      totalCount nodes { uid } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
"""
ENTITIES = PRODUCTS.replace("Product", "Entity").replace("products", "entities")
VERSIONS: list[str] = [
    "1.0.0",
    "1.0.0+b-1.2",
    "1.9.0",
    "1.10.0",
    "10.0.0",
    "2.0.0",
    "2.0.0-rc.1",
    "2.0.0-rc.2",
    "2.0.0-rc.10",
    "2.0.0-rc-1",
]
VERSIONS += [
    "2.0.0--a",
    "2.0.0-rc.-",
    "2.0.0-rc",
    "2.0.0-1",
    "2.0.0-1a",
    "2.0.0-alpha.beta",
    "2.0.0-alpha.1",
    "99999999999999999999999.0.0",
]
# The first that an entity has a detail of says who owns it.
OWNER_TYPES = """
  mutation {
    author: putDetailType(input: { code: "author", label: "Author", role: OWNER }) { detailType { code } }
    steward: putDetailType(input: { code: "steward", label: "Steward", role: OWNER }) { detailType { code } }
  }
"""
DOMAINS = {"PERSON": "people", "TABLE": ""}


@dataclass(frozen=True)
class State:
    """An asset as it is from an instant on. Its number is the order of its creation."""

    uid: str
    number: int
    created_at: datetime
    since: datetime
    name: str
    keys: tuple[str, ...] = ()
    type: str = ""
    domain: str = ""
    owner: str = ""
    status: str = ""
    version: str = ""
    details: tuple[tuple[str, str], ...] = ()

    def has_content_of(self, other: "State") -> bool:
        return self == replace(other, since=self.since)


@dataclass
class Model:
    """The states of the assets of one kind; None: the asset is deleted."""

    states: dict[str, list[tuple[datetime, State | None]]] = field(default_factory=dict)

    def put(self, uid: str, at: datetime, state: State | None) -> None:
        states = self.states.setdefault(uid, [])
        if not (states and state and states[-1][1] and state.has_content_of(states[-1][1])):
            states.append((at, state))

    def at(self, instant: datetime) -> list[State]:
        """List the assets that exist at an instant."""
        valid = [[state for since, state in states if since <= instant] for states in self.states.values()]
        return [states[-1] for states in valid if states and states[-1] is not None]


def precedence(version: str) -> tuple[Any, ...]:
    """Return the key of a semantic version by https://semver.org."""
    core, _, pre = version.partition("+")[0].partition("-")
    numbers = tuple(map(int, core.split(".")))
    identifiers = [(0, int(it), "") if it.isdigit() else (1, 0, it) for it in pre.split(".")] if pre else []
    return (numbers, not pre, identifiers)


ORDERS: dict[str, Callable[[State], Any]] = {
    "UPDATED_AT": lambda it: it.since,
    "CREATED_AT": lambda it: it.created_at,
    "DOMAIN": lambda it: it.domain,
    "OWNER": lambda it: it.owner,
}
PRODUCT_ORDERS = {
    **ORDERS,
    "NAME": lambda it: it.name,
    "STATUS": lambda it: it.status,
    "VERSION": lambda it: precedence(it.version),
}
ENTITY_ORDERS = {
    **ORDERS,
    "DISPLAY_NAME": lambda it: it.name,
    "KEY": lambda it: it.keys[0] if it.keys else "",
    "TYPE": lambda it: it.type,
}


@pytest.mark.random
@pytest.mark.parametrize("seed", seeds(quick=2, soak=40))
async def test_lists_of_products_equal_the_model(api: Api, seed: int) -> None:
    chance, model = random.Random(seed), Model()
    for number in range(ASSETS):
        await put_product(api, chance, model, number)
    for _ in range(LISTS):
        filters: dict[str, tuple[list[Any], Callable[[State], Any]]] = {
            "names": ([f"{it}{number}" for it in "ab" for number in range(ASSETS)], lambda it: it.name),
            "domains": (["people", "finance", "none"], lambda it: it.domain),
            "owners": (["ann", "bob", "none"], lambda it: it.owner),
            "statuses": (["ACTIVE", "DEPRECATED", "INACTIVE"], lambda it: it.status),
        }
        await check(api, chance, model, PRODUCTS, PRODUCT_ORDERS, filters)


@pytest.mark.random
@pytest.mark.parametrize("seed", seeds(quick=2, soak=40))
async def test_lists_of_entities_equal_the_model(api: Api, seed: int) -> None:
    chance, model = random.Random(seed), Model()
    await api.put_types()
    assert (await api(OWNER_TYPES)).data
    for number in range(ASSETS):
        await put_entity(api, chance, model, number)
    for _ in range(LISTS):
        filters: dict[str, tuple[list[Any], Callable[[State], Any]]] = {
            "types": (list(DOMAINS), lambda it: it.type),
            "domains": (["people", "none"], lambda it: it.domain),
            "keys": (
                [{"type": type_, "key": f"{it}{number}"} for type_ in DOMAINS for it in "klm" for number in range(ASSETS)],
                lambda it: [{"type": it.type, "key": key} for key in it.keys],
            ),
        }
        await check(api, chance, model, ENTITIES, ENTITY_ORDERS, filters)


async def put_product(api: Api, chance: random.Random, model: Model, number: int) -> None:
    """Register a product, and change or delete it later."""

    def fields() -> dict[str, Any]:
        return {
            "name": f"{chance.choice('ab')}{number}",
            "domain": chance.choice(("people", "finance")),
            "owner": chance.choice(("ann", "bob")),
            "status": chance.choice(("ACTIVE", "DEPRECATED", "INACTIVE")),
            "version": chance.choice(VERSIONS),
        }

    created_at = day(number % 3)
    given = fields()
    uid = (await api.register(**given, at=iso(created_at)))["uid"]
    model.put(uid, created_at, State(uid, number, created_at, created_at, **given))
    if chance.random() < 0.6:
        given = fields()
        query = "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed } }"
        assert (await api(query, input={"product": {"uid": uid}, **given, "at": iso(day(10))})).data
        model.put(uid, day(10), State(uid, number, created_at, day(10), **given))
    if chance.random() < 0.2:
        assert (await api(DELETE, input={"product": {"uid": uid}, "at": iso(day(20))})).data
        model.put(uid, day(20), None)


async def put_entity(api: Api, chance: random.Random, model: Model, number: int) -> None:
    """Create an entity, and change or delete it later."""
    type_, created_at = chance.choice(sorted(DOMAINS)), day(number % 3)
    key, other = chance.choice((None, f"k{number}")), chance.choice((None, f"l{number}"))
    details = {code: chance.choice("xyz") for code in chance.sample(("author", "steward"), chance.randint(0, 2))}
    name = f"{chance.choice('ab')}{number}"
    alternate_keys = [other] if other and key else []
    created = await api.create(name, type=type_, key=key, alternateKeys=alternate_keys, details=details, at=iso(created_at))
    uid = created["uid"]
    keys = tuple(it for it in (key, *alternate_keys) if it)
    owner = details.get("author", details.get("steward", ""))
    state = State(uid, number, created_at, created_at, name, keys, type_, DOMAINS[type_], owner, details=_ordered(details))
    model.put(uid, created_at, state)
    if chance.random() < 0.6:
        state = replace(state, since=day(10), name=f"{chance.choice('ab')}{number}", owner=chance.choice("xyz"))
        # even where the owner stays the same, it may be another detail that says so
        state = replace(state, details=_ordered({**details, "author": state.owner}))
        changes: dict[str, Any] = {"displayName": state.name, "details": {"author": state.owner}}
        if chance.random() < 0.5:
            state, changes = replace(state, keys=(f"m{number}", *keys[1:])), {**changes, "key": f"m{number}"}
        assert (await api.change(uid, **changes, at=day(10))).data
        model.put(uid, day(10), state)
    if chance.random() < 0.2:
        assert (await api(DELETE_ENTITY, input={"entity": {"uid": uid}, "at": iso(day(20))})).data
        model.put(uid, day(20), None)


def _ordered(details: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(details.items()))


async def check(
    api: Api,
    chance: random.Random,
    model: Model,
    query: str,
    orders: dict[str, Callable[[State], Any]],
    filters: dict[str, tuple[list[Any], Callable[[State], Any]]],
) -> None:
    """Read all pages of a list, and compare them with the model."""
    instant = day(chance.choice((1, 5, 15, 25)))
    expected = model.at(instant)
    given: dict[str, Any] = {}
    for name, (values, read) in {**filters, "uids": (list(model.states), lambda it: it.uid)}.items():
        if chance.random() < 0.2:
            given[name] = chance.sample(values, chance.randint(0, len(values)))
            expected = [it for it in expected if is_among(read(it), given[name])]
    since, before = sorted(chance.sample((0, 1, 2, 10, 11), 2))
    for name, bound, matches in (
        ("updatedSince", day(since), lambda it: it.since >= day(since)),
        ("updatedBefore", day(before), lambda it: it.since < day(before)),
        ("createdSince", day(since), lambda it: it.created_at >= day(since)),
    ):
        if chance.random() < 0.2:
            given[name] = iso(bound)
            expected = list(filter(matches, expected))
    order, direction = chance.choice(sorted(orders)), chance.choice(("ASC", "DESC"))
    expected.sort(key=lambda it: (orders[order](it), it.number), reverse=direction == "DESC")
    size, forward = chance.randint(1, 5), chance.random() < 0.5
    arguments: dict[str, Any] = {"filter": given, "orderBy": {"field": order, "direction": direction}, "asOf": iso(instant)}
    found: list[str] = []
    turn: dict[str, Any] = {"first": size} if forward else {"last": size}
    while True:
        page = (await api(query, **arguments, **turn)).data["list"]
        assert page["totalCount"] == len(expected), arguments
        here, info = [it["uid"] for it in page["nodes"]], page["pageInfo"]
        found = found + here if forward else here + found
        if not info["hasNextPage" if forward else "hasPreviousPage"]:
            break
        turn |= {"after": info["endCursor"]} if forward else {"before": info["startCursor"]}
    assert found == [it.uid for it in expected], arguments


def is_among(value: Any, values: list[Any]) -> bool:
    """True if a value, or one of several, is among these."""
    return any(it in values for it in value) if isinstance(value, list) else value in values

"""Random histories of products, entities, links and relationships, as JSON lines in the order of their instants."""

from random import Random
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from db.assets.entity_key import entity_uid_by_key
from db.assets.product import product_uid_by_name
from db.associations.reference import link_uid, relationship_uid
from db.registries import relationship_type
from tests.builders import day, iso, product_fields

NAMESPACE = UUID("5c1a5c1a-0000-4000-8000-000000000000")
TYPES: list[dict[str, Any]] = [
    {"kind": "entityType", "code": "TABLE", "label": "Table", "domain": "it"},
    {"kind": "detailType", "code": "email", "label": "Email", "format": "email"},
    {"kind": "detailType", "code": "note", "label": "Note", "role": "DESCRIPTION"},
]
# An entity shows any number of products. It has one product at a time as its home, and neither can be deleted meanwhile.
SEEN_IN = relationship_type.validate_state("seenIn", "shows", "PRODUCT", "ENTITY", "MANY_TO_MANY")
HOME = relationship_type.validate_state("home", "houses", "ENTITY", "PRODUCT", "MANY_TO_ONE", "RESTRICT")
RELATIONSHIP_TYPES = [
    {
        "kind": "relationshipType",
        "key": it.key,
        "reverseKey": it.reverse_key,
        "origin": it.origin,
        "related": it.related,
        "cardinality": it.cardinality,
        "onDelete": it.on_delete,
    }
    for it in (SEEN_IN, HOME)
]
_Link: TypeAlias = tuple[UUID, UUID, str | None]
KEYS = [str(number) for number in range(4)]
NAMES = [f"name {letter}" for letter in "abcdef"]


def random_history(random: Random, events: int) -> list[dict[str, Any]]:
    """Return the lines of the types, and of so many events, one each day. Loaded in any order, all of them are accepted."""
    return _History(random).generate(events)


class _History:
    """Generator of a history, with the state that the lines so far lead to.

    Products and entities take over names and keys of each other, are referred to by these, are deleted and restored. Links and
    relationships refer to their ends by uid, name or key, and what is deleted is named in all ways that there are.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._lines = [*TYPES, *RELATIONSHIP_TYPES]
        self._names: dict[UUID, str] = {}
        self._entities: dict[UUID, str] = {}
        self._links: list[_Link] = []
        # those that were not removed since they were stated
        self._stated_links: set[_Link] = set()
        self._seen_in: list[tuple[UUID, UUID]] = []
        # the product that houses each entity
        self._homes: dict[UUID, UUID] = {}

    def generate(self, events: int) -> list[dict[str, Any]]:
        actions = [self._register, self._register, self._rename, self._update_by_name, self._register_by_name]
        actions += [self._state_entity, self._state_entity, self._update_by_key, self._state_by_key, self._delete_asset]
        actions += [self._link, self._link, self._link, self._remove_link]
        actions += [self._show, self._show, self._move, self._move, self._leave_home, self._stop_showing]
        for number in range(events):
            self._at = iso(day(number))
            self._random.choice(actions)()
        return self._lines

    def _append(self, kind: str, **fields: Any) -> None:
        self._lines.append({"kind": kind, **fields, "at": self._at})

    def _append_product(self, uid: UUID, name: str) -> None:
        self._names[uid] = name
        owner = self._random.choice(["ann", "bo"])
        domain = self._random.choice(["sales", "it"])
        self._append("product", uid=str(uid), **product_fields(name, owner=owner, domain=domain))

    def _unused_name(self) -> str | None:
        unused = [it for it in NAMES if it not in self._names.values()]
        return self._random.choice(unused) if unused else None

    def _register(self) -> None:
        name = self._unused_name()
        if name is not None:
            self._append_product(uuid5(NAMESPACE, f"product {self._random.randrange(5)}"), name)

    def _rename(self) -> None:
        """Give a product an unused name. Its old name may go to another product at the next instant."""
        if self._names and (name := self._unused_name()) is not None:
            self._append_product(self._random.choice(sorted(self._names)), name)

    def _update_by_name(self) -> None:
        if self._names:
            name = self._random.choice(sorted(self._names.values()))
            self._append("product", **product_fields(name, owner="by name", tags=[self._at]))

    def _register_by_name(self) -> None:
        """State a product whose uid is derived from its name, unless it was renamed since."""
        name = f"own {self._random.randrange(3)}"
        if self._names.setdefault(product_uid_by_name(name), name) == name:
            self._append("product", **product_fields(name, description=self._at))

    def _state_entity(self) -> None:
        """State an entity with a uid, and with its key or an unused one. Its old key may go to another entity later."""
        uid = uuid5(NAMESPACE, f"entity {self._random.randrange(4)}")
        unused = [it for it in KEYS if it not in self._entities.values()]
        if choices := [*unused, *([self._entities[uid]] if uid in self._entities else [])]:
            self._append_entity(uid, self._random.choice(choices), uid=str(uid))

    def _update_by_key(self) -> None:
        if self._entities:
            uid = self._random.choice(sorted(self._entities))
            self._append_entity(uid, self._entities[uid])

    def _state_by_key(self) -> None:
        """State an entity whose uid is derived from its key, which no other entity ever has."""
        key = f"own {self._random.randrange(3)}"
        self._append_entity(entity_uid_by_key("TABLE", key), key)

    def _append_entity(self, of: UUID, key: str, **fields: Any) -> None:
        self._entities[of] = key
        details = [{"type": "email", "value": f"{self._random.randrange(3)}@shop.example"}, {"type": "note", "value": self._at}]
        details = details[: self._random.randrange(3)]
        self._append("entity", type="TABLE", key=key, displayName=f"Table {key}", details=details, **fields)

    def _delete_asset(self) -> None:
        restricted = {*self._homes, *self._homes.values()}
        deletable = sorted({*self._names, *self._entities} - restricted)
        if deletable:
            uid = self._random.choice(deletable)
            self._append("delete", **self._reference(uid))
            self._names.pop(uid, None)
            self._entities.pop(uid, None)

    def _link(self) -> None:
        assets = sorted([*self._names, *self._entities])
        if len(assets) > 1:
            source, target = self._random.sample(assets, 2)
            producer = self._random.choice([None, "dbt"])
            self._links.append((source, target, producer))
            self._stated_links.add(self._links[-1])
            confidence = self._random.choice([0.25, 1])
            ends = {"source": self._reference(source), "target": self._reference(target)}
            self._append("link", **ends, producer=producer, confidence=confidence)

    def _remove_link(self) -> None:
        if self._links:
            source, target, producer = link = self._random.choice(self._links)
            ends: dict[str, Any] = {"source": self._reference(source), "target": self._reference(target), "producer": producer}
            if [it for it in self._stated_links if it[:2] == (source, target)] == [link] and self._random.random() < 0.5:
                del ends["producer"]
            self._stated_links.discard(link)
            by_uid = {"uid": str(link_uid(*link))}
            self._append("delete", **(by_uid if self._random.random() < 0.5 else {"link": ends}))

    def _show(self) -> None:
        if self._names and self._entities:
            product, entity = self._random.choice(sorted(self._names)), self._random.choice(sorted(self._entities))
            self._seen_in.append((product, entity))
            self._relate(SEEN_IN, product, entity)

    def _stop_showing(self) -> None:
        if self._seen_in:
            self._unrelate(SEEN_IN, *self._random.choice(self._seen_in))

    def _move(self) -> None:
        """End the relationship of an entity with its home, and begin that with another product at the same instant."""
        if self._names and self._entities:
            entity, product = self._random.choice(sorted(self._entities)), self._random.choice(sorted(self._names))
            if self._homes.get(entity) not in (None, product):
                self._unrelate(HOME, entity, self._homes[entity])
            self._homes[entity] = product
            self._relate(HOME, entity, product)

    def _leave_home(self) -> None:
        if self._homes:
            entity = self._random.choice(sorted(self._homes))
            self._unrelate(HOME, entity, self._homes.pop(entity))

    def _unrelate(self, type_: relationship_type.RelationshipTypeRow, origin: UUID, related: UUID) -> None:
        ends = {"origin": self._reference(origin), "related": self._reference(related)}
        if type_ is HOME:
            # a product may need the end of its home before it can be written, and so be found by its name
            ends["related"] = {"uid": str(related)}
        by_ends = {"type": self._random.choice([type_.key, type_.code]), **ends}
        by_uid = {"uid": str(relationship_uid(type_, origin, related))}
        self._append("delete", **(by_uid if self._random.random() < 0.5 else {"relationship": by_ends}))

    def _relate(self, type_: relationship_type.RelationshipTypeRow, origin: UUID, related: UUID) -> None:
        name = self._random.choice([type_.key, type_.code])
        attributes = {"n": self._random.randrange(2)}
        ends = {"origin": self._reference(origin), "related": self._reference(related)}
        self._append("relationship", type=name, **ends, attributes=attributes)

    def _reference(self, uid: UUID) -> dict[str, Any]:
        """Refer to an asset by its key, its name or its uid."""
        if uid in self._entities and self._random.random() < 0.5:
            return {"entity": {"type": "TABLE", "key": self._entities[uid]}}
        if uid in self._names and self._random.random() < 0.5:
            return {"product": self._names[uid]}
        return {"uid": str(uid)}

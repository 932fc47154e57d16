"""Stories: what happened to products, entities, links and joins, as lines that say it in the order in which it came to be."""

from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID, uuid5

from db.assets.entity import entity_uid_by_key
from db.associations.lineage_link import link_uid
from db.associations.relationship import relationship_uid
from db.registries import relationship_type
from graph_api.ingestion.uids import product_uid
from tests.builders import day, iso, product_fields

SPACE = UUID("5c1a5c1a-0000-4000-8000-000000000000")
TYPES: list[dict[str, Any]] = [
    {"kind": "entityType", "code": "TABLE", "label": "Table", "domain": "it"},
    {"kind": "detailType", "code": "email", "label": "Email", "format": "email"},
    {"kind": "detailType", "code": "note", "label": "Note"},
]
SEEN_IN = relationship_type.validate_state("seenIn", "shows", "PRODUCT", "ENTITY", "MANY_TO_MANY")
HOME = relationship_type.validate_state("home", "houses", "ENTITY", "PRODUCT", "MANY_TO_ONE", "RESTRICT")
JOIN_TYPES = [
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
NAMES = [f"name {letter}" for letter in "abcdef"]


@dataclass
class Story:
    """Products that take over each other's names, are known by them, end and return; entities; links and joins by uid, name and
    key, of which some hold what they join."""

    random: Random
    lines: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, events: int) -> list[dict[str, Any]]:
        """So many events, each at an instant of its own. All of them can be."""
        self.lines = [*TYPES, *JOIN_TYPES]
        self._names: dict[UUID, str] = {}
        self._entities: dict[UUID, str] = {}
        self._links: list[tuple[UUID, UUID, str | None]] = []
        self._seen_in: list[tuple[UUID, UUID]] = []
        # where each entity is at home
        self._homes: dict[UUID, UUID] = {}
        self._ended: set[UUID] = set()
        acts = [self._name, self._name, self._rename, self._change_by_name, self._new_by_name, self._entity, self._end]
        acts += [self._link, self._link, self._link, self._end_link]
        acts += [self._see, self._see, self._move, self._move, self._leave, self._end_sight]
        for number in range(events):
            self._at = iso(day(number))
            self.random.choice(acts)()
        return self.lines

    def _say(self, kind: str, **fields: Any) -> None:
        self.lines.append({"kind": kind, **fields, "at": self._at})

    def _product(self, uid: UUID, name: str) -> None:
        self._names[uid] = name
        owner = self.random.choice(["ann", "bo"])
        self._say("product", uid=str(uid), **product_fields(name, owner=owner, domain=self.random.choice(["sales", "it"])))

    def _free(self) -> str | None:
        free = [it for it in NAMES if it not in self._names.values()]
        return self.random.choice(free) if free else None

    def _name(self) -> None:
        name = self._free()
        if name is not None:
            self._product(uuid5(SPACE, f"product {self.random.randrange(5)}"), name)

    def _rename(self) -> None:
        """One gives up its name, and at the next instant another takes it over."""
        if self._names and (name := self._free()) is not None:
            self._product(self.random.choice(sorted(self._names)), name)

    def _change_by_name(self) -> None:
        if self._names:
            name = self.random.choice(sorted(self._names.values()))
            self._say("product", **product_fields(name, owner="by name", tags=[self._at]))

    def _new_by_name(self) -> None:
        name = f"own {self.random.randrange(3)}"
        if self._names.setdefault(product_uid(name), name) != name:
            # it was given another name
            return
        self._say("product", **product_fields(name, description=self._at))

    def _entity(self) -> None:
        key = str(self.random.randrange(4))
        self._entities[entity_uid_by_key("TABLE", key)] = key
        details = [{"type": "email", "value": f"{self.random.randrange(3)}@shop.example"}, {"type": "note", "value": self._at}]
        self._say("entity", type="TABLE", key=key, displayName=f"Table {key}", details=details[: self.random.randrange(3)])

    def _end(self) -> None:
        held = {*self._homes, *self._homes.values()}
        alive = sorted({*self._names, *self._entities} - held)
        if alive:
            uid = self.random.choice(alive)
            self._names.pop(uid, None)
            self._entities.pop(uid, None)
            self._say("delete", uid=str(uid))

    def _link(self) -> None:
        alive = sorted([*self._names, *self._entities])
        if len(alive) > 1:
            source, target = self.random.sample(alive, 2)
            producer = self.random.choice([None, "dbt"])
            self._links.append((source, target, producer))
            confidence = self.random.choice([0.25, 1])
            self._say("link", source=self._meant(source), target=self._meant(target), producer=producer, confidence=confidence)

    def _end_link(self) -> None:
        if self._links:
            self._say("delete", uid=str(link_uid(*self.random.choice(self._links))))

    def _see(self) -> None:
        if self._names and self._entities:
            product, entity = self.random.choice(sorted(self._names)), self.random.choice(sorted(self._entities))
            self._seen_in.append((product, entity))
            self._join(SEEN_IN, product, entity)

    def _end_sight(self) -> None:
        if self._seen_in:
            self._say("delete", uid=str(relationship_uid(SEEN_IN, *self.random.choice(self._seen_in))))

    def _move(self) -> None:
        """An entity leaves its home, and is in another at the same instant."""
        if self._names and self._entities:
            entity, product = self.random.choice(sorted(self._entities)), self.random.choice(sorted(self._names))
            if self._homes.get(entity) not in (None, product):
                self._say("delete", uid=str(relationship_uid(HOME, entity, self._homes[entity])))
            self._homes[entity] = product
            self._join(HOME, entity, product)

    def _leave(self) -> None:
        if self._homes:
            entity = self.random.choice(sorted(self._homes))
            self._say("delete", uid=str(relationship_uid(HOME, entity, self._homes.pop(entity))))

    def _join(self, type_: relationship_type.RelationshipTypeRow, origin: UUID, related: UUID) -> None:
        name = self.random.choice([type_.key, type_.code])
        attributes = {"n": self.random.randrange(2)}
        self._say("relationship", type=name, origin=self._meant(origin), related=self._meant(related), attributes=attributes)

    def _meant(self, uid: UUID) -> dict[str, Any]:
        """Any of the ways in which an asset can be meant."""
        if uid in self._entities and self.random.random() < 0.5:
            return {"entity": {"type": "TABLE", "key": self._entities[uid]}}
        if uid in self._names and self.random.random() < 0.5:
            return {"product": self._names[uid]}
        return {"uid": str(uid)}

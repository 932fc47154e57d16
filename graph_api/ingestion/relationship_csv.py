"""CSV files of relationships: a row states one join whole, from an instant on."""

from db.associations.association import AssetRef
from db.associations.relationship import RelationshipState
from db.associations.relationship_fields import validate_state
from db.errors import BadInput, HeadwaterError, NotFound, ResolvableConflict, UnknownType
from graph_api.ingestion.csv import EMPTY, CsvFile, instant_of, json_of, uuid_of

# Every column, and the field of a relationship that it is elsewhere.
_FIELDS = {
    "type": "type",
    "origin": "origin",
    "origin_uid": "origin",
    "related": "related",
    "related_uid": "related",
    "attributes": "attributes",
    "change_ts": "at",
}
COLUMNS = tuple(_FIELDS)


class RelationshipFile(CsvFile):
    """A file of joins. An end is named by its uid, or by what it is called: the key of an entity, the name of a product. Which of
    the two that is, only the type of the join tells."""

    # an asset or a type may come from elsewhere meanwhile; further down, a join may give way to another
    resolvable: tuple[type[HeadwaterError], ...] = (NotFound, ResolvableConflict, UnknownType)
    fields = _FIELDS
    required = (("type",), ("origin", "origin_uid"), ("related", "related_uid"))
    expected = "It has to name type, origin or origin_uid, and related or related_uid, and may name attributes and change_ts."
    command = "headwater ingest csv --relationships -"

    def said(self, cells: tuple[str, ...]) -> RelationshipState:
        type_, origin, origin_uid, related, related_uid, attributes, instant = cells
        if not type_ or type_.isspace():
            raise BadInput(EMPTY, field="type")
        return RelationshipState(
            type_,
            self._end("origin", origin, origin_uid),
            self._end("related", related, related_uid),
            validate_state({"attributes": {} if not attributes or attributes.isspace() else json_of("attributes", attributes)}),
            instant_of("change_ts", instant),
        )

    def _end(self, column: str, name: str, uid: str) -> AssetRef:
        """What a join begins or ends at: exactly one of both cells says it."""
        named, borne = bool(name.strip()), bool(uid.strip())
        if named != borne:
            return AssetRef(key=name) if named else AssetRef(uid=uuid_of(f"{column}_uid", uid))
        there = [it for it in (column, f"{column}_uid") if it in self.columns]
        if len(there) == 1:
            raise BadInput(EMPTY, field=there[0])
        raise BadInput(f"{' and '.join(there)} are both {'filled' if named else 'empty'}: give one of them.", field=column)

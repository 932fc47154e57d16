"""CSV files of relationships: each row states a whole relationship from an instant on."""

from db.assets.reference import AssetRef
from db.associations.relationship import RelationshipState
from db.associations.relationship_fields import validate_state
from db.errors import BadInput, HeadwaterError, NotFound, ResolvableConflict, UnknownType
from db.temporal.kinds import PRODUCT
from graph_api.ingestion.csv import CsvFile
from graph_api.ingestion.csv_cells import EMPTY, read_json, read_optional_instant, read_uuid, require_content

# All columns, with the field of the input that each stands for.
_FIELDS = {
    "type": "type",
    "origin": "origin",
    "origin_uid": "origin",
    "origin_type": "origin",
    "related": "related",
    "related_uid": "related",
    "related_type": "related",
    "attributes": "attributes",
    "change_ts": "at",
}
COLUMNS = tuple(_FIELDS)


class RelationshipFile(CsvFile):
    """A file of relationships. An end is named by its uid, or else by the name of a product or the key of an entity: its own type
    decides which, or else that of the relationship."""

    # Other loads may add assets and types meanwhile, and later rows may end a relationship that is in the way.
    resolvable: tuple[type[HeadwaterError], ...] = (NotFound, ResolvableConflict, UnknownType)
    fields = _FIELDS
    required = (("type",), ("origin", "origin_uid"), ("related", "related_uid"))
    expected = (
        "It has to name type, origin or origin_uid, and related or related_uid, and may name origin_type, related_type,"
        " attributes and change_ts."
    )
    command = "headwater ingest csv --relationships -"

    def parse(self, cells: tuple[str, ...]) -> RelationshipState:
        type_, origin, origin_uid, origin_type, related, related_uid, related_type, attributes_cell, instant_cell = cells
        has_attributes = bool(attributes_cell) and not attributes_cell.isspace()
        return RelationshipState(
            require_content("type", type_),
            self._end("origin", origin, origin_uid, origin_type),
            self._end("related", related, related_uid, related_type),
            validate_state({"attributes": read_json("attributes", attributes_cell) if has_attributes else {}}),
            read_optional_instant("change_ts", instant_cell),
        )

    def _end(self, column: str, name: str, uid: str, type_: str) -> AssetRef:
        """Return the reference to an end, of which exactly one of name and uid is filled."""
        has_name, has_uid, type_ = bool(name.strip()), bool(uid.strip()), type_.strip()
        if has_name != has_uid:
            if has_uid and type_:
                raise BadInput(f"The type belongs to a name or key. Leave it empty beside {column}_uid.", field=f"{column}_type")
            if type_ == PRODUCT.name:
                return AssetRef(product=name)
            return AssetRef(type=type_ or None, key=name) if has_name else AssetRef(uid=read_uuid(f"{column}_uid", uid))
        columns = [it for it in (column, f"{column}_uid") if it in self.columns]
        if len(columns) == 1:
            raise BadInput(EMPTY, field=columns[0])
        state = "filled" if has_name else "empty"
        raise BadInput(f"{' and '.join(columns)} are both {state}. Fill exactly one of them.", field=column)

"""CSV files of entities: a row states a whole one, from an instant on."""

from db.assets.asset import IdentitySpec
from db.errors import BadInput, HeadwaterError
from graph_api.ingestion.csv import EMPTY, CsvFile, instant_of, json_of, uuid_of
from graph_api.ingestion.row import EntityState
from graph_api.ingestion.uids import entity_uid

# Every column, and the field of an entity that it is elsewhere.
_FIELDS = {
    "entity_uid": "uid",
    "display_name": "displayName",
    "entity_type": "type",
    "details": "details",
    "change_ts": "at",
}
COLUMNS = tuple(_FIELDS)

_DETAIL = '{"detail_type": "email", "detail_value": "ann@shop.example"}'


class EntityFile(CsvFile):
    """A file of entities. One without a uid has the one that is made of its type and name."""

    # there is nothing in such a file that an entity could wait for
    resolvable: tuple[type[HeadwaterError], ...] = ()
    fields = _FIELDS
    required = (("display_name",), ("entity_type",))
    expected = "It has to name display_name and entity_type, and may name entity_uid, details and change_ts."
    command = "headwater ingest csv -"

    def said(self, cells: tuple[str, ...]) -> EntityState:
        uid_text, display_name, entity_type, details, instant = cells
        if not display_name or display_name.isspace():
            raise BadInput(EMPTY, field="display_name")
        if not entity_type or entity_type.isspace():
            raise BadInput(EMPTY, field="entity_type")
        uid = uuid_of("entity_uid", uid_text) if uid_text else entity_uid(entity_type, display_name)
        return EntityState(
            IdentitySpec(uid, entity_type), display_name, _details(details) if details else {}, instant_of("change_ts", instant)
        )


def _details(cell: str) -> dict[str, str]:
    """A JSON list of `{"detail_type", "detail_value"}`, at most one of each type."""
    if cell.isspace():
        return {}
    stated = json_of("details", cell)
    if not isinstance(stated, list):
        raise BadInput(f"The cell is no JSON list of objects such as {_DETAIL}.", field="details")
    details: dict[str, str] = {}
    for it in stated:
        if (
            not isinstance(it, dict)
            or len(it) != 2
            or not isinstance(code := it.get("detail_type"), str)
            or not isinstance(value := it.get("detail_value"), str)
        ):
            place = stated.index(it) + 1
            raise BadInput(f"Item {place} of the list is no object with just two texts, such as {_DETAIL}.", field="details")
        if code in details:
            raise BadInput(f"There are two details of the type {code!r}.", field="details")
        details[code] = value
    return details

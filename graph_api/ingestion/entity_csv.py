"""CSV files of entities: each row states a whole entity from an instant on."""

from db.assets import entity_fields
from db.errors import BadInput, HeadwaterError, NotFound, ResolvableConflict
from graph_api.ingestion.csv import CsvFile
from graph_api.ingestion.csv_cells import read_json, read_optional_instant, read_uuid, require_content
from graph_api.ingestion.row import EntityState
from graph_api.ingestion.uids import entity_spec

# All columns, with the field of the input that each stands for.
_FIELDS = {
    "entity_uid": "uid",
    "display_name": "displayName",
    "entity_type": "type",
    "key": "key",
    "alternate_keys": "alternateKeys",
    "details": "details",
    "change_ts": "at",
}
COLUMNS = tuple(_FIELDS)

_DETAIL = '{"detail_type": "email", "detail_value": "ann@shop.example"}'


class EntityFile(CsvFile):
    """A file of entities. The uid of an entity without one is derived from its type and display name."""

    # Later rows may take a key from the entity that has it.
    resolvable: tuple[type[HeadwaterError], ...] = (NotFound, ResolvableConflict)
    fields = _FIELDS
    required = (("display_name",), ("entity_type",))
    expected = "It has to name display_name and entity_type, and may name entity_uid, key, alternate_keys, details and change_ts."
    command = "headwater ingest csv -"

    def parse(self, cells: tuple[str, ...]) -> EntityState:
        uid_cell, name_cell, type_cell, key, alternates_cell, details_cell, instant_cell = cells
        display_name, entity_type = require_content("display_name", name_cell), require_content("entity_type", type_cell)
        uid = read_uuid("entity_uid", uid_cell) if uid_cell else None
        keys = _read_keys(key, alternates_cell) if key or alternates_cell else None
        return EntityState(
            entity_spec(uid, entity_type, key or None, display_name),
            display_name,
            _read_details(details_cell) if details_cell else {},
            read_optional_instant("change_ts", instant_cell),
            keys,
        )


def _read_keys(key: str, alternates_cell: str) -> list[str] | None:
    """Read the key and a JSON list of the alternate keys."""
    alternates = read_json("alternate_keys", alternates_cell) if alternates_cell and not alternates_cell.isspace() else None
    if alternates is not None and not (isinstance(alternates, list) and all(isinstance(it, str) for it in alternates)):
        raise BadInput('The cell is not a JSON list of texts such as ["K-7"].', field="alternate_keys")
    return entity_fields.keys(key or None, alternates, field="alternate_keys")


def _read_details(cell: str) -> dict[str, str]:
    """Read a JSON list of objects with `detail_type` and `detail_value`, at most one of each type."""
    if cell.isspace():
        return {}
    items = read_json("details", cell)
    if not isinstance(items, list):
        raise BadInput(f"The cell is not a JSON list of objects such as {_DETAIL}.", field="details")
    details: dict[str, str] = {}
    for number, item in enumerate(items, start=1):
        if (
            not isinstance(item, dict)
            or len(item) != 2
            or not isinstance(code := item.get("detail_type"), str)
            or not isinstance(value := item.get("detail_value"), str)
        ):
            raise BadInput(
                f"Item {number} of the list is not an object with exactly two texts, such as {_DETAIL}.", field="details"
            )
        if code in details:
            raise BadInput(f"There are two details of the type {code!r}. Give one of each type.", field="details")
        details[code] = value
    return details

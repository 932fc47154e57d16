"""Descriptions of the fields that say when and by whom an entry of a registry was put."""

CREATED_AT = "Instant at which the type was registered. Null if it was registered before this was recorded."
UPDATED_AT = "Instant at which its definition last changed. Null if it changed before this was recorded."
ACTOR = "Actor who last changed its definition. Null if it changed before this was recorded."

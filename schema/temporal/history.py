"""Histories: the versions of an asset, a lineage link or a relationship, and what changed from one to the next."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.utils.str_converters import to_camel_case

from db.instants import MICROSECOND
from db.pagination import Page
from db.temporal.history import Changed, VersionRow, count_histories, histories
from db.temporal.kind import Kind
from schema.execution.connections import fetch_connections
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import list_size
from schema.language.fields import field
from schema.language.node_ids import Node, write_id
from schema.language.pagination import Keyset, PageArguments
from schema.language.scopes import READ
from schema.lazy import ASSET_TYPES, IDENTITY_BY_UID, LazyAsset

HISTORY_BY_SUBJECT = Batch(histories)
HISTORY_COUNT_BY_SUBJECT = Batch(count_histories)

ACTOR = "Actor who made the change: the label of an API key, or the subject of a token."
CREDENTIAL = (
    "Credential with which it was made: the prefix of an API key, `token`, `none` on a service that requires none, or `command"
    " line`. Null if it was recorded before credentials were."
)


class Subject(Protocol):
    """A subject of a history."""

    @property
    def uid(self) -> UUID: ...


SomeSubject = TypeVar("SomeSubject", bound=Subject)


@strawberry.federation.type(description="A change of one field.", shareable=True)
class FieldChange:
    name: str = field(READ, "Name of the field.", name="field")
    before: JSON | None = field(READ, "Previous value. Null if there was none.")
    after: JSON | None = field(READ, "New value.")


@strawberry.type
class Version(Node):
    """The fields that the versions of all kinds share."""

    id: strawberry.ID = field(READ, "Id of this version, made of the uid and its start.")
    valid_from: datetime = field(READ, "Start of the period.")
    valid_to: datetime | None = field(READ, "End of the period. Null if it continues.")
    is_current: bool = field(READ, "True if the period has no end.")
    changed: list[FieldChange] = list_size(10)(
        field(READ, "Fields that differ from the previous version. For the first version, and for one after a gap: every field.")
    )
    recorded_at: datetime = field(READ, "Instant at which this state was recorded. It may be later than validFrom.")
    actor: str | None = field(READ, ACTOR)
    credential: str | None = field(READ, CREDENTIAL)


@strawberry.type(description="A period in the history of an asset in which its state did not change.")
class AssetVersion(Version):
    asset: LazyAsset = field(READ, "The asset in this period.")

    @classmethod
    def of(cls, asset_type: type[LazyAsset], uid: UUID, row: VersionRow) -> "AssetVersion":
        """Build a version of an asset from its row."""
        return cls(asset=asset_type.from_version(uid, row), **version_fields(cls.__name__, uid, row))

    @classmethod
    async def find(cls, info: Info, uid: UUID, start: datetime | None) -> "AssetVersion | None":
        """Return the version of the asset with a uid that starts at an instant."""
        if start is None or (identity := await info.context.load(IDENTITY_BY_UID, uid)) is None:
            return None
        asset_type = ASSET_TYPES[identity.kind]
        versions = await info.context.load(HISTORY_BY_SUBJECT, identity.asset_id, asset_type.kind, page_at(start))
        return cls.of(asset_type, uid, versions.items[0]) if versions.items else None


def version_fields(type_name: str, uid: UUID, row: VersionRow) -> dict[str, Any]:
    """Return the fields of a version that those of all kinds share."""
    return {
        "id": write_id(type_name, uid, row.valid_from),
        "valid_from": row.valid_from,
        "valid_to": row.valid_to,
        "is_current": row.valid_to is None,
        "changed": field_changes(row.changed),
        "recorded_at": row.recorded_at,
        "actor": row.actor,
        "credential": row.credential,
    }


def field_changes(changed: Sequence[Changed]) -> list[FieldChange]:
    """Convert changed fields to their names in the API. A part after a dot is the code of a detail type."""
    described = []
    for name, before, after in changed:
        field_name, dot, code = name.partition(".")
        described.append(FieldChange(name=to_camel_case(field_name) + dot + code, before=before, after=after))
    return described


async def history_connections(
    info: Info,
    kind: Kind,
    subjects: Sequence[SomeSubject],
    arguments: PageArguments,
    *,
    subject_id: Callable[[SomeSubject], int],
    nodes: Callable[[SomeSubject, list[VersionRow]], Sequence[Version]],
) -> list[Any]:
    """Fetch a page of the history of each subject. The subjects have uids and are of one kind."""
    cipher = info.context.cursor_cipher
    return await fetch_connections(
        info,
        subjects,
        arguments,
        keyset=lambda it: Keyset(cipher, "history", it.uid, key=(datetime,)),
        fetch=lambda of, page: info.context.load_all(HISTORY_BY_SUBJECT, list(map(subject_id, of)), kind, page),
        nodes=nodes,
        cursor_key=lambda _, row: (row.valid_from,),
        count=lambda it: info.context.load(HISTORY_COUNT_BY_SUBJECT, subject_id(it), kind),
    )


async def asset_histories(info: Info, assets: Sequence[LazyAsset], arguments: PageArguments) -> list[Any]:
    """Fetch a page of the history of each asset. The assets are of one kind."""
    return await history_connections(
        info,
        assets[0].kind,
        assets,
        arguments,
        subject_id=lambda it: it.asset_id,
        nodes=lambda it, rows: [AssetVersion.of(type(it), it.uid, row) for row in rows],
    )


def page_at(start: datetime) -> Page:
    """Return the page of a history that holds the version which starts at an instant."""
    return Page(1, after=(start - MICROSECOND,), before=(start + MICROSECOND,))

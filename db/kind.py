"""Kinds: what is versioned, and where it is kept. Fixed statements are told which kind they are about."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, Table, TextClause, text

from db.sql import load
from db.tables import asset as assets

# An instant that is known, or that a row of the statement bears.
Instant = datetime | ColumnElement[datetime]

_BOOKKEEPING = {"tenant_id", "valid_from", "valid_to", "created_at", "digest"}


class Kind:
    """A versioned kind: its name in the log and its table of versions. Every column that is not bookkeeping is a field.

    A projection is another table that is kept in step with the versions: `project_<name>` does it, `verify_<name>` compares. What
    else has to be true of a kind has a `verify_<name>` too. The subjects of a kind are assets, whose lives are such a projection
    too, or have a table of identities of their own.
    """

    def __init__(
        self,
        name: str,
        versions: Table,
        *,
        subject: str = "asset_id",
        identities: Table = assets,
        projections: Sequence[str] = (),
        verifications: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.versions = versions
        self.subject = subject
        self.identities = identities
        self.of_assets = identities is assets
        self.projections = tuple(projections)
        self.verifications = tuple(verifications)
        self.fields = tuple(
            column.name
            for column in versions.columns
            if column.name not in _BOOKKEEPING and column.name != subject and column.computed is None
        )

    def at(self, instant: Instant) -> ColumnElement[bool]:
        """The condition under which a version holds at an instant. Scalar comparisons, so that an index may serve it."""
        return holds_at(self.versions, instant)

    def statement(self, name: str, *, direction: str = "ASC") -> TextClause:
        """A fixed statement, told which table and which fields it is about."""
        return _statement(self, name, direction)

    def state_of(self, row: str) -> str:
        """A row of the version table as the log writes it."""
        return "jsonb_build_object(" + ", ".join(f"'{field}', {row}.\"{field}\"" for field in self.fields) + ")"

    @property
    def tokens(self) -> dict[str, str]:
        """What stands in statements for what differs from kind to kind."""
        return {
            "kind": self.name,
            "versions": self.versions.name,
            "identities": self.identities.name,
            "of_kind": f"i.kind = '{self.name}'" if self.of_assets else "true",
            "of_bond": "false",
            "answering": "n.subject_id",
            "subject": self.subject,
            "columns": _listed(self.fields),
            "after": _listed(self.fields, "after"),
            "state": self.state_of("v"),
            "state_before": self.state_of("p"),
            "values": self.state_of("after"),
        }


class Bond(Kind):
    """What is between two assets. It is asserted like anything else, and holds only while both of them live: `held` are its
    versions cut to the lives of both ends, with its identity beside them.

    Its identity is its ends and further parts, whose types in the database are given; the ends and the first of these tell it
    apart from others. One end answers for it: who may write that may write the bond.
    """

    def __init__(
        self,
        name: str,
        versions: Table,
        *,
        subject: str,
        identities: Table,
        held: Table,
        ends: tuple[str, str],
        answering: str,
        parts: Mapping[str, str],
        verifications: Sequence[str] = (),
    ) -> None:
        super().__init__(
            name, versions, subject=subject, identities=identities, projections=["bonds"], verifications=verifications
        )
        self.held = held
        self.ends = ends
        self.answering = answering
        self.parts = dict(parts)

    @property
    def tokens(self) -> dict[str, str]:
        identity = (*self.ends, *self.parts)
        columns = (*identity, *self.fields)
        return {
            **super().tokens,
            "of_bond": "true",
            "answering": (
                f"(SELECT i.{self.answering} FROM {self.identities.name} i"
                " WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = n.subject_id)"
            ),
            "held": self.held.name,
            "near": self.ends[0],
            "far": self.ends[1],
            "first": next(iter(self.parts)),
            "parts": _listed(self.parts),
            "given_parts": ", ".join(f"CAST(:{name} AS {type_}[])" for name, type_ in self.parts.items()),
            "given": f"{_listed(identity, 'i')}, {_listed(self.fields, 'v')}",
            "held_columns": _listed(columns),
            "held_of_s": _listed(columns, "s"),
            "held_of_t": _listed(columns, "t"),
        }


def holds_at(table: Table, instant: Instant) -> ColumnElement[bool]:
    """The condition under which a row of a table with validity holds at an instant."""
    return (table.c.valid_from <= instant) & (table.c.valid_to > instant)


@cache
def _statement(kind: Kind, name: str, direction: str) -> TextClause:
    statement = load(name)
    for token, meaning in {**kind.tokens, "direction": direction}.items():
        statement = statement.replace(f"{{{token}}}", meaning)
    return text(statement)


def _listed(columns: "Sequence[str] | Mapping[str, str]", row: str | None = None) -> str:
    return ", ".join(f'"{column}"' if row is None else f'{row}."{column}"' for column in columns)

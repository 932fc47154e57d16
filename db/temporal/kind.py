"""Versioned kinds: the tables of each, and the tokens by which SQL files adapt to one."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Table

from db.sql import Statement, render, text, tokens_of
from db.tables import asset as assets

# An instant, or a column that holds one.
Instant = datetime | ColumnElement[datetime]

_BOOKKEEPING = {"tenant_id", "valid_from", "valid_to", "created_at", "digest"}


class Kind:
    """A versioned kind: its name in the change log and its table of versions. Every column that is not bookkeeping is a field.

    A projection is another table kept in step with the versions. Its name consists of the package of its SQL and a name: for
    `assets/details` the files are `assets/project_details.sql` and `assets/verify_details.sql`. A verification has only a
    `verify_` file. Both may name packages above db.temporal, which runs their SQL by path and imports none of their modules.

    The subjects of a kind are assets or rows of another identity table. The lifetimes of assets derive from their versions, too,
    but are not among the projections: only changes that begin or end a lifetime affect them, and associations are clipped to them
    afterwards. db.consistency.lifecycle updates them after `append_changes`.
    """

    def __init__(
        self,
        name: str,
        versions: Table,
        *,
        plural: str,
        subject: str = "asset_id",
        identities: Table = assets,
        projections: Sequence[str] = (),
        verifications: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.label = name.lower()
        self.plural = plural
        self.versions = versions
        self.subject = subject
        self.identities = identities
        self.is_asset_kind = identities is assets
        self.projections = tuple(projections)
        self.verifications = tuple(verifications)
        self.fields = tuple(
            column.name
            for column in versions.columns
            if column.name not in _BOOKKEEPING and column.name != subject and column.computed is None
        )
        self._statements: dict[tuple[object, ...], Statement] = {}

    def valid_at(self, instant: Instant) -> ColumnElement[bool]:
        """Build the condition that a version is valid at an instant."""
        return valid_at(self.versions, instant)

    def statement(self, path: str, **values: str) -> Statement:
        """Return the statement of `db/<path>.sql` for this kind, with the caller's tokens. Each is built once."""
        key = (path, *values.items())
        if key not in self._statements:
            self._statements[key] = text(self.render(path, **values))
        return self._statements[key]

    def render(self, path: str, **values: str) -> str:
        """Fill the tokens of `db/<path>.sql`: those of the kind, and the caller's for this file."""
        params = self.sql_params
        return render(path, {**{token: params[token] for token in tokens_of(path) & params.keys()}, **values})

    def state_of(self, row: str) -> str:
        """Build the SQL expression of the payload that a row of the version table has in the change log."""
        return "jsonb_build_object(" + ", ".join(f"'{field}', {row}.\"{field}\"" for field in self.fields) + ")"

    @property
    def sql_params(self) -> dict[str, str]:
        """Values of the tokens that differ between kinds. Some refer to a row, for which the statement has to use one alias."""
        return {
            "kind": self.name,
            "versions": self.versions.name,
            "periods": self.versions.name,
            "identities": self.identities.name,
            "is_association": "false",
            "subject": self.subject,
            "columns": _column_list(self.fields),
            # `i`: a row of the identity table
            "is_of_kind": f"i.kind = '{self.name}'" if self.is_asset_kind else "true",
            # `n`: a row with a subject_id
            "owner_asset_id": "n.subject_id",
            # `v`: a version, and `p`: the previous one
            "state": self.state_of("v"),
            "state_before": self.state_of("p"),
            "created_at": "v.created_at",
            # `i`: the identity; for an association, the parts of it that its rows have
            "identity": "i.type, CAST(NULL AS jsonb) AS identity",
            # `candidate`: a subject and an instant
            "author": render("temporal/_change_author", {"kind": self.name}),
            # `after`: the state after a change as a row of the version table; its fields, and its payload
            "after": _column_list(self.fields, "after"),
            "values": self.state_of("after"),
        }


class AssociationKind(Kind):
    """A kind of association between two assets: lineage links or relationships.

    Its asserted versions are clipped to the lifetimes of both ends; the `effective` table holds the result, with the identity
    beside it. The identity consists of both ends and further parts, each with its type in the database. The ends and the first
    part, the discriminator, tell two associations apart. The owner is the end whose write permission covers the association.
    """

    def __init__(
        self,
        name: str,
        versions: Table,
        *,
        plural: str,
        subject: str,
        identities: Table,
        effective: Table,
        ends: tuple[str, str],
        owner: str,
        parts: Mapping[str, str],
        verifications: Sequence[str] = (),
    ) -> None:
        super().__init__(
            name,
            versions,
            plural=plural,
            subject=subject,
            identities=identities,
            projections=["consistency/associations"],
            verifications=verifications,
        )
        self.effective = effective
        self.ends = ends
        self.owner = owner
        self.parts = dict(parts)

    @property
    def sql_params(self) -> dict[str, str]:
        near, far = self.ends
        identity = (near, far, *self.parts)
        columns = (*identity, *self.fields)
        first = f"SELECT e.valid_from FROM {self.effective.name} e WHERE e.tenant_id = CAST(:tenant AS bigint)"
        parts = ", ".join(f"'{name}', i.{name}" for name in (near, far, next(iter(self.parts))))
        author = {
            "kind": self.name,
            "versions": self.versions.name,
            "identities": self.identities.name,
            "subject": self.subject,
            "near": near,
            "far": far,
        }
        return {
            **super().sql_params,
            "is_association": "true",
            # the periods of the history are those in which both ends exist
            "periods": self.effective.name,
            "created_at": f"({first} AND e.{self.subject} = v.{self.subject} ORDER BY e.valid_from LIMIT 1)",
            "author": render("temporal/_association_author", author),
            "identity": f"CAST(NULL AS text) AS type, jsonb_build_object({parts}) AS identity",
            "owner_asset_id": (
                f"(SELECT i.{self.owner} FROM {self.identities.name} i"
                " WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = n.subject_id)"
            ),
            "effective": self.effective.name,
            "near": near,
            "far": far,
            "discriminator": next(iter(self.parts)),
            "parts": _column_list(self.parts),
            "part_parameters": ", ".join(f"CAST(:{name} AS {type_}[])" for name, type_ in self.parts.items()),
            # `i`: the identity, and `v`: a version
            "asserted": f"{_column_list(identity, 'i')}, {_column_list(self.fields, 'v')}",
            "effective_columns": _column_list(columns),
            # `s` and `t`: effective rows, the stored and the target
            "effective_of_s": _column_list(columns, "s"),
            "effective_of_t": _column_list(columns, "t"),
        }


def valid_at(table: Table, instant: Instant) -> ColumnElement[bool]:
    """Build the condition that a row is valid at an instant. Scalar comparisons let an index serve it."""
    return (table.c.valid_from <= instant) & (table.c.valid_to > instant)


def projection_path(projection: str, verb: str) -> str:
    """Build the path of an SQL file of a projection: `assets/verify_details` for `assets/details` and `verify`."""
    package, _, table = projection.rpartition("/")
    return f"{package}/{verb}_{table}"


def _column_list(columns: Iterable[str], row: str | None = None) -> str:
    return ", ".join(f'"{column}"' if row is None else f'{row}."{column}"' for column in columns)

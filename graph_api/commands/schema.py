"""`headwater schema`: the GraphQL schema of this version, and its differences from an earlier one."""

from pathlib import Path

import click

from db.errors import BadInput
from schema.compatibility import Change, Effect, announced_in, changes_between, is_announced
from schema.root import schema


def print_schema(since: Path | None, announced: Path | None) -> int:
    """Print the schema, or its differences since an earlier one; return 1 if one of them breaks clients unannounced."""
    if since is None and announced is not None:
        raise BadInput("--announced needs --since: name the earlier schema to compare with.")
    if since is None:
        click.echo(schema.as_str())
        return 0
    known = {} if announced is None else announced_in(_read(announced))
    changes = changes_between(_read(since), schema.as_str())
    breaking = [change for change in changes if change.effect is Effect.BREAKING]
    unannounced = [change for change in breaking if not is_announced(change, known)]
    _print("Breaking", unannounced)
    _print("Breaking, and announced", [change for change in breaking if is_announced(change, known)])
    _print("Dangerous", [change for change in changes if change.effect is Effect.DANGEROUS])
    compatible = [change.coordinate for change in changes if change.effect is Effect.COMPATIBLE]
    if compatible:
        click.echo(f"Compatible: {', '.join(dict.fromkeys(compatible))}")
    if not changes:
        click.echo("No differences.")
    return 1 if unannounced else 0


def _print(title: str, changes: list[Change]) -> None:
    if changes:
        click.echo(f"{title}:")
    for change in changes:
        click.echo(f"  {change.description}")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error

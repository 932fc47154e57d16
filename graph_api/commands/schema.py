"""`headwater schema`: the schema of this version, and what has become of it since an earlier one."""

from pathlib import Path
from typing import Annotated

import typer

from db.errors import BadInput
from graph_api.commands import out
from schema.compatibility import Change, Effect, announced_in, changes_between, is_announced
from schema.root import schema


def print_schema(
    since: Annotated[
        Path | None,
        typer.Option(help="An earlier schema, in SDL: name what is different since, and end with 1 if something breaks."),
    ] = None,
    announced: Annotated[
        Path | None,
        typer.Option(help="A changelog: what it names as changed or removed by its next release may break."),
    ] = None,
) -> None:
    """Print the GraphQL schema in SDL, or compare it with an earlier one."""
    if since is None and announced is not None:
        raise BadInput("--announced says what may be different since a schema. Name that one by --since.")
    if since is None:
        typer.echo(schema.as_str())
        return
    known = {} if announced is None else announced_in(_read(announced))
    changes = changes_between(_read(since), schema.as_str())
    breaking = [it for it in changes if it.effect is Effect.BREAKING]
    unannounced = [it for it in breaking if not is_announced(it, known)]
    _show("Breaking", unannounced)
    _show("Breaking, and announced", [it for it in breaking if is_announced(it, known)])
    _show("Dangerous", [it for it in changes if it.effect is Effect.DANGEROUS])
    compatible = [it.coordinate for it in changes if it.effect is Effect.COMPATIBLE]
    if compatible:
        _say(f"Compatible: {', '.join(dict.fromkeys(compatible))}")
    if not changes:
        _say("Nothing is different.")
    if unannounced:
        raise typer.Exit(1)


def _show(title: str, changes: list[Change]) -> None:
    if changes:
        _say(f"{title}:")
    for change in changes:
        _say(f"  {change.description}")


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error

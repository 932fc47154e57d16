"""`headwater documents`: whether the documents of a manifest would run."""

from pathlib import Path
from typing import Annotated

import typer

from db.errors import BadInput
from graph_api.commands import out
from graph_api.http.persisted_documents import NoManifest, documents_in
from graph_api.settings import read_settings
from schema.execution.document import Documents, Registered
from schema.root import schema


def check_documents(file: Annotated[Path, typer.Argument(help="The manifest, as HEADWATER_PERSISTED_DOCUMENTS has it.")]) -> None:
    """Check a manifest of documents against this version. Names each that would not run, and ends with 1 if there is one."""
    limits = read_settings().limits
    try:
        texts = documents_in(file)
    except NoManifest as error:
        raise BadInput(f"{error}.") from None
    unfit = Documents(schema, limits, Registered(texts)).unfit()
    for name, errors in unfit.items():
        for it in errors:
            place = f" (line {it.locations[0].line}, column {it.locations[0].column})" if it.locations else ""
            out.print(f"{name}: {it.message}{place}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"{len(texts)} documents, {len(unfit)} would not run")
    if unfit:
        raise typer.Exit(1)

"""`headwater documents`: a check of the persisted documents of a manifest."""

from pathlib import Path

import click

from db.errors import BadInput
from graph_api.http.persisted_documents import InvalidManifest, read_manifest
from graph_api.settings import read_settings
from schema.execution.document import Documents, RegisteredDocuments
from schema.root import schema


def check_documents(file: Path) -> int:
    """Print each document that would not run, and return 1 if there is one."""
    limits = read_settings().limits
    try:
        texts = read_manifest(file)
    except InvalidManifest as error:
        raise BadInput(f"{error}.") from None
    unfit = Documents(schema, limits, RegisteredDocuments(texts)).invalid_registered()
    for name, errors in unfit.items():
        for fault in errors:
            location = f" (line {fault.locations[0].line}, column {fault.locations[0].column})" if fault.locations else ""
            click.echo(f"{name}: {fault.message}{location}")
    click.echo(f"{len(texts)} documents, {len(unfit)} would not run")
    return 1 if unfit else 0

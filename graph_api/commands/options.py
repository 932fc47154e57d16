"""Options and arguments that several commands share."""

from pathlib import Path

import click
from click import Argument, Option

# Name of the tenant that the first migration creates.
DEFAULT_TENANT = "default"

PATH = click.Path(path_type=Path)

DATA = Option(["--data"], type=PATH, help="Directory of the embedded server. [HEADWATER_DATA]")
HOST = Option(["--host"], help="Address to listen on. [HEADWATER_HOST]")
PORT = Option(["--port"], type=int, help="Port to listen on; 0 takes a free one. [HEADWATER_PORT]")
TENANT = Option(["--tenant"], default=DEFAULT_TENANT, show_default=True, help="Name of the tenant.")
TENANT_NAME = Argument(["name"], help="Name of the tenant.")
